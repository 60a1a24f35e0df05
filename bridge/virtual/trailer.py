"""MCUboot's image trailer: the few bytes at a slot's end that say what to do at the next boot, and how far a swap got.

Laid out for a largest write alignment of 8 and a write size of 4, as on nRF91. Sources: MCUboot
``docs/design.md``, ``boot/bootutil/src/bootutil_public.c``, ``bootutil_area.c`` and ``swap_misc.c``.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bridge.image.mcuboot import BOOT_MAGIC
from bridge.virtual.flash import ERASED, PAGE_BYTES, WORD_BYTES, Flash
from bridge.virtual.layout import MAX_IMAGE_PAGES, Slot

STATUS_ENTRIES: Final = MAX_IMAGE_PAGES * 3
"""One entry a page for the move, two for the swap."""

_CELL: Final = 8
_MAGIC_BYTES: Final = len(BOOT_MAGIC)
_IMAGE_OK: Final = _MAGIC_BYTES + _CELL
_COPY_DONE: Final = _IMAGE_OK + _CELL
_SWAP_INFO: Final = _COPY_DONE + _CELL
_SWAP_SIZE: Final = _SWAP_INFO + _CELL
TRAILER_BYTES: Final = _SWAP_SIZE + STATUS_ENTRIES * WORD_BYTES
"""Size where an image has up to :data:`~bridge.virtual.layout.MAX_IMAGE_PAGES`."""
_FLAG_SET: Final = 0x01


class SwapType(IntEnum):
    """What MCUboot does at a boot; the numbers are those in flash (low nibble of ``swap_info``)."""

    NONE = 1
    TEST = 2
    PERM = 3
    REVERT = 4
    FAIL = 5


class Magic(IntEnum):
    """State of a trailer's magic number."""

    GOOD = 1
    BAD = 2
    UNSET = 3


class Flag(IntEnum):
    """State of a one-byte flag, with the numbers that MCUboot prints."""

    SET = 1
    BAD = 2
    UNSET = 3


@dataclass(frozen=True)
class SwapState:
    """The trailer's fields that decide about the next boot.

    Attributes:
        magic: Whether the trailer counts at all.
        image_ok: Confirmed (in the primary slot), or to be installed for good (in the secondary).
        copy_done: The swap that the trailer belongs to is finished.
        swap_type: What kind of swap it was; NONE when that is not in flash.
    """

    magic: Magic
    image_ok: Flag
    copy_done: Flag
    swap_type: SwapType

    def __str__(self) -> str:
        """As MCUboot prints it."""
        return (
            f"magic={self.magic.name.lower()}, swap_type={self.swap_type:#x}, copy_done={self.copy_done:#x},"
            f" image_ok={self.image_ok:#x}"
        )


class Trailer:
    """The trailer of one slot.

    Args:
        flash: The flash.
        slot: The slot.
    """

    def __init__(self, flash: Flash, slot: Slot) -> None:
        self._flash = flash
        self._slot = slot
        self._status_bytes = slot.max_pages * 3 * WORD_BYTES
        self.size_bytes = _SWAP_SIZE + self._status_bytes
        """How much of the slot's end it takes."""

    @property
    def first_page(self) -> int:
        """Address of the first page that holds part of the trailer; an image must end before it."""
        first = self._slot.end - self.size_bytes
        return first - first % PAGE_BYTES

    def state(self) -> SwapState:
        """Read the fields."""
        swap_type = self._at(_SWAP_INFO, 1)[0] & 0x0F
        known = SwapType.NONE <= swap_type <= SwapType.REVERT
        return SwapState(
            self._magic(),
            self._flag(_IMAGE_OK),
            self._flag(_COPY_DONE),
            SwapType(swap_type) if known else SwapType.NONE,
        )

    def swap_size_bytes(self) -> int:
        """How much a running swap exchanges."""
        return int.from_bytes(self._at(_SWAP_SIZE, 4), "little")

    def status_entries_done(self) -> int:
        """Number of the last swap status entry that is written, counted from 1; 0 if none is."""
        status = self._at(self.size_bytes, self._status_bytes)[::WORD_BYTES]
        return len(status.rstrip(bytes([ERASED])))

    def write_status(self, entry: int, value: int) -> None:
        """Write swap status entry number ``entry``, counted from 0."""
        self._write(self.size_bytes - entry * WORD_BYTES, bytes([value]))

    def write_magic(self) -> None:
        """Make the trailer count."""
        self._write(_MAGIC_BYTES, BOOT_MAGIC)

    def write_image_ok(self) -> None:
        """Mark the image as confirmed."""
        self._write(_IMAGE_OK, bytes([_FLAG_SET]))

    def write_copy_done(self) -> None:
        """Mark the swap as finished."""
        self._write(_COPY_DONE, bytes([_FLAG_SET]))

    def write_swap_info(self, swap_type: SwapType) -> None:
        """Note what kind of swap it is (of image 0)."""
        self._write(_SWAP_INFO, bytes([swap_type]))

    def write_swap_size(self, size_bytes: int) -> None:
        """Note how much a swap exchanges."""
        self._write(_SWAP_SIZE, size_bytes.to_bytes(4, "little"))

    def erase(self) -> None:
        """Erase every page that holds part of the trailer, the last one first."""
        for page in range(self._slot.end - PAGE_BYTES, self.first_page - 1, -PAGE_BYTES):
            self._flash.erase(page)

    def _at(self, before_end: int, size_bytes: int) -> bytes:
        return self._flash.read(self._slot.end - before_end, size_bytes)

    def _magic(self) -> Magic:
        magic = self._at(_MAGIC_BYTES, _MAGIC_BYTES)
        if magic == bytes([ERASED]) * _MAGIC_BYTES:
            return Magic.UNSET
        return Magic.GOOD if magic == BOOT_MAGIC else Magic.BAD

    def _flag(self, before_end: int) -> Flag:
        value = self._at(before_end, 1)[0]
        return {ERASED: Flag.UNSET, _FLAG_SET: Flag.SET}.get(value, Flag.BAD)

    def _write(self, before_end: int, data: bytes) -> None:
        padded = data + bytes([ERASED]) * (-len(data) % WORD_BYTES)
        self._flash.write(self._slot.end - before_end, padded)
