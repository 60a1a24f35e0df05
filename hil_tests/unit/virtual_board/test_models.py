"""Every board model: its partitions, its chips, its modem, and an update through its slots."""

from itertools import pairwise
from pathlib import Path

import pytest

from bridge.errors import UsageError
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import (
    PAGE_BYTES,
    PAGE_ERASE_NS,
    SECTOR_ERASE_NS,
    SPI_WORD_WRITE_NS,
    WORD_WRITE_NS,
    FlashError,
)
from bridge.virtual.layout import BOARD_MODELS, EXTERNAL_ADDRESS, FLASH_BYTES, board_model, layout_of
from bridge.virtual.mcuboot import SwapType, boot, request_upgrade, running_version, write_img_confirmed
from bridge.virtual.trailer import Trailer
from hil_tests.unit.virtual_board.tapped import TappedBoard

EVERY_MODEL = pytest.mark.parametrize("name", list(BOARD_MODELS))


def test_given_the_shop_then_these_boards_can_be_started() -> None:
    assert set(BOARD_MODELS) == {"nrf9160dk", "nrf9161dk", "nrf9151dk", "thingy91", "thingy91x"}
    with pytest.raises(UsageError) as caught:
        board_model("nrf52840dk")
    assert caught.value.reason == "unknown-model"


@EVERY_MODEL
def test_given_a_model_then_its_partitions_fit_its_flash_and_do_not_overlap(name: str) -> None:
    layout = layout_of(name)
    slots = [
        layout.primary,
        layout.secondary,
        *(layout.bootloader_slots or ()),
        *filter(None, [layout.storage]),
    ]
    slots.sort(key=lambda slot: slot.address)
    assert all(slot.address % PAGE_BYTES == 0 == slot.size % PAGE_BYTES for slot in slots)
    assert all(one.end <= other.address for one, other in pairwise(slots))
    assert all(slot.end <= FLASH_BYTES or slot.address >= EXTERNAL_ADDRESS for slot in slots)
    assert slots[-1].end <= layout.total_size
    assert layout.primary.size - layout.secondary.size in (0, PAGE_BYTES)
    assert layout.primary.size // PAGE_BYTES <= layout.primary.max_pages == layout.secondary.max_pages


def test_given_thingy91x_then_only_its_secondary_slot_is_in_external_flash() -> None:
    layout = layout_of("thingy91x")
    assert (layout.primary.device, layout.secondary.device) == ("internal", "external")
    assert all(layout_of(name).secondary.device == "internal" for name in BOARD_MODELS if name != "thingy91x")


def test_given_two_chips_then_each_takes_its_own_time_and_only_one_stops_the_cpu() -> None:
    layout = layout_of("thingy91x")
    flash = layout.make_flash()
    seen: list[tuple[int, bool]] = []
    flash.on_operation = lambda duration_ns: seen.append((duration_ns, flash.stalls_cpu))
    flash.erase(layout.primary.address)
    flash.write(layout.primary.address, bytes(8))
    flash.erase(layout.secondary.address)
    flash.write(layout.secondary.address + 1, bytes(7))
    assert seen == [
        (PAGE_ERASE_NS, True),
        (2 * WORD_WRITE_NS, True),
        (SECTOR_ERASE_NS, False),
        (2 * SPI_WORD_WRITE_NS, False),
    ]
    assert flash.read(layout.secondary.address, 10) == b"\xff" + bytes(7) + b"\xff\xff"
    with pytest.raises(FlashError):
        flash.write(layout.primary.address + 1, bytes(7))
    assert flash.device(layout.secondary.address).name == "external"


def images(samples: SampleImages, name: str) -> tuple[bytes, bytes]:
    """The old image and a new one, for a board."""
    address = layout_of(name).primary.address
    old, new = (samples.application(version, primary_address=address) for version in ("1.0.0", "1.1.0"))
    return old.read_bytes(), new.read_bytes()


@EVERY_MODEL
def test_given_a_trial_on_any_model_then_it_swaps_reverts_and_stays_when_confirmed(
    name: str, samples: SampleImages
) -> None:
    layout = layout_of(name)
    old, new = images(samples, name)
    flash = layout.make_flash()
    flash.program(layout.primary.address, old)
    flash.program(layout.secondary.address, new)
    keys = [samples.public_key_pem]
    for confirm in (False, True):
        request_upgrade(flash, layout, permanent=False)
        assert boot(flash, layout, keys).swap_type is SwapType.TEST
        assert flash.read(layout.primary.address, len(new)) == new
        assert flash.read(layout.secondary.address, len(old)) == old
        if confirm:
            write_img_confirmed(flash, layout)
        assert boot(flash, layout, keys).swap_type is (SwapType.NONE if confirm else SwapType.REVERT)
    assert running_version(flash, layout) == "1.1.0"


