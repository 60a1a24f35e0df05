"""CBOR as MCUboot's serial recovery takes it: a map whose known keys must have the right type.

Source: Zephyr ``subsys/mgmt/mcumgr/util/src/zcbor_bulk.c``, which MCUboot brings along: unknown keys are skipped, a known
one of another type is an error, and so is anything that is no map with text keys.
"""

import io
from collections.abc import Mapping
from typing import Any, Final

import cbor2

_UINT32: Final = 1 << 32


class ZcborError(ValueError):
    """The decoder gives up."""


def decode_map(body: bytes, known: Mapping[str, type]) -> dict[str, Any]:
    """The known keys of a map.

    Args:
        body: CBOR, possibly with more behind it.
        known: Key -> type; ``int`` stands for what fits 32 bits and is not negative.

    Raises:
        ZcborError: It is no such map.
    """
    found: dict[str, Any] = {key: value for key, value in decode_any_map(body).items() if key in known}
    for key, value in found.items():
        kind = known[key]
        if type(value) is not kind or (isinstance(value, int) and not 0 <= value < _UINT32):
            raise ZcborError(key)
    return found


def decode_any_map(body: bytes) -> dict[str, Any]:
    """A map with text keys, in its order.

    Raises:
        ZcborError: It is none.
    """
    try:
        decoded: Any = cbor2.load(io.BytesIO(body))
    except Exception as error:
        raise ZcborError(str(error)) from error
    if not isinstance(decoded, dict) or not all(isinstance(key, str) for key in decoded):
        raise ZcborError("no map with text keys")
    return decoded
