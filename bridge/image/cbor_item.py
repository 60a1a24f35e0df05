"""Where a CBOR item ends, without decoding it.

A full-modem file is one CBOR item followed by raw bytes. CBOR libraries may read ahead of the item that
they decode (some releases of cbor2 read 4096 bytes at once), so the position of the stream afterwards is no
answer. This walks over the item's heads instead. Source: RFC 8949, section 3.
"""

from typing import Final

_MAX_DEPTH: Final = 8
_BREAK: Final = 0xFF


class CborFormatError(ValueError):
    """The bytes are no CBOR, or nested deeper than anything we read."""


def item_size(data: bytes) -> int | None:
    """Size in bytes of the CBOR item at the start of ``data``; None when it is longer than ``data``.

    Raises:
        CborFormatError: It is no CBOR.
    """
    return _end_of_item(data, 0, 0)


def _end_of_item(data: bytes, position: int, depth: int) -> int | None:
    if depth > _MAX_DEPTH:
        raise CborFormatError("CBOR is nested too deeply")
    head = _read_head(data, position)
    if head is None:
        return None
    major, value, position = head
    if major in (2, 3) and value is not None:
        return position + value if position + value <= len(data) else None
    if major in (2, 3, 4, 5) and value is None:
        return _end_of_indefinite(data, position, depth)
    count = {4: value or 0, 5: 2 * (value or 0), 6: 1}.get(major, 0)
    for _ in range(count):
        end = _end_of_item(data, position, depth + 1)
        if end is None:
            return None
        position = end
    return position


def _end_of_indefinite(data: bytes, position: int, depth: int) -> int | None:
    while position < len(data):
        if data[position] == _BREAK:
            return position + 1
        end = _end_of_item(data, position, depth + 1)
        if end is None:
            return None
        position = end
    return None


def _read_head(data: bytes, position: int) -> tuple[int, int | None, int] | None:
    """Major type, value (None for an indefinite length) and the position after the head."""
    if position >= len(data):
        return None
    major, low = data[position] >> 5, data[position] & 0x1F
    position += 1
    if low < 24:
        return major, low, position
    if low == 31 and major in (2, 3, 4, 5):
        return major, None, position
    if low > 27:
        raise CborFormatError(f"no CBOR at offset {position - 1}")
    size = 1 << (low - 24)
    if position + size > len(data):
        return None
    return major, int.from_bytes(data[position : position + size], "big"), position + size
