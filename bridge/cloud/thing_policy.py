"""The least that a thing's certificate must be allowed for the agent to work its jobs; the policy itself is a file beside this.

Source: AWS IoT Developer Guide, "Authorizing your devices to securely use AWS IoT Jobs on the data plane" and "AWS IoT Core
policy actions". Thing names are written out, one policy a thing: policy variables such as ``iot:Connection.Thing.ThingName``
exist for MQTT connections only, and the agent can also work over HTTPS.
"""

import hashlib
import re
from importlib import resources
from typing import Final

from bridge.errors import UsageError

FILE_NAME: Final = "thing-policy.json"
_PREFIX_IN_FILE: Final = "arn:aws:iot:REGION:ACCOUNT"
_THING_ARN: Final = re.compile(r"(arn:[^:]+:iot:[^:]*:[^:]*):thing/([a-zA-Z0-9:_-]{1,128})")
_POLICY_NAME_PREFIX: Final = "nrf91-bridge-"
_MAX_NAME_CHARS: Final = 128


def policy_template() -> str:
    """The policy with REGION, ACCOUNT and THING as placeholders."""
    return resources.files("bridge.cloud").joinpath(FILE_NAME).read_text(encoding="utf-8")


def policy_for(thing_arn: str) -> str:
    """The policy document of a thing, JSON.

    Raises:
        UsageError: The text is no ARN of a thing.
    """
    match = _THING_ARN.fullmatch(thing_arn)
    if match is None:
        raise UsageError(f"{thing_arn[:200]!r} is no thing's ARN", reason="bad-arn")
    prefix, thing_name = match.groups()
    text = policy_template().replace(_PREFIX_IN_FILE, prefix)
    return re.sub(r"(?<=/)THING(?=[/\"])", lambda _: thing_name, text)


def policy_name(thing_name: str) -> str:
    """Name of a thing's policy; unlike thing names it has no colons and at most 128 characters."""
    name = _POLICY_NAME_PREFIX + thing_name.replace(":", "=")
    if len(name) <= _MAX_NAME_CHARS:
        return name
    return _POLICY_NAME_PREFIX + hashlib.sha256(thing_name.encode()).hexdigest()
