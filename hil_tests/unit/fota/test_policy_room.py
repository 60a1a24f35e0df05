"""How much of a slot an image may fill: as MCUboot itself sees it."""

import pytest

from bridge.board import BoardIdentity
from bridge.fota.room_policy import FLASH_SIZE_BYTES, find_room, room_in_layout, room_in_slot
from bridge.virtual.layout import BOARD_MODELS
from bridge.virtual.slot_image import SlotImage

NOBODY = BoardIdentity("p")


@pytest.mark.parametrize("model", BOARD_MODELS.values(), ids=lambda model: model.name)
def test_the_room_in_a_slot_is_what_mcuboot_finds(model: object) -> None:
    layout = model.layout  # type: ignore[attr-defined]
    flash = layout.make_flash()
    for slot in (layout.primary, layout.secondary):
        assert room_in_slot(slot.size, slot.max_pages) == SlotImage(flash, slot).max_size_bytes
    assert room_in_layout(layout) <= SlotImage(flash, layout.secondary).max_size_bytes
    assert room_in_layout(layout) < SlotImage(flash, layout.primary).max_size_bytes


@pytest.mark.parametrize(
    ("size", "room"), [(0x6E000, 0x6D000), (0x100000, 0xFF000), (4096, 0), (1, 0), (0x200000, 0x1FE000)]
)
def test_a_trailer_takes_a_page_and_more_of_a_large_slot(size: int, room: int) -> None:
    assert room_in_slot(size) == room


@pytest.mark.parametrize(
    ("slot", "board", "identity", "room"),
    [
        (None, None, NOBODY, FLASH_SIZE_BYTES),
        (None, "my_board", NOBODY, FLASH_SIZE_BYTES),
        (None, "nrf9151dk", NOBODY, 0x6D000),
        (None, "nrf9160dk/nrf9160/ns", NOBODY, 0x6E000),
        (None, "nrf9151dk", BoardIdentity("p", model="nRF9160-SICA"), FLASH_SIZE_BYTES),
        (0x10000, "nrf9151dk", NOBODY, 0xF000),
    ],
)
def test_where_the_room_comes_from(
    slot: int | None, board: str | None, identity: BoardIdentity, room: int
) -> None:
    assert find_room(slot, board, identity).size_bytes == room
