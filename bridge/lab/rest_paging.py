"""Long lists in pages: ``maxResults`` and ``nextToken``.

A token names the last entry of its page, so entries that come or go meanwhile are neither doubled nor lost. It means nothing to
any other call, and no caller should look into it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from bridge.lab.jobs_limits import invalid

_Item = TypeVar("_Item")
_Key = TypeVar("_Key", str, int)

MAX_RESULTS: Final = 250
"""Maximum of ``LaserMaxResults`` and ``RegistryMaxResults`` in botocore's ``iot`` model; the default here."""


def page(
    items: Sequence[_Item], key: Callable[[_Item], _Key], members: Mapping[str, Any], list_name: str
) -> tuple[list[_Item], dict[str, object]]:
    """Give the page that a request asks for, and the members of the response that lead to the next.

    Args:
        items: Everything, ascending by key.
        key: What an item is known by.
        members: The request's.
        list_name: What is listed; a token of another list is refused.

    Raises:
        JobsRejectedError: InvalidRequest (the token).
    """
    size = members.get("maxResults") or MAX_RESULTS
    after: Any = None
    if (token := members.get("nextToken")) is not None:
        after = _read(token, list_name)
    left = [item for item in items if after is None or key(item) > after]
    shown = left[:size]
    return shown, ({"nextToken": _write(key(shown[-1]), list_name)} if len(left) > size else {})


def _write(last: str | int, list_name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([list_name, last]).encode()).decode()


def _read(token: str, list_name: str) -> object:
    try:
        name, last = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, TypeError, binascii.Error):
        name, last = None, None
    if name != list_name or not isinstance(last, str | int):
        raise invalid("nextToken is none that this call has given")
    return last
