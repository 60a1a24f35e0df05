"""Look-alikes of full modem firmware: a loader, and firmware that says which version it is.

Both formats are this project's own; they are **no Nordic files** and no modem accepts them. Real modem firmware is
encrypted and signed, so a virtual modem can neither read it nor tell whether it is whole. All numbers little-endian.

Loader, the first segment of a full image:

====== ==== =====================================================
offset size content
====== ==== =====================================================
0      24   magic ``NRF91-BRIDGE-MODEM-LOAD`` and a NUL
24     64   text that says what this is, NUL-padded
88     4    payload size in bytes
92     32   SHA-256 of the payload
124    n    payload
====== ==== =====================================================

Firmware; its header lies at ``FIRMWARE_HEADER_ADDRESS`` of the modem's flash:

====== ==== =====================================================
offset size content
====== ==== =====================================================
0      24   magic ``NRF91-BRIDGE-MODEM-FIRM`` and a NUL
24     2    layout version, 1
26     2    header size, 512
28     64   text that says what this is, NUL-padded
92     16   family, such as ``nrf91x1``, NUL-padded
108    32   version, such as ``2.0.2``, NUL-padded
140    16   UUID of the modem build
156    4    number of ranges, at most 8
160    320  ranges: address, size in bytes, SHA-256 of their content
480    32   SHA-256 of the 480 bytes before
====== ==== =====================================================

The firmware is whole when the header and all its ranges are in flash with the right digests.
"""

import hashlib
import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

LOADER_MAGIC: Final = b"NRF91-BRIDGE-MODEM-LOAD\0"
FIRMWARE_MAGIC: Final = b"NRF91-BRIDGE-MODEM-FIRM\0"
LOADER_TEXT: Final = b"nRF91 Bridge sample: a modem loader look-alike, no Nordic file"
FIRMWARE_TEXT: Final = b"nRF91 Bridge sample: a modem firmware look-alike, no Nordic file"
FIRMWARE_HEADER_ADDRESS: Final = 0x50000

_LOADER_HEADER: Final = struct.Struct("<24s64sI32s")
_FIRMWARE_HEADER: Final = struct.Struct("<24sHH64s16s32s16sI")
_RANGE: Final = struct.Struct("<II32s")
_DIGEST_BYTES: Final = 32
_MAX_RANGES: Final = 8
_LAYOUT: Final = 1
FIRMWARE_HEADER_BYTES: Final = _FIRMWARE_HEADER.size + _MAX_RANGES * _RANGE.size + _DIGEST_BYTES


@dataclass(frozen=True)
class ModemFirmware:
    """What a firmware look-alike says about itself.

    Attributes:
        family: Part of every firmware name, such as ``nrf91x1``.
        version: Such as ``2.0.2``.
        modem_uuid: UUID of the build, as in ``%XMODEMUUID``.
    """

    family: str
    version: str
    modem_uuid: str


def encode_modem_loader(payload: bytes) -> bytes:
    """Make a loader look-alike."""
    header = _LOADER_HEADER.pack(LOADER_MAGIC, LOADER_TEXT, len(payload), hashlib.sha256(payload).digest())
    return header + payload


def is_modem_loader(data: bytes) -> bool:
    """Whether this is a whole loader look-alike."""
    if len(data) < _LOADER_HEADER.size:
        return False
    magic, _, size, digest = _LOADER_HEADER.unpack_from(data)
    payload = data[_LOADER_HEADER.size :]
    return (magic, size, digest) == (LOADER_MAGIC, len(payload), hashlib.sha256(payload).digest())


def encode_modem_firmware(firmware: ModemFirmware, content: Mapping[int, bytes]) -> dict[int, bytes]:
    """Make a firmware look-alike.

    Args:
        firmware: What it says about itself.
        content: Address in the modem's flash -> bytes there. One of them may start right behind the header.

    Returns:
        Address -> bytes, ascending, with the header; pieces that touch are joined.

    Raises:
        ValueError: Too many pieces, one overlaps the header, or a text does not fit.
    """
    ranges = sorted(content.items())
    header_end = FIRMWARE_HEADER_ADDRESS + FIRMWARE_HEADER_BYTES
    if len(ranges) > _MAX_RANGES:
        raise ValueError(f"firmware has at most {_MAX_RANGES} ranges")
    if any(start < header_end and start + len(data) > FIRMWARE_HEADER_ADDRESS for start, data in ranges):
        raise ValueError("a range overlaps the header")
    header = _FIRMWARE_HEADER.pack(
        FIRMWARE_MAGIC,
        _LAYOUT,
        FIRMWARE_HEADER_BYTES,
        FIRMWARE_TEXT,
        _encode_text(firmware.family, 16),
        _encode_text(firmware.version, 32),
        uuid.UUID(firmware.modem_uuid).bytes,
        len(ranges),
    )
    header += b"".join(_RANGE.pack(start, len(data), hashlib.sha256(data).digest()) for start, data in ranges)
    return _join({**content, FIRMWARE_HEADER_ADDRESS: _seal(header)})


def decode_modem_firmware(read: Callable[[int, int], bytes]) -> ModemFirmware | None:
    """Find out which firmware is in a modem's flash.

    Args:
        read: Gives that many bytes from an address.

    Returns:
        What it is; None when there is none, or not all of it.
    """
    header = read(FIRMWARE_HEADER_ADDRESS, FIRMWARE_HEADER_BYTES)
    if _seal(header[:-_DIGEST_BYTES]) != header:
        return None
    magic, layout, _, _, family, version, build, count = _FIRMWARE_HEADER.unpack_from(header)
    if (magic, layout) != (FIRMWARE_MAGIC, _LAYOUT) or count > _MAX_RANGES:
        return None
    for number in range(count):
        start, size, digest = _RANGE.unpack_from(header, _FIRMWARE_HEADER.size + number * _RANGE.size)
        if hashlib.sha256(read(start, size)).digest() != digest:
            return None
    return ModemFirmware(_decode_text(family), _decode_text(version), str(uuid.UUID(bytes=build)))


def patch_firmware_header(header: bytes, version: str, modem_uuid: str) -> bytes:
    """What a delta update makes of a header: another version and build.

    Args:
        header: The ``FIRMWARE_HEADER_BYTES`` bytes of a whole firmware.
        version: New version.
        modem_uuid: New UUID.
    """
    fields = list(_FIRMWARE_HEADER.unpack_from(header))
    fields[5:7] = _encode_text(version, 32), uuid.UUID(modem_uuid).bytes
    return _seal(_FIRMWARE_HEADER.pack(*fields) + header[_FIRMWARE_HEADER.size : -_DIGEST_BYTES])


def _seal(header: bytes) -> bytes:
    padded = header.ljust(FIRMWARE_HEADER_BYTES - _DIGEST_BYTES, b"\0")
    return padded + hashlib.sha256(padded).digest()


def _join(pieces: Mapping[int, bytes]) -> dict[int, bytes]:
    joined: dict[int, bytes] = {}
    last: int | None = None
    for start, data in sorted(pieces.items()):
        if last is not None and last + len(joined[last]) == start:
            joined[last] += data
        else:
            joined[start], last = data, start
    return joined


def _encode_text(text: str, size: int) -> bytes:
    if not text.isascii() or len(text) >= size:
        raise ValueError(f"{text!r} does not fit into {size - 1} ASCII characters")
    return text.encode("ascii")


def _decode_text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("ascii", errors="replace")