def test_given_a_swap_over_two_chips_when_the_power_fails_in_it_then_it_is_taken_up_again(
    samples: SampleImages,
) -> None:
    layout = layout_of("thingy91x")
    old, new = images(samples, "thingy91x")
    flash = layout.make_flash()
    flash.program(layout.primary.address, old)
    flash.program(layout.secondary.address, new)
    request_upgrade(flash, layout, permanent=False)
    content, keys = flash.dump(), [samples.public_key_pem]
    boot(flash, layout, keys)
    for operation in range(1, flash.operations, 7):
        torn = layout.make_flash(content)
        torn.cut_power_at(operation)
        with pytest.raises(PowerCutError):
            boot(torn, layout, keys)
        after = layout.make_flash(torn.dump())
        outcome = boot(after, layout, keys)
        assert outcome.version == "1.1.0", operation
        assert after.read(layout.primary.address, len(new)) == new
        assert after.read(layout.secondary.address, len(old)) == old


def test_given_thingy91x_then_its_trailer_reaches_over_two_pages() -> None:
    layout = layout_of("thingy91x")
    flash = layout.make_flash()
    trailer = Trailer(flash, layout.secondary)
    assert trailer.size_bytes == 48 + 512 * 3 * 4
    assert layout.secondary.end - trailer.first_page == 2 * PAGE_BYTES


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("nrf9160dk", [b"nRF9160-SICA", b"nRF9160 SICA B0A", b"nrf9160_1.3.5"]),
        ("thingy91", [b"nRF9160-SICA", b"nRF9160 SICA B0A", b"nrf9160_1.3.5"]),
        ("nrf9161dk", [b"nRF9161-LACA", b"nRF9161 LACA A0A", b"nrf91x1_2.0.2"]),
        ("thingy91x", [b"nRF9151-LACA", b"nRF9151 LACA ADA", b"nrf91x1_2.0.2"]),
    ],
)
def test_given_a_model_then_its_modem_says_what_it_is(
    name: str, answers: list[bytes], samples: SampleImages
) -> None:
    with TappedBoard(samples, model=name) as tapped:
        tapped.read_until(b"Ready\r\n")
        for command, answer in zip(("AT+CGMM", "AT%HWVERSION", "AT%SHORTSWVER"), answers, strict=True):
            assert answer in tapped.ask(command)


def test_given_serial_modem_on_thingy91x_then_an_update_goes_through_external_flash(
    samples: SampleImages,
) -> None:
    address = layout_of("thingy91x").primary.address
    image = samples.application("2.0.0", primary_address=address).read_bytes()
    with TappedBoard(samples, model="thingy91x") as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask(f"AT#XDFUINIT=0,{len(image)}")
        tapped.send(b"AT#XDFUWRITE=0,0,%d\r" % len(image) + image)
        tapped.read_until(b"#XDFU: 0,1,0\r\n")
        tapped.ask("AT#XDFUAPPLY=0")
        tapped.read_until(b"#XDFU: 0,2,0\r\n")
        tapped.ask("AT#XRESET")
        tapped.read_until(b"#XFOTA: 5,0\r\n")
        assert running_version(tapped.board.flash, tapped.board.layout) == "2.0.0"


def test_given_a_board_with_two_chips_then_both_survive_in_its_directory(tmp_path: Path) -> None:
    board = VirtualBoard("thingy91x", state_dir=tmp_path)
    with board:
        board.call(lambda: board.flash.write(EXTERNAL_ADDRESS, b"outside"))
    again = VirtualBoard("thingy91x", state_dir=tmp_path)
    assert again.flash.read(EXTERNAL_ADDRESS, 7) == b"outside"
    again.stop()


@pytest.mark.parametrize(
    ("name", "flow_control"), [("nrf9160dk", True), ("thingy91", False), ("thingy91x", False)]
)
def test_given_a_model_then_its_uart_has_flow_control_or_not(name: str, flow_control: bool) -> None:
    assert VirtualBoard(name)._uart._default_options.flow_control is flow_control
    assert (
        VirtualBoard(name, flow_control=not flow_control)._uart._default_options.flow_control
        is not flow_control
    )
