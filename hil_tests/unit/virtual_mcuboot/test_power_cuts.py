"""The power fails at every flash operation of a swap and of a revert; the board must always boot a whole image."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.virtual.flash import Flash
from bridge.virtual.mcuboot import boot, request_upgrade, write_img_confirmed
from hil_tests.unit.virtual_mcuboot.signing import SMALL, board_flash, public_pem, sign, stage

OLD, NEW = sign("1.0.0"), sign("2.0.0", 9000)
IMAGES = {"1.0.0": OLD, "2.0.0": NEW}
KEYS = [public_pem()]


class PowerCutError(Exception):
    """The test's power cut."""


def scheduled() -> Flash:
    flash = board_flash(OLD)
    stage(flash, NEW)
    request_upgrade(flash, SMALL, permanent=False)
    return flash


def on_trial() -> Flash:
    flash = scheduled()
    boot(flash, SMALL, KEYS)
    return flash


def confirmed() -> Flash:
    flash = on_trial()
    write_img_confirmed(flash, SMALL)
    return flash


def boot_with_cut(content: bytes, operation: int, tear: str) -> Flash | None:
    """Boot until the power fails at an operation; None when there are not that many."""
    flash = Flash(SMALL.flash_size, content, tear_seed=operation)
    flash.tear = tear

    def count(_duration_ns: int) -> None:
        if flash.operations == operation:
            raise PowerCutError

    flash.on_operation = count
    try:
        boot(flash, SMALL, KEYS)
    except PowerCutError:
        return Flash(SMALL.flash_size, flash.dump())
    return None


def assert_whole(flash: Flash, version: str | None) -> None:
    assert version is not None
    image = IMAGES[version]
    assert flash.read(SMALL.primary.address, len(image)) == image


@pytest.mark.parametrize("tear", ["before", "half", "after"])
def test_given_a_test_swap_when_the_power_fails_anywhere_then_the_next_boot_finishes_it(tear: str) -> None:
    content = scheduled().dump()
    versions: list[str | None] = []
    while (flash := boot_with_cut(content, len(versions) + 1, tear)) is not None:
        outcome = boot(flash, SMALL, KEYS)
        assert_whole(flash, outcome.version)
        assert_whole(flash, boot(flash, SMALL, KEYS).version)
        versions.append(outcome.version)
    assert len(versions) > 50
    # With the last operation (copy done) the trial has begun: a power cut there may count as its end.
    assert set(versions[:-1]) == {"2.0.0"}


@pytest.mark.parametrize("prevention", [False, True])
@pytest.mark.parametrize("tear", ["before", "half", "after"])
def test_given_a_revert_when_the_power_fails_anywhere_then_the_next_boot_finishes_it(
    tear: str, prevention: bool
) -> None:
    content = on_trial().dump()
    versions: list[str | None] = []
    while (flash := boot_with_cut(content, len(versions) + 1, tear)) is not None:
        outcome = boot(flash, SMALL, KEYS, downgrade_prevention=prevention)
        assert_whole(flash, outcome.version)
        assert boot(flash, SMALL, KEYS, downgrade_prevention=prevention).version == outcome.version
        versions.append(outcome.version)
    assert len(versions) > 50
    # While a revert starts, MCUboot makes it look like a permanent update: downgrade prevention then takes the old image for
    # a downgrade, and a half-erased trailer hides the revert. In both cases the new image stays, and is whole.
    assert versions.count("2.0.0") <= (8 if prevention or tear == "half" else 0)


@pytest.mark.parametrize("tear", ["before", "half", "after"])
def test_given_a_confirmation_when_the_power_fails_in_it_then_the_image_stays_or_reverts_whole(
    tear: str,
) -> None:
    flash = on_trial()
    flash.tear = tear

    def cut(_duration_ns: int) -> None:
        raise PowerCutError

    flash.on_operation = cut
    with pytest.raises(PowerCutError):
        write_img_confirmed(flash, SMALL)
    flash = Flash(SMALL.flash_size, flash.dump())
    assert_whole(flash, boot(flash, SMALL, KEYS).version)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 70), st.sampled_from(["before", "half", "after"])), max_size=8))
def test_given_any_series_of_power_cuts_then_a_whole_image_boots_in_the_end(
    cuts: list[tuple[int, str]],
) -> None:
    content = scheduled().dump()
    for operation, tear in cuts:
        flash = boot_with_cut(content, operation, tear)
        if flash is not None:
            content = flash.dump()
    flash = Flash(SMALL.flash_size, content)
    assert_whole(flash, boot(flash, SMALL, KEYS).version)


def test_a_confirmed_image_is_not_touched_by_power_cuts_at_boot() -> None:
    assert boot_with_cut(confirmed().dump(), 1, "half") is None
