"""What MCUboot decides from the bytes in flash."""

import pytest

from bridge.virtual.flash import PAGE_BYTES, PAGE_ERASE_NS
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.mcuboot import (
    SwapType,
    boot,
    is_img_confirmed,
    request_upgrade,
    running_version,
    swap_type,
    write_img_confirmed,
)
from bridge.virtual.trailer import Magic, Trailer
from hil_tests.unit.virtual_mcuboot.signing import SMALL, board_flash, public_pem, sign, stage

OLD, NEW = sign("1.0.0"), sign("2.0.0", 9000)
KEYS = [public_pem()]


def test_without_an_update_the_primary_runs() -> None:
    outcome = boot(board_flash(OLD), SMALL, KEYS)
    assert (outcome.bootable, outcome.version, outcome.swap_type) == (True, "1.0.0", SwapType.NONE)


def test_an_update_that_was_not_scheduled_is_ignored() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    assert boot(flash, SMALL, KEYS).version == "1.0.0"


def test_a_scheduled_update_is_swapped_in_for_a_trial() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    assert swap_type(flash, SMALL) is SwapType.TEST
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type) == ("2.0.0", SwapType.TEST)
    assert flash.read(SMALL.primary.address, len(NEW)) == NEW
    assert flash.read(SMALL.secondary.address, len(OLD)) == OLD
    assert swap_type(flash, SMALL) is SwapType.REVERT


def test_an_update_that_is_not_confirmed_is_reverted_and_stays_reverted() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    boot(flash, SMALL, KEYS)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type) == ("1.0.0", SwapType.REVERT)
    assert flash.read(SMALL.primary.address, len(OLD)) == OLD
    assert boot(flash, SMALL, KEYS).swap_type is SwapType.NONE


def test_a_confirmed_update_stays() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    boot(flash, SMALL, KEYS)
    write_img_confirmed(flash, SMALL)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type) == ("2.0.0", SwapType.NONE)


def test_a_permanent_update_needs_no_confirmation() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=True)
    assert boot(flash, SMALL, KEYS).swap_type is SwapType.PERM
    assert boot(flash, SMALL, KEYS).version == "2.0.0"
    assert running_version(flash, SMALL) == "2.0.0"


def test_updates_can_follow_each_other() -> None:
    flash = board_flash(OLD)
    for number in range(2, 6):
        stage(flash, sign(f"{number}.0.0", 3000 * (number % 3 + 1)))
        request_upgrade(flash, SMALL, permanent=False)
        assert boot(flash, SMALL, KEYS).version == f"{number}.0.0"
        write_img_confirmed(flash, SMALL)
    assert flash.overwritten_words == 0


def flip_payload(image: bytes) -> bytes:
    return image[:0x300] + bytes([image[0x300] ^ 1]) + image[0x301:]


def flip_signature(image: bytes) -> bytes:
    return image[:-20] + bytes([image[-20] ^ 1]) + image[-19:]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(flip_payload(NEW), "digest-mismatch", id="payload"),
        pytest.param(flip_signature(NEW), "bad-signature", id="signature"),
        pytest.param(sign("2.0.0", key=1), "wrong-key", id="other key"),
        pytest.param(NEW[:5000], "bad-tlv", id="truncated"),
        pytest.param(sign("2.0.0", 0x4000 - 0x200, slot=0x6000), "truncated", id="into the trailer's page"),
        pytest.param(
            b"<html><head><title>404 Not Found</title></head></html>", "not-an-image", id="no image"
        ),
    ],
)
def test_an_invalid_update_is_refused_in_silence_and_the_old_image_is_safe(bad: bytes, reason: str) -> None:
    flash = board_flash(OLD)
    stage(flash, bad)
    request_upgrade(flash, SMALL, permanent=False)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.bootable, outcome.version, outcome.swap_type) == (True, "1.0.0", SwapType.NONE)
    assert outcome.refused == reason
    assert swap_type(flash, SMALL) is SwapType.NONE
    assert flash.is_erased(SMALL.secondary.address, SMALL.secondary.size)
    assert flash.is_erased(SMALL.primary.end - PAGE_BYTES, PAGE_BYTES)
    assert boot(flash, SMALL, KEYS).refused is None


def test_a_refused_update_takes_as_long_as_erasing_the_whole_slot() -> None:
    flash = board_flash(OLD)
    stage(flash, flip_payload(NEW))
    request_upgrade(flash, SMALL, permanent=False)
    before_ns = flash.busy_ns
    boot(flash, SMALL, KEYS)
    assert flash.busy_ns - before_ns == SMALL.secondary.size // PAGE_BYTES * PAGE_ERASE_NS


def test_a_request_without_an_image_is_taken_back_by_erasing_the_trailer_alone() -> None:
    flash = board_flash(OLD)
    request_upgrade(flash, SMALL, permanent=False)
    pages = flash.erased_pages
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.refused) == ("1.0.0", "no-image")
    assert flash.erased_pages - pages == 1
    assert swap_type(flash, SMALL) is SwapType.NONE


def test_nothing_is_installed_on_a_board_without_an_application() -> None:
    flash = board_flash(b"")
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=True)
    outcome = boot(flash, SMALL, KEYS)
    assert not outcome.bootable
    assert "W: Failed reading image headers; Image=0" in outcome.log
    assert swap_type(flash, SMALL) is SwapType.PERM


def test_a_corrupt_application_with_a_header_is_replaced_by_an_update() -> None:
    flash = board_flash(flip_payload(OLD))
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=True)
    assert boot(flash, SMALL, KEYS).version == "2.0.0"


