"""The least that a thing's certificate must be allowed for the agent to work its jobs; the policy itself is a file beside this.

Source: AWS IoT Developer Guide, "Authorizing your devices to securely use AWS IoT Jobs on the data plane" and "AWS IoT Core
policy actions". Thing names are written out, one policy a thing: policy variables such as ``iot:Connection.Thing.ThingName``
exist for MQTT connections only, and the agent can also work over HTTPS.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Final

from bridge.errors import UsageError

FILE_NAME: Final = "thing-policy.json"
_PREFIX_IN_FILE: Final = "arn:aws:iot:REGION:ACCOUNT"
_THING_ARN: Final = re.compile(r"(arn:[^:]+:iot:[^:]*:[^:]*):thing/([a-zA-Z0-9:_-]{1,128})")
_THING_IN_FILE: Final = re.compile(r"(?<=/)THING(?=/|$)")
_THING_PATTERN: Final = re.compile(r"[a-zA-Z0-9:_*-]{1,128}")
MAX_POLICY_CHARS: Final = 2048
"""AWS IoT's quota for a policy document, white space not counted."""
_POLICY_NAME_PREFIX: Final = "nrf91-bridge-"
_MAX_NAME_CHARS: Final = 128


def policy_template() -> str:
    """The policy with REGION, ACCOUNT and THING as placeholders."""
    return resources.files("bridge.cloud").joinpath(FILE_NAME).read_text(encoding="utf-8")


def policy_for(thing_arn: str, works_for: Sequence[str] = ()) -> str:
    """The policy document of a thing, JSON.

    Args:
        thing_arn: The thing; its name is the client id that may connect.
        works_for: Other things whose jobs it works on its one connection (gateway mode); ``*`` stands for any characters.

    Raises:
        UsageError: The text is no ARN of a thing, a name is none, or the policy is larger than AWS IoT takes.
    """
    match = _THING_ARN.fullmatch(thing_arn)
    if match is None:
        raise UsageError(f"{thing_arn[:200]!r} is no thing's ARN", reason="bad-arn")
    prefix, thing_name = match.groups()
    for name in works_for:
        if not _THING_PATTERN.fullmatch(name):
            raise UsageError(f"{name[:140]!r} is no thing name", reason="bad-thing-name")
    policy = json.loads(policy_template().replace(_PREFIX_IN_FILE, prefix))
    for statement in policy["Statement"]:
        resource = statement["Resource"]
        names = [thing_name] if "client/" in resource else [*dict.fromkeys((thing_name, *works_for))]
        filled = [_THING_IN_FILE.sub(name, resource) for name in names]  # names have no backslashes
        statement["Resource"] = filled if len(filled) > 1 else filled[0]
    size = len(json.dumps(policy, separators=(",", ":")))
    if size > MAX_POLICY_CHARS:
        raise UsageError(
            f"a policy for {1 + len(works_for)} things has {size} characters; AWS IoT takes {MAX_POLICY_CHARS}",
            reason="policy-too-large",
            hint="Give the things names with a common beginning, and write BEGINNING* for all of them.",
        )
    return json.dumps(policy, indent=2)


def policy_name(thing_name: str) -> str:
    """Name of a thing's policy; unlike thing names it has no colons and at most 128 characters."""
    name = _POLICY_NAME_PREFIX + thing_name.replace(":", "=")
    if len(name) <= _MAX_NAME_CHARS:
        return name
    return _POLICY_NAME_PREFIX + hashlib.sha256(thing_name.encode()).hexdigest()
