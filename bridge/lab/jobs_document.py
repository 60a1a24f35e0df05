"""Job documents as a device reads them: presigned-URL placeholders are replaced at the moment of reading.

Source: AWS IoT Developer Guide, "Presigned URLs": ``${aws:iot:s3-presigned-url:<URL>}`` (and the ``-v2``
form) becomes a URL that is minted when the device asks, so asking again gives a fresh one.
"""

import json
import re
from collections.abc import Callable
from typing import Final

Presigner = Callable[[str, int], str]
"""Takes the URL in the placeholder and the seconds it shall live, gives a URL that opens it."""

DEFAULT_EXPIRES_IN_S: Final = 3600
_PLACEHOLDER: Final = re.compile(r"\$\{aws:iot:s3-presigned-url(?:-v2)?:([^}]*)\}")


def read_document(text: str, presigner: Presigner | None, expires_in_s: int | None) -> object:
    """Parse a document and replace its placeholders; without a presigner they stay as they are."""
    document = json.loads(text)
    if presigner is None:
        return document
    sign, lifetime_s = presigner, expires_in_s or DEFAULT_EXPIRES_IN_S
    return _replace(document, lambda match: sign(match.group(1), lifetime_s))


def _replace(value: object, sign: Callable[[re.Match[str]], str]) -> object:
    if isinstance(value, str):
        return _PLACEHOLDER.sub(sign, value)
    if isinstance(value, list):
        return [_replace(item, sign) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, sign) for key, item in value.items()}
    return value
