"""What may follow an MCUboot image in a file: nothing, or padding and trailer of ``imgtool sign --pad``.

Sources: MCUboot ``docs/design.md`` (trailer), imgtool ``Image.pad_to`` (which cells it writes).
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import ImageRefusedError

BOOT_MAGIC: Final = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
BOOT_MAGIC_ALIGNED_TAIL: Final = bytes.fromhex("2de15d29410b8d77679c110f1f8a")
"""Last 14 of 16 magic bytes when the write alignment is over 8; the first two hold the alignment."""

_WINDOW_BYTES: Final = 64
_ERASED_VALUES: Final = (0xFF, 0x00)
_ALIGNMENTS: Final = (16, 32)


@dataclass(frozen=True)
class PaddedTrailer:
    """A file that fills a whole slot, with MCUboot's trailer at its end.

    Attributes:
        confirmed: The trailer says that the image is confirmed (``--confirm``), so MCUboot would never
            revert it.
        max_align: Largest write alignment that the trailer is laid out for, in bytes.
        padding_size_bytes: Bytes after the TLVs, trailer included.
    """

    confirmed: bool
    max_align: int
    padding_size_bytes: int


class TrailerReader:
    """Judges the bytes after the TLVs as they come; keeps only the last few.

    Args:
        offset: Offset in the file at which they start.
    """

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._window = b""
        self._size_bytes = 0
        self._erased: int | None = None
        self._foreign_at: int | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        tail = self._window + data
        self._size_bytes += len(data)
        leaving = tail[:-_WINDOW_BYTES]
        self._window = tail[-_WINDOW_BYTES:]
        if leaving and self._foreign_at is None:
            self._check_erased(leaving, self._offset + self._size_bytes - len(tail))

    def finish(self) -> PaddedTrailer | None:
        """Judge the whole.

        Returns:
            None when nothing followed, else the trailer.

        Raises:
            ImageRefusedError: Something else follows the image.
        """
        if not self._size_bytes:
            return None
        max_align = _max_align(self._window[-16:])
        cells = bytearray(self._window if max_align is None else self._window[:-16])
        confirmed = False
        if max_align is not None:
            flag_at = len(self._window) - _aligned_magic_size(max_align) - max_align
            confirmed = flag_at >= 0 and cells[flag_at] == 0x01
            if confirmed:
                cells[flag_at] = cells[-1]
        if cells and self._foreign_at is None:
            self._check_erased(bytes(cells), self._offset + self._size_bytes - len(self._window))
        if max_align is None or self._foreign_at is not None:
            raise self._refusal()
        return PaddedTrailer(confirmed, max_align, self._size_bytes)

    def _check_erased(self, data: bytes, at: int) -> None:
        if self._erased is None:
            self._erased = data[0] if data[0] in _ERASED_VALUES else _ERASED_VALUES[0]
        rest = data.lstrip(bytes([self._erased]))
        if rest:
            self._foreign_at = at + len(data) - len(rest)

    def _refusal(self) -> ImageRefusedError:
        if self._foreign_at is None:
            what = "erased flash without an MCUboot trailer"
        else:
            what = "neither padding nor an MCUboot trailer"
        return ImageRefusedError(
            f"MCUboot image is too long: {self._size_bytes} bytes follow its TLVs, {what}",
            reason="trailing-bytes",
            offset=self._offset if self._foreign_at is None else self._foreign_at,
            hint="Take the file as imgtool signed it, or cut it at that offset.",
        )


def _max_align(magic: bytes) -> int | None:
    if magic == BOOT_MAGIC:
        return 8
    if magic[2:] == BOOT_MAGIC_ALIGNED_TAIL:
        align = int.from_bytes(magic[:2], "little")
        return align if align in _ALIGNMENTS else None
    return None


def _aligned_magic_size(max_align: int) -> int:
    return -(-16 // max_align) * max_align
