"""A swap that was begun and not finished, from trailers made by hand: rare states that a power cut alone does not reach."""

import pytest

from bridge.virtual.flash import Flash, Tear
from bridge.virtual.mcuboot import boot, request_upgrade, swap_type
from bridge.virtual.trailer import Flag, SwapType, Trailer
from hil_tests.unit.virtual_mcuboot.signing import SMALL, board_flash, public_pem, sign, stage
from hil_tests.unit.virtual_mcuboot.test_power_cuts import cut, scheduled, start

OLD, NEW = sign("1.0.0"), sign("2.0.0", 9000)
KEYS = [public_pem()]


def begun(kind: SwapType | None, update: bytes = NEW) -> Flash:
    """The primary trailer says that a swap began; the secondary has lost its trailer, as it must have by then."""
    flash = board_flash(OLD)
    stage(flash, update)
    trailer = Trailer(flash, SMALL.primary)
    if kind is not None:
        trailer.write_swap_info(kind)
    trailer.write_swap_size(max(len(OLD), len(update)))
    trailer.write_magic()
    return flash


@pytest.mark.parametrize(("kind", "confirmed"), [(SwapType.TEST, Flag.UNSET), (SwapType.PERM, Flag.SET)])
def test_given_a_begun_swap_when_nothing_has_moved_then_it_starts_again(
    kind: SwapType, confirmed: Flag
) -> None:
    flash = begun(kind)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type, outcome.resumed) == ("2.0.0", kind, True)
    state = Trailer(flash, SMALL.primary).state()
    assert (state.copy_done, state.image_ok) == (Flag.SET, confirmed)


def test_given_a_permanent_swap_then_the_new_image_is_confirmed_before_it_moves() -> None:
    flash = cut(scheduled(permanent=True).dump(), start, 10, Tear.AFTER)
    assert flash is not None
    state = Trailer(flash, SMALL.primary).state()
    assert (state.image_ok, state.copy_done, state.swap_type) == (Flag.SET, Flag.UNSET, SwapType.PERM)


def test_given_a_begun_swap_when_its_image_is_not_valid_then_it_counts_as_a_finished_revert() -> None:
    flash = begun(SwapType.TEST, NEW[:5000])
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.swap_type, outcome.refused) == ("1.0.0", SwapType.NONE, "bad-tlv")
    assert Trailer(flash, SMALL.primary).state().image_ok is Flag.SET
    assert swap_type(flash, SMALL) is SwapType.NONE


def test_given_a_begun_swap_to_an_older_version_then_downgrade_prevention_stops_it() -> None:
    flash = begun(SwapType.TEST, sign("0.1.0"))
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.refused) == ("1.0.0", "downgrade")
    assert boot(flash, SMALL, KEYS).version == "1.0.0"


def test_given_a_factory_trailer_without_a_swap_then_the_table_decides() -> None:
    flash = begun(None)
    assert boot(flash, SMALL, KEYS).version == "1.0.0"
    request_upgrade(flash, SMALL, permanent=False)
    assert boot(flash, SMALL, KEYS).version == "2.0.0"


def test_given_status_without_a_swap_type_then_the_swap_ends_but_is_not_marked() -> None:
    flash = begun(None)
    trailer = Trailer(flash, SMALL.primary)
    # Move the pages as MCUboot would, then leave the swap to the next boot.
    pages = 3
    for page in range(pages, 0, -1):
        flash.erase(page * 0x1000)
        flash.write(page * 0x1000, flash.read((page - 1) * 0x1000, 0x1000))
        trailer.write_status(pages - page, 1)
    outcome = boot(flash, SMALL, KEYS)
    assert (outcome.version, outcome.resumed) == ("2.0.0", True)
    assert trailer.state().copy_done is Flag.UNSET


SECONDARY = SMALL.secondary.address
MOVING, MOVED, FIRST_PAGE_DOWN, LATER = 20, 23, 29, 40


@pytest.mark.parametrize(
    ("operation", "header"),
    [
        (MOVING, 0),
        (MOVING, SECONDARY),
        (MOVED, 0x1000),
        (MOVED, SECONDARY),
        (FIRST_PAGE_DOWN, 0x1000),
        (FIRST_PAGE_DOWN, 0),
        (LATER, 0),
        (LATER, SECONDARY),
    ],
)
def test_given_a_swap_under_way_when_a_header_is_gone_then_it_is_not_gone_on_with(
    operation: int, header: int
) -> None:
    flash = cut(scheduled().dump(), start, operation, Tear.AFTER)
    assert flash is not None
    flash.program(header, bytes(4))
    outcome = boot(flash, SMALL, KEYS)
    assert "W: Failed reading image headers; Image=0" in outcome.log
    assert flash.operations == 0