def test_an_application_whose_size_cannot_be_read_stops_the_bootloader() -> None:
    flash = board_flash(OLD[:12] + b"\xff\xff\xff\x7f" + OLD[16:])
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=True)
    outcome = boot(flash, SMALL, KEYS)
    assert not outcome.bootable
    assert any("assertion" in line for line in outcome.log)


def test_a_trial_whose_old_image_is_gone_is_not_reverted_and_stays_for_good() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    boot(flash, SMALL, KEYS)
    flash.erase(SMALL.secondary.address, SMALL.secondary.size)
    assert boot(flash, SMALL, KEYS).version == "2.0.0"
    assert swap_type(flash, SMALL) is SwapType.NONE
    assert is_img_confirmed(flash, SMALL)


def test_a_trial_whose_old_image_is_corrupt_is_not_reverted() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    boot(flash, SMALL, KEYS)
    flash.write(SMALL.secondary.address + 0x400, bytes(16))
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type, outcome.refused) == (
        "2.0.0",
        SwapType.NONE,
        "digest-mismatch",
    )


def test_images_that_leave_no_page_to_move_into_are_not_swapped() -> None:
    # Equal slots, as on Thingy:91: an image that fits both may still be a page too large for the move.
    equal = Layout("equal", 0x10000, Slot(0, 0x5000), Slot(0x5000, 0x5000))
    large = sign("2.0.0", 0x4000 - 0x400)
    flash = board_flash(OLD, equal)
    stage(flash, large, equal)
    request_upgrade(flash, equal, permanent=False)
    outcome = boot(flash, equal, KEYS)
    assert (outcome.version, outcome.swap_type, outcome.refused) == ("1.0.0", SwapType.NONE, "no-room")


def test_slots_of_unfit_sizes_are_never_swapped() -> None:
    odd = Layout("odd", 0x10000, Slot(0, 0x5000), Slot(0x5000, 0x6000))
    flash = board_flash(OLD, odd)
    stage(flash, NEW, odd)
    request_upgrade(flash, odd, permanent=False)
    assert boot(flash, odd, KEYS).version == "1.0.0"


def test_the_largest_image_that_fits_is_swapped() -> None:
    largest = sign("2.0.0", 0x4000 - 0x200 - 152)
    assert 0x4000 - 0x10 < len(largest) <= 0x4000
    flash = board_flash(OLD)
    stage(flash, largest)
    request_upgrade(flash, SMALL, permanent=False)
    assert boot(flash, SMALL, KEYS).version == "2.0.0"


@pytest.mark.parametrize(("prevention", "runs"), [(True, "1.0.0"), (False, "0.9.9")])
def test_an_older_update_runs_only_without_downgrade_prevention(prevention: bool, runs: str) -> None:
    flash = board_flash(OLD)
    stage(flash, sign("0.9.9"))
    request_upgrade(flash, SMALL, permanent=False)
    assert boot(flash, SMALL, KEYS, downgrade_prevention=prevention).version == runs


def test_the_same_version_with_another_build_number_is_no_downgrade() -> None:
    flash = board_flash(sign("1.0.0+5"))
    stage(flash, sign("1.0.0+3"))
    request_upgrade(flash, SMALL, permanent=False)
    assert boot(flash, SMALL, KEYS).version == "1.0.0+3"


def test_a_blank_board_boots_nothing() -> None:
    flash = board_flash(b"\xff" * 4)
    assert not boot(flash, SMALL, KEYS).bootable


def test_a_corrupt_primary_without_an_update_boots_nothing() -> None:
    assert not boot(board_flash(flip_payload(OLD)), SMALL, KEYS).bootable


def test_one_of_several_keys_is_enough() -> None:
    assert boot(board_flash(OLD), SMALL, [public_pem(1), public_pem(0)]).bootable
    assert not boot(board_flash(OLD), SMALL, [public_pem(1)]).bootable


def test_a_spoiled_magic_is_erased_when_an_upgrade_is_requested() -> None:
    flash = board_flash(OLD)
    stage(flash, NEW)
    flash.program(SMALL.secondary.end - 16, b"\x00" * 16)
    request_upgrade(flash, SMALL, permanent=False)
    assert flash.is_erased(SMALL.secondary.address, SMALL.secondary.size)


@pytest.mark.parametrize(("confirm", "expected"), [(False, SwapType.TEST), (True, SwapType.PERM)])
def test_trailers_are_where_imgtool_puts_them(confirm: bool, expected: SwapType) -> None:
    flash = board_flash(OLD)
    padded = sign("2.0.0", pad=True, confirm=confirm)
    assert len(padded) == SMALL.secondary.size
    stage(flash, padded)
    assert Trailer(flash, SMALL.secondary).state().magic is Magic.GOOD
    assert swap_type(flash, SMALL) is expected
    by_us = board_flash(OLD)
    stage(by_us, sign("2.0.0"))
    request_upgrade(by_us, SMALL, permanent=confirm)
    assert by_us.read(SMALL.secondary.end - 32, 32) == padded[-32:]


def test_a_swap_of_two_pages_costs_three_erases_and_twelve_writes_a_page_and_its_trailers() -> None:
    flash = board_flash(OLD)
    stage(flash, sign("2.0.0", PAGE_BYTES))
    request_upgrade(flash, SMALL, permanent=False)
    before = flash.operations
    boot(flash, SMALL, KEYS)
    pages, trailers = 2, 2 + 3 + 1
    assert flash.operations - before == pages * (3 + 12 + 3) + trailers
