"""The power fails at every flash operation of all that writes slots; the board must always boot a whole image."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import Flash, Tear
from bridge.virtual.mcuboot import (
    BootOutcome,
    SwapType,
    boot,
    is_img_confirmed,
    request_upgrade,
    swap_type,
    write_img_confirmed,
)
from bridge.virtual.trailer import Flag, Magic, Trailer
from hil_tests.unit.virtual_mcuboot.signing import SMALL, board_flash, public_pem, sign, stage

OLD, NEW = sign("1.0.0"), sign("2.0.0", 9000)
IMAGES = {"1.0.0": OLD, "2.0.0": NEW}
KEYS = [public_pem()]
EVERY_TEAR = pytest.mark.parametrize("tear", list(Tear))

# Operations (from 1) at the start of a revert, before anything of the primary slot has changed.
ERASE_SECONDARY_TRAILER, WRITE_MAGIC, ERASE_SECONDARY_TRAILER_AGAIN = 1, 4, 10


def scheduled(*, permanent: bool = False, update: bytes = NEW) -> Flash:
    flash = board_flash(OLD)
    stage(flash, update)
    request_upgrade(flash, SMALL, permanent=permanent)
    return flash


def on_trial() -> Flash:
    flash = scheduled()
    boot(flash, SMALL, KEYS)
    return flash


def start(flash: Flash, *, downgrade_prevention: bool = True) -> BootOutcome:
    return boot(flash, SMALL, KEYS, downgrade_prevention=downgrade_prevention)


def cut(content: bytes, action: Callable[[Flash], object], operation: int, tear: Tear) -> Flash | None:
    """What an action leaves behind when the power fails in it; None when it has not that many operations."""
    flash = Flash(SMALL.flash_size, content, tear_seed=operation)
    flash.cut_power_at(operation, tear)
    try:
        action(flash)
    except PowerCutError:
        return Flash(SMALL.flash_size, flash.dump(), tear_seed=operation)
    return None


def cuts(content: bytes, action: Callable[[Flash], object], tear: Tear) -> Iterator[tuple[int, Flash]]:
    """Every power cut that an action can suffer."""
    operation = 1
    while (flash := cut(content, action, operation, tear)) is not None:
        yield operation, flash
        operation += 1


def count(content: bytes, action: Callable[[Flash], object]) -> int:
    flash = Flash(SMALL.flash_size, content)
    action(flash)
    return flash.operations


def assert_whole(flash: Flash, outcome: BootOutcome) -> None:
    assert outcome.bootable
    assert outcome.version is not None
    running = IMAGES[outcome.version]
    assert flash.read(SMALL.primary.address, len(running)) == running


def assert_runs(flash: Flash, outcome: BootOutcome, version: str, beside: str) -> None:
    """One image runs, and the other one is as whole in the secondary slot."""
    assert outcome.version == version
    assert_whole(flash, outcome)
    other = IMAGES[beside]
    assert flash.read(SMALL.secondary.address, len(other)) == other


@EVERY_TEAR
def test_given_a_trial_swap_when_the_power_fails_anywhere_then_the_next_boot_starts_the_trial(
    tear: Tear,
) -> None:
    content = scheduled().dump()
    last = count(content, start)
    for operation, flash in cuts(content, start, tear):
        if operation == last:
            continue
        assert_runs(flash, start(flash), "2.0.0", beside="1.0.0")
        assert swap_type(flash, SMALL) is SwapType.REVERT
        assert_runs(flash, start(flash), "1.0.0", beside="2.0.0")
        assert swap_type(flash, SMALL) is SwapType.NONE
        assert is_img_confirmed(flash, SMALL)
    assert last == 3 * 18 + 6


@pytest.mark.parametrize(
    ("tear", "runs"), [(Tear.BEFORE, {"2.0.0"}), (Tear.HALF, {"1.0.0", "2.0.0"}), (Tear.AFTER, {"1.0.0"})]
)
def test_given_the_last_write_of_a_trial_swap_when_it_is_done_then_the_cut_was_the_trial(
    tear: Tear, runs: set[str]
) -> None:
    content = scheduled().dump()
    flash = cut(content, start, count(content, start), tear)
    assert flash is not None
    spoiled = Trailer(flash, SMALL.primary).state().copy_done is Flag.BAD
    outcome = start(flash)
    assert outcome.version in runs
    assert_whole(flash, outcome)
    # A spoiled "copy done" hides the trial: nothing is reverted any more, and nothing is confirmed.
    assert not spoiled or (outcome.swap_type is SwapType.NONE and not is_img_confirmed(flash, SMALL))


@EVERY_TEAR
def test_given_a_permanent_swap_when_the_power_fails_anywhere_then_the_next_boot_finishes_it(
    tear: Tear,
) -> None:
    for _, flash in cuts(scheduled(permanent=True).dump(), start, tear):
        assert_runs(flash, start(flash), "2.0.0", beside="1.0.0")
        assert_runs(flash, start(flash), "2.0.0", beside="1.0.0")
        assert Trailer(flash, SMALL.primary).state().image_ok is not Flag.UNSET


@pytest.mark.parametrize("prevention", [False, True])
@EVERY_TEAR
def test_given_a_revert_when_the_power_fails_anywhere_then_the_next_boot_finishes_it(
    tear: Tear, prevention: bool
) -> None:
    def boot_again(flash: Flash) -> BootOutcome:
        return start(flash, downgrade_prevention=prevention)

    stuck = set()
    for operation, flash in cuts(on_trial().dump(), boot_again, tear):
        outcome = boot_again(flash)
        assert_whole(flash, outcome)
        assert boot_again(flash).version == outcome.version
        if outcome.version == "2.0.0":
            stuck.add(operation)
        else:
            assert swap_type(flash, SMALL) is SwapType.NONE
            assert flash.read(SMALL.secondary.address, len(NEW)) == NEW
    # Two weak spots of MCUboot's own. It first makes the revert look like a permanent update by a trailer in the secondary
    # slot; torn, that trailer hides the revert. And while it looks like an update, downgrade prevention takes the old image
    # for an older version and erases it.
    torn = {ERASE_SECONDARY_TRAILER, WRITE_MAGIC} if tear is Tear.HALF else set()
    looks_like_update = set(range(WRITE_MAGIC, ERASE_SECONDARY_TRAILER_AGAIN + 1)) if prevention else set()
    assert stuck <= torn | looks_like_update
    assert bool(stuck) == bool(torn | looks_like_update)


@pytest.mark.parametrize(
    ("tear", "runs"), [(Tear.BEFORE, {"1.0.0"}), (Tear.HALF, {"1.0.0", "2.0.0"}), (Tear.AFTER, {"2.0.0"})]
)
def test_given_a_confirmation_when_the_power_fails_in_it_then_it_counts_if_it_was_written(
    tear: Tear, runs: set[str]
) -> None:
    outcomes = set()
    for _, flash in cuts(on_trial().dump(), lambda flash: write_img_confirmed(flash, SMALL), tear):
        outcome = start(flash)
        assert_whole(flash, outcome)
        outcomes.add(outcome.version)
    assert outcomes
    assert outcomes <= runs


@pytest.mark.parametrize("permanent", [False, True])
@EVERY_TEAR
def test_given_a_request_when_the_power_fails_in_it_then_the_update_comes_or_does_not(
    tear: Tear, permanent: bool
) -> None:
    unscheduled = board_flash(OLD)
    stage(unscheduled, NEW)
    for _, flash in cuts(
        unscheduled.dump(), lambda flash: request_upgrade(flash, SMALL, permanent=permanent), tear
    ):
        spoiled = Trailer(flash, SMALL.secondary).state().magic is Magic.BAD
        asked = swap_type(flash, SMALL)
        outcome = start(flash)
        assert_whole(flash, outcome)
        assert outcome.swap_type is asked
        if spoiled:
            # MCUboot's code gives the slot up; the update has to be sent again.
            assert request_upgrade(flash, SMALL, permanent=permanent) is False
            assert flash.is_erased(SMALL.secondary.address, SMALL.secondary.size)


@EVERY_TEAR
def test_given_a_refused_update_when_the_power_fails_while_it_is_erased_then_the_old_image_stays(
    tear: Tear,
) -> None:
    bad = NEW[:600] + bytes(8) + NEW[608:]
    operations = 0
    for operation, flash in cuts(scheduled(update=bad).dump(), start, tear):
        for _ in range(3):
            outcome = start(flash)
            assert outcome.version == "1.0.0"
            assert_whole(flash, outcome)
        assert swap_type(flash, SMALL) is SwapType.NONE
        operations = operation
    assert operations == SMALL.secondary.size // flash.page_size


def test_given_a_confirmed_image_when_it_boots_then_no_flash_operation_can_be_cut() -> None:
    flash = on_trial()
    write_img_confirmed(flash, SMALL)
    assert count(flash.dump(), start) == 0


tears = st.sampled_from(list(Tear))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 60), tears), min_size=2, max_size=8))
def test_given_any_series_of_power_cuts_in_a_trial_swap_then_a_whole_image_boots(
    series: list[tuple[int, Tear]],
) -> None:
    content = scheduled().dump()
    for operation, tear in series:
        flash = cut(content, start, operation, tear)
        content = content if flash is None else flash.dump()
    flash = Flash(SMALL.flash_size, content)
    assert_whole(flash, start(flash))


ACTIONS: dict[str, Callable[[Flash], object]] = {
    "boot": start,
    "confirm": lambda flash: write_img_confirmed(flash, SMALL),
    "request": lambda flash: request_upgrade(flash, SMALL, permanent=False),
    "request for good": lambda flash: request_upgrade(flash, SMALL, permanent=True),
}


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(ACTIONS)), st.one_of(st.none(), st.integers(1, 60)), tears),
        max_size=12,
    )
)
def test_given_any_life_with_power_cuts_then_every_boot_that_ends_runs_a_whole_image(
    life: list[tuple[str, int | None, Tear]],
) -> None:
    unscheduled = board_flash(OLD)
    stage(unscheduled, NEW)
    content = unscheduled.dump()
    booting = False
    for name, operation, tear in life:
        if booting and name != "boot":
            continue  # after a power cut in the bootloader, only the bootloader can be next
        flash = Flash(SMALL.flash_size, content)
        flash.cut_power_at(operation, tear)
        try:
            ACTIONS[name](flash)
            booting = False
        except PowerCutError:
            booting = True
        content = flash.dump()
    flash = Flash(SMALL.flash_size, content)
    assert_whole(flash, start(flash))
