"""MCUboot's swap using move: exchanges two slots page by page so that a power cut at any moment can be taken up again.

First every page of the primary slot moves up by one, the last one first; then, page by page, the secondary image goes down into
the primary slot and the moved page into the secondary. Each step ends with an entry in the swap status of the primary trailer.
Source: MCUboot ``boot/bootutil/src/swap_move.c`` and ``docs/design.md``; on nRF91 this is NCS's default.
"""

from dataclasses import dataclass
from typing import Final

from bridge.image.mcuboot import HEADER_BYTES
from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import Layout
from bridge.virtual.trailer import MAX_IMAGE_PAGES, Flag, Magic, SwapType, Trailer

_COPY_BUFFER_BYTES: Final = 1024
_STATUS_VALUES: Final = (1, 2)


@dataclass
class Interrupted:
    """A swap that a power cut or a reset ended.

    Attributes:
        swap_type: What kind of swap it is.
        entries_done: Number of steps that are done, as counted by the status entries' positions.
    """

    swap_type: SwapType
    entries_done: int


class Swap:
    """Exchanges the images of two slots.

    Args:
        flash: The flash.
        layout: Where the slots are.
    """

    def __init__(self, flash: Flash, layout: Layout) -> None:
        self._flash = flash
        self._primary = layout.primary
        self._secondary = layout.secondary
        self.primary_trailer = Trailer(flash, layout.primary)
        self.secondary_trailer = Trailer(flash, layout.secondary)

    def interrupted(self) -> Interrupted | None:
        """The swap that was begun and not finished, if there is one."""
        primary = self.primary_trailer.state()
        begun = primary.magic is Magic.GOOD and primary.copy_done is Flag.UNSET
        if not begun or self.secondary_trailer.state().magic is Magic.GOOD:
            return None
        return Interrupted(primary.swap_type, self.primary_trailer.status_entries_done())

    def begin(self, swap_type: SwapType, size_bytes: int) -> None:
        """Exchange the slots' first ``size_bytes``, from the start."""
        if swap_type is SwapType.REVERT:
            self._make_revert_look_permanent(size_bytes)
        confirmed = self.secondary_trailer.state().image_ok is Flag.SET
        self.primary_trailer.erase()
        self.primary_trailer.write_swap_info(swap_type)
        if confirmed:
            self.primary_trailer.write_image_ok()
        self.primary_trailer.write_swap_size(size_bytes)
        self.primary_trailer.write_magic()
        self.secondary_trailer.erase()
        self._run(0, size_bytes)
        self._mark_finished(swap_type)

    def resume(self, interrupted: Interrupted) -> None:
        """Go on with an interrupted swap from its first step that is not done."""
        size_bytes = self.primary_trailer.swap_size_bytes()
        if interrupted.entries_done == 0:
            self.secondary_trailer.erase()
        self._run(interrupted.entries_done, size_bytes)
        self._mark_finished(interrupted.swap_type)

    def _make_revert_look_permanent(self, size_bytes: int) -> None:
        """A revert starts with the primary trailer being erased; until it is written again only this can tell of it."""
        if self.secondary_trailer.state().magic is Magic.UNSET:
            self.secondary_trailer.erase()
            self.secondary_trailer.write_image_ok()
            self.secondary_trailer.write_swap_size(size_bytes)
            self.secondary_trailer.write_magic()

    def _run(self, entries_done: int, size_bytes: int) -> None:
        pages = -(-size_bytes // PAGE_BYTES)
        moved, swapped = entries_done, 0
        if entries_done >= MAX_IMAGE_PAGES:
            moved, swapped = pages, entries_done - MAX_IMAGE_PAGES
        for step in range(moved, pages):
            self._move_up(pages - step)
            self.primary_trailer.write_status(step, _STATUS_VALUES[0])
        for step in range(swapped, 2 * pages):
            page, half = divmod(step, 2)
            (self._bring_down, self._put_away)[half](page)
            self.primary_trailer.write_status(MAX_IMAGE_PAGES + step, _STATUS_VALUES[half])

    def _mark_finished(self, swap_type: SwapType) -> None:
        if (
            swap_type in (SwapType.REVERT, SwapType.PERM)
            and self.primary_trailer.state().image_ok is Flag.UNSET
        ):
            self.primary_trailer.write_image_ok()
        if swap_type is not SwapType.NONE:
            self.primary_trailer.write_copy_done()

    def _move_up(self, page: int) -> None:
        start = self._primary.address + page * PAGE_BYTES
        self._copy(start - PAGE_BYTES, start)

    def _bring_down(self, page: int) -> None:
        self._copy(self._secondary.address + page * PAGE_BYTES, self._primary.address + page * PAGE_BYTES)

    def _put_away(self, page: int) -> None:
        self._copy(
            self._primary.address + (page + 1) * PAGE_BYTES, self._secondary.address + page * PAGE_BYTES
        )

    def _copy(self, source: int, target: int) -> None:
        self._flash.erase(target)
        for offset in range(0, PAGE_BYTES, _COPY_BUFFER_BYTES):
            self._flash.write(target + offset, self._flash.read(source + offset, _COPY_BUFFER_BYTES))


def erase_slot_ends(flash: Flash, layout: Layout) -> None:
    """Make the secondary slot's image unusable: its header and its trailer are erased."""
    header = layout.secondary.address
    if not flash.is_erased(header, HEADER_BYTES):
        flash.erase(header)
    Trailer(flash, layout.secondary).erase()
