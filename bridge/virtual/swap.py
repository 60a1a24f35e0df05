"""MCUboot's swap using move: exchanges two slots page by page so that a power cut at any moment can be taken up again.

First every page of the primary slot moves up by one, the last one first; then, page by page, the secondary image
goes down into the primary slot and the moved page into the secondary. Each step ends with an entry in the swap
status of the primary trailer. Sources: MCUboot ``boot/bootutil/src/swap_move.c``, ``swap_misc.c`` and
``docs/design.md``; on nRF91 this is NCS's default.
"""

from dataclasses import dataclass
from typing import Final

from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import Layout
from bridge.virtual.slot_image import has_magic
from bridge.virtual.trailer import Flag, Magic, SwapType, Trailer

_COPY_BUFFER_BYTES: Final = 1024
_STATUS_VALUES: Final = (1, 2)


@dataclass(frozen=True)
class Unfinished:
    """A swap that was begun and, so the primary trailer says, not finished.

    Attributes:
        swap_type: What kind of swap it is; NONE when the trailer was put there by a factory or probe.
        entries_done: Number of steps that are done, as the positions of the status entries count them.
    """

    swap_type: SwapType
    entries_done: int


class Swap:
    """Exchanges the images of two slots.

    Args:
        flash: The flash.
        layout: Where the slots are.

    Attributes:
        primary_trailer: Holds the swap's status while it runs.
        secondary_trailer: Asks for a swap.
    """

    def __init__(self, flash: Flash, layout: Layout) -> None:
        self._flash = flash
        self._primary = layout.primary
        self._secondary = layout.secondary
        self._max_pages = layout.primary.max_pages
        self.primary_trailer = Trailer(flash, layout.primary)
        self.secondary_trailer = Trailer(flash, layout.secondary)

    @property
    def is_possible(self) -> bool:
        """Whether the slots' sizes allow it: equal, or the primary one page larger."""
        primary, secondary = self._primary.size // PAGE_BYTES, self._secondary.size // PAGE_BYTES
        return primary - secondary in (0, 1) and primary <= self._max_pages

    def unfinished(self) -> Unfinished | None:
        """The swap to go on with, if there is one."""
        primary = self.primary_trailer.state()
        begun = primary.magic is Magic.GOOD and primary.copy_done is Flag.UNSET
        if not begun or self.secondary_trailer.state().magic is Magic.GOOD:
            return None
        return Unfinished(primary.swap_type, self.primary_trailer.status_entries_done())

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether images of that size can move up by a page without touching the primary trailer."""
        pages_needed = _pages(size_bytes) + 1
        return pages_needed * PAGE_BYTES <= self.primary_trailer.first_page - self._primary.address

    def begin(self, swap_type: SwapType, size_bytes: int, *, trailer_written: bool = False) -> None:
        """Exchange the slots' first ``size_bytes``.

        Args:
            swap_type: TEST, PERM or REVERT.
            size_bytes: Size of the larger image.
            trailer_written: A swap that was begun is begun again, nothing had moved yet: the primary trailer is
                kept as it is.
        """
        if swap_type is SwapType.REVERT:
            self._make_revert_look_permanent(size_bytes)
        if not trailer_written:
            confirmed = self.secondary_trailer.state().image_ok is Flag.SET
            self.primary_trailer.erase()
            self.primary_trailer.write_swap_info(swap_type)
            if confirmed:
                self.primary_trailer.write_image_ok()
            self.primary_trailer.write_swap_size(size_bytes)
            self.primary_trailer.write_magic()
        self.secondary_trailer.erase()
        self._run(0, size_bytes)

    def resume(self, unfinished: Unfinished) -> None:
        """Go on with a swap from its first step that is not done."""
        self._run(unfinished.entries_done, self.primary_trailer.swap_size_bytes())

    def mark_finished(self, swap_type: SwapType) -> None:
        """Note in the primary trailer that the swap is complete; only a trial is left unconfirmed."""
        permanent = swap_type in (SwapType.REVERT, SwapType.PERM)
        if permanent and self.primary_trailer.state().image_ok is Flag.UNSET:
            self.primary_trailer.write_image_ok()
        if permanent or swap_type is SwapType.TEST:
            self.primary_trailer.write_copy_done()

    def headers_are_where_expected(self, unfinished: Unfinished) -> bool:
        """Whether both images' headers are found where they are after the steps that are done."""
        primary, secondary = self._primary.address, self._secondary.address
        pages = _pages(self.primary_trailer.swap_size_bytes())
        moved, swapped = self._split(unfinished.entries_done, pages)
        moved_up = primary + PAGE_BYTES if moved >= pages else primary
        places = {
            0: (moved_up, secondary),  # the first page is the last one to move
            1: (moved_up, primary),
        }.get(swapped, (secondary, primary))
        return all(has_magic(self._flash, address) for address in places)

    def _make_revert_look_permanent(self, size_bytes: int) -> None:
        """A revert erases the primary trailer first; until that is written again, only this can tell of it."""
        if self.secondary_trailer.state().magic is Magic.UNSET:
            self.secondary_trailer.erase()
            self.secondary_trailer.write_image_ok()
            self.secondary_trailer.write_swap_size(size_bytes)
            self.secondary_trailer.write_magic()

    def _run(self, entries_done: int, size_bytes: int) -> None:
        pages = _pages(size_bytes)
        moved, swapped = self._split(entries_done, pages)
        for step in range(moved, pages):
            self._move_up(pages - step)
            self.primary_trailer.write_status(step, _STATUS_VALUES[0])
        for step in range(swapped, 2 * pages):
            page, half = divmod(step, 2)
            (self._bring_down, self._put_away)[half](page)
            self.primary_trailer.write_status(self._max_pages + step, _STATUS_VALUES[half])

    def _split(self, entries_done: int, pages: int) -> tuple[int, int]:
        """Steps of the move and of the swap that are done."""
        if entries_done >= self._max_pages:
            return pages, entries_done - self._max_pages
        return entries_done, 0

    def _move_up(self, page: int) -> None:
        start = self._primary.address + page * PAGE_BYTES
        self._copy(start - PAGE_BYTES, start)

    def _bring_down(self, page: int) -> None:
        offset = page * PAGE_BYTES
        self._copy(self._secondary.address + offset, self._primary.address + offset)

    def _put_away(self, page: int) -> None:
        offset = page * PAGE_BYTES
        self._copy(self._primary.address + offset + PAGE_BYTES, self._secondary.address + offset)

    def _copy(self, source: int, target: int) -> None:
        self._flash.erase(target)
        for offset in range(0, PAGE_BYTES, _COPY_BUFFER_BYTES):
            self._flash.write(target + offset, self._flash.read(source + offset, _COPY_BUFFER_BYTES))


def _pages(size_bytes: int) -> int:
    return max(1, -(-size_bytes // PAGE_BYTES))
