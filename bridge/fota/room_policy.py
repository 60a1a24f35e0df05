"""How large an application image may be: less than its slot, because MCUboot keeps its trailer at the slot's end.

An image must end before the page in which the trailer begins. Serial Modem (``dfu_target_mcuboot``) and MCUboot's recovery
compare with the whole slot only, so a larger image is taken, and breaks the swap. Source: MCUboot ``docs/design.md`` (trailer)
and ``bootutil_misc.c`` (``bootutil_max_image_size``): magic and four fields of the largest write alignment (8), and for each
sector of the slot three status entries of the write size (4 on nRF91). Swap using move also needs a free page in the primary
slot, to begin to move.
"""

from dataclasses import dataclass
from typing import Final

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.fota.hardware_policy import chip_of, product_of
from bridge.virtual.layout import BOARD_MODELS, MAX_IMAGE_PAGES, Layout

FLASH_SIZE_BYTES: Final = 1024 * 1024
"""Flash of every nRF91; no application image can be larger, whatever the slot layout is."""
PAGE_BYTES: Final = 4096
_FIELDS_BYTES: Final = 16 + 4 * 8
_STATUS_BYTES_A_PAGE: Final = 3 * 4


@dataclass(frozen=True)
class Room:
    """Space for an application image.

    Attributes:
        size_bytes: Largest image.
        why: Where that comes from, for people.
    """

    size_bytes: int
    why: str


def room_in_slot(slot_size_bytes: int, max_pages: int | None = None) -> int:
    """Largest image in a slot.

    Args:
        slot_size_bytes: Size of the slot.
        max_pages: ``BOOT_MAX_IMG_SECTORS`` of its MCUboot; None for the default, or as many as the slot has.
    """
    pages = max_pages or max(MAX_IMAGE_PAGES, -(-slot_size_bytes // PAGE_BYTES))
    trailer_bytes = _FIELDS_BYTES + pages * _STATUS_BYTES_A_PAGE
    return max(0, (slot_size_bytes - trailer_bytes) // PAGE_BYTES * PAGE_BYTES)


def room_in_layout(layout: Layout) -> int:
    """Largest image for a board with these slots, swapped by moving."""
    primary, secondary = layout.primary, layout.secondary
    return min(
        room_in_slot(primary.size, primary.max_pages) - PAGE_BYTES,
        room_in_slot(secondary.size, secondary.max_pages),
    )


def find_room(slot_size_bytes: int | None, ordered_board: str | None, identity: BoardIdentity) -> Room:
    """Find out how much room there is: by the size that was given, the ordered board's standard layout, or the chip's flash.

    Routes that can ask the board (SMP's slot info, a session of ``#XDFU``) compare again with what it says.
    """
    if slot_size_bytes is not None:
        return Room(
            room_in_slot(slot_size_bytes), f"a slot of {slot_size_bytes} bytes, less MCUboot's trailer"
        )
    model = BOARD_MODELS.get(product_of(ordered_board) or "")
    found = chip_of(identity.model) or chip_of(identity.hardware_version)
    if model is not None and (found is None or found == chip_of(model.soc)):
        return Room(
            room_in_layout(model.layout),
            f"the slots of {model.name}'s standard build, less MCUboot's trailer",
        )
    return Room(FLASH_SIZE_BYTES, "the chip's flash")


def check_room(size_bytes: int, room: Room) -> None:
    """Refuse an application image that is too large (reason ``too-large``)."""
    if size_bytes > room.size_bytes:
        raise ImageRefusedError(
            f"the image has {size_bytes} bytes, but there is room for {room.size_bytes} ({room.why})",
            reason="too-large",
            hint="Build it smaller; if the board has other partitions, give the size of its slot with --slot-size.",
        )
