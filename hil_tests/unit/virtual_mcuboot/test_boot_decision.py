"""What MCUboot decides from the bytes in flash."""

import pytest

from bridge.virtual.flash import PAGE_BYTES
from bridge.virtual.mcuboot import (
    SwapType,
    boot,
    request_upgrade,
    running_version,
    swap_type,
    write_img_confirmed,
)
from bridge.virtual.trailer import Flag, Magic, Trailer
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
    "bad",
    [
        pytest.param(flip_payload(NEW), id="payload"),
        pytest.param(flip_signature(NEW), id="signature"),
        pytest.param(sign("2.0.0", key=1), id="other key"),
        pytest.param(NEW[:5000], id="truncated"),
        pytest.param(b"\xff" * 100, id="blank"),
        pytest.param(sign("2.0.0", 0x4000 - 0x200, slot=0x6000), id="into the trailer's page"),
    ],
)
def test_an_invalid_update_is_refused_in_silence_and_the_old_image_is_safe(bad: bytes) -> None:
    flash = board_flash(OLD)
    stage(flash, bad)
    request_upgrade(flash, SMALL, permanent=False)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.bootable, outcome.version, outcome.swap_type) == (True, "1.0.0", SwapType.FAIL)
    assert Trailer(flash, SMALL.primary).state().image_ok is Flag.SET
    assert swap_type(flash, SMALL) is SwapType.NONE
    assert flash.is_erased(SMALL.secondary.address, 32)


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
