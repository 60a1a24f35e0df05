"""What sample images carry for the virtual board: a behaviour block, and a look-alike of a modem delta.

Both formats are this project's own and documented here; no real image needs them.

Behaviour block, anywhere in the payload of an MCUboot image:

====== ==== =====================================================
offset size content
====== ==== =====================================================
0      23   magic ``NRF91-BRIDGE-BEHAVIOUR`` and a NUL
23     2    length of the text, little-endian, at most 1024
25     n    UTF-8 text: one JSON object with the keys of ``BEHAVIOUR_KEYS``
====== ==== =====================================================

Modem delta look-alike; it is **no Nordic file** and no modem accepts it. All numbers little-endian:

====== ==== =====================================================
offset size content
====== ==== =====================================================
0      4    zero
4      4    ``meDu``, as in every delta image
8      2    layout version, 1
10     2    header size, 212
12     64   text that says what this is, NUL-padded
76     16   UUID of the modem build that it updates
92     16   UUID of the modem build that it brings
108    32   version that it updates, such as ``2.0.1``, NUL-padded
140    32   version that it brings
172    4    result that the modem shall report, 0 for success
176    4    payload size in bytes
180    32   SHA-256 of the payload
212    n    payload
====== ==== =====================================================
"""

import hashlib
import json
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

BEHAVIOUR_MAGIC: Final = b"NRF91-BRIDGE-BEHAVIOUR\0"
BEHAVIOUR_KEYS: Final[Mapping[str, type]] = {
    "confirm": bool,
    "crash_loop": bool,
    "ready_delay_ms": int,
    "registers": bool,
}
"""What an application does beyond its personality: confirm itself, die early, be late, find its network."""

MODEM_DELTA_MAGIC: Final = b"meDu"
LOOK_ALIKE_TEXT: Final = b"nRF91 Bridge sample: a modem delta look-alike, no Nordic file"

_MAX_BEHAVIOUR_BYTES: Final = 1024
_MAX_NUMBER: Final = 24 * 3600 * 1000
"""A day in milliseconds: no clock can wait for a number of hundreds of digits."""
_MAX_CANDIDATES: Final = 16
_LENGTH: Final = struct.Struct("<H")
_DELTA_HEADER: Final = struct.Struct("<4x4sHH64s16s16s32s32sII32s")
DELTA_HEADER_BYTES: Final = _DELTA_HEADER.size
_DELTA_LAYOUT: Final = 1
_MAX_VERSION_BYTES: Final = 31


def encode_behaviour(behaviour: Mapping[str, bool | int]) -> bytes:
    """Make a behaviour block.

    Args:
        behaviour: Any of ``BEHAVIOUR_KEYS``; what is left out keeps its default.

    Raises:
        ValueError: Unknown key, or a value of the wrong type.
    """
    for key, value in behaviour.items():
        if not _is_valid(key, value):
            raise ValueError(
                f"behaviour {key}={value!r} is not one of {', '.join(BEHAVIOUR_KEYS)} with its type"
            )
    text = json.dumps(dict(behaviour), sort_keys=True, separators=(",", ":")).encode()
    return BEHAVIOUR_MAGIC + _LENGTH.pack(len(text)) + text


def find_behaviour(payload: bytes) -> dict[str, bool | int] | None:
    """Find the first valid behaviour block.

    The search is bounded: of blocks that are cut off or hold no JSON object only the first 16 are looked at.

    Returns:
        Its known keys with values of the right type, or None when there is no block.
    """
    position = -1
    for _ in range(_MAX_CANDIDATES):
        position = payload.find(BEHAVIOUR_MAGIC, position + 1)
        if position < 0:
            return None
        found = _decode_behaviour(payload[position : position + 25 + _MAX_BEHAVIOUR_BYTES])
        if found is not None:
            return {key: value for key, value in found.items() if _is_valid(key, value)}
    return None


def _decode_behaviour(block: bytes) -> dict[str, bool | int] | None:
    start = len(BEHAVIOUR_MAGIC) + _LENGTH.size
    if len(block) < start:
        return None
    (length,) = _LENGTH.unpack_from(block, len(BEHAVIOUR_MAGIC))
    text = block[start : start + length]
    if length > _MAX_BEHAVIOUR_BYTES or len(text) < length:
        return None
    try:
        found = json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_valid(key: str, value: object) -> bool:
    wanted = BEHAVIOUR_KEYS.get(key)
    if wanted is int:
        return type(value) is int and 0 <= value <= _MAX_NUMBER
    return wanted is not None and isinstance(value, wanted)


@dataclass(frozen=True)
class ModemDelta:
    """A decoded look-alike.

    Attributes:
        base_uuid: Modem build that it updates, as in ``%XMODEMUUID``.
        target_uuid: Modem build that it brings.
        base_version: Version that it updates, such as ``2.0.1``.
        target_version: Version that it brings.
        result: Result code that the modem shall report; 0 for success.
        payload_size_bytes: Size of the payload as the header says it.
        payload_sha256: Digest of the payload as the header says it, in hex.
        payload: Everything after the header; whether it fits size and digest is for the modem to check.
    """

    base_uuid: str
    target_uuid: str
    base_version: str
    target_version: str
    result: int
    payload_size_bytes: int
    payload_sha256: str
    payload: bytes


def encode_modem_delta(
    *,
    base_uuid: str,
    target_uuid: str,
    base_version: str,
    target_version: str,
    payload: bytes,
    result: int = 0,
) -> bytes:
    """Make a look-alike of a modem delta.

    Raises:
        ValueError: A UUID cannot be read, or a version is too long or not ASCII.
    """
    header = _DELTA_HEADER.pack(
        MODEM_DELTA_MAGIC,
        _DELTA_LAYOUT,
        _DELTA_HEADER.size,
        LOOK_ALIKE_TEXT,
        uuid.UUID(base_uuid).bytes,
        uuid.UUID(target_uuid).bytes,
        _encode_version(base_version),
        _encode_version(target_version),
        result,
        len(payload),
        hashlib.sha256(payload).digest(),
    )
    return header + payload


def decode_modem_delta(data: bytes) -> ModemDelta | None:
    """Read a look-alike; None for anything else, a real delta included."""
    if len(data) < _DELTA_HEADER.size:
        return None
    magic, layout, header_size, text, base_uuid, target_uuid, base, target, result, size, digest = (
        _DELTA_HEADER.unpack_from(data)
    )
    if (magic, layout, header_size) != (MODEM_DELTA_MAGIC, _DELTA_LAYOUT, _DELTA_HEADER.size):
        return None
    if text.rstrip(b"\0") != LOOK_ALIKE_TEXT:
        return None
    return ModemDelta(
        base_uuid=str(uuid.UUID(bytes=base_uuid)),
        target_uuid=str(uuid.UUID(bytes=target_uuid)),
        base_version=_decode_version(base),
        target_version=_decode_version(target),
        result=result,
        payload_size_bytes=size,
        payload_sha256=digest.hex(),
        payload=bytes(data[header_size:]),
    )


def _encode_version(version: str) -> bytes:
    encoded = version.encode("ascii", errors="replace")
    if not version.isascii() or len(encoded) > _MAX_VERSION_BYTES:
        raise ValueError(f"version {version!r} does not fit into {_MAX_VERSION_BYTES} ASCII characters")
    return encoded


def _decode_version(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", errors="replace")
