"""Intel HEX: read through intelhex; gaps between segments stay gaps.

Source: Intel HEX as python-intelhex reads it. A file without its end record is truncated; MCUboot images
inside, as in ``app_signed.hex`` or ``merged.hex``, are found at segment starts and flash page boundaries
and judged like binary ones.
"""

import io
from dataclasses import dataclass
from typing import Final

from intelhex import AddressOverlapError, HexRecordError, IntelHex, IntelHexError

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import IMAGE_MAGIC_BYTES, McubootInfo, parse_image

MAX_TEXT_BYTES: Final = 12 * 1024 * 1024
"""Largest file read; a full modem image of 2 MB takes 6 MB as text."""

_PAGE_BYTES: Final = 4096
_END_RECORD: Final = b":00000001FF"


@dataclass(frozen=True)
class HexSegment:
    """Contiguous bytes.

    Attributes:
        address: Where they belong.
        size_bytes: How many.
    """

    address: int
    size_bytes: int


@dataclass(frozen=True)
class HexImage:
    """A signed image inside.

    Attributes:
        address: Where its header is.
        mcuboot: What it says.
    """

    address: int
    mcuboot: McubootInfo


@dataclass(frozen=True)
class IntelHexInfo:
    """What an Intel HEX file holds.

    Attributes:
        segments: By address; between them are gaps.
        data_size_bytes: Bytes in all segments, without the gaps.
        images: MCUboot images inside.
    """

    segments: tuple[HexSegment, ...]
    data_size_bytes: int
    images: tuple[HexImage, ...]


def parse_intel_hex(text: bytes) -> IntelHexInfo:
    """Read an Intel HEX file.

    Raises:
        ImageRefusedError: A record is wrong, the end record is missing or is followed by something, or an
            MCUboot image inside is broken.
    """
    _check_end(text)
    memory = _load(text)
    segments = tuple(HexSegment(start, end - start) for start, end in memory.segments())
    if not segments:
        raise ImageRefusedError("Intel HEX file holds no data", reason="empty")
    images: list[HexImage] = []
    for segment in segments:
        images += _find_images(
            memory.tobinstr(start=segment.address, size=segment.size_bytes), segment.address
        )
    return IntelHexInfo(segments, sum(segment.size_bytes for segment in segments), tuple(images))


def _check_end(text: bytes) -> None:
    end = text.upper().find(_END_RECORD)
    if end < 0:
        raise ImageRefusedError(
            "Intel HEX file is truncated: its end record is missing", reason="truncated", offset=len(text)
        )
    rest = text[end + len(_END_RECORD) :]
    if rest.strip():
        raise ImageRefusedError(
            "Intel HEX file is too long: something follows its end record",
            reason="trailing-bytes",
            offset=len(text) - len(rest.lstrip()),
        )


def _load(text: bytes) -> IntelHex:
    memory = IntelHex()
    try:
        memory.loadhex(io.StringIO(text.decode("ascii")))
    except UnicodeDecodeError as error:
        raise ImageRefusedError(
            "Intel HEX file holds bytes that are no text", reason="bad-hex", offset=error.start
        ) from error
    except (HexRecordError, AddressOverlapError, IntelHexError) as error:
        raise ImageRefusedError(f"Intel HEX file cannot be read: {error}", reason="bad-hex") from error
    return memory


def _find_images(data: bytes, address: int) -> list[HexImage]:
    found = []
    position = 0
    while position < len(data):
        if data.startswith(IMAGE_MAGIC_BYTES, position):
            info = _parse_at(data[position:], address + position)
            found.append(HexImage(address + position, info))
            position += info.size_bytes
        # The next page boundary of the address, not of the offset in the segment.
        position += _PAGE_BYTES - (address + position) % _PAGE_BYTES
    return found


def _parse_at(data: bytes, address: int) -> McubootInfo:
    try:
        return parse_image(data, allow_trailing=True)
    except ImageRefusedError as error:
        raise ImageRefusedError(
            f"Intel HEX file holds a broken image at address {address:#x}: {error.message}",
            reason=error.reason,
            offset=error.offset,
            hint=error.hint,
        ) from error
