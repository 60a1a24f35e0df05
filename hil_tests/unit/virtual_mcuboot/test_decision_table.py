"""MCUboot's table of what the next boot does, row by row and as bytes in flash."""

from itertools import product

import pytest

from bridge.virtual.flash import Flash
from bridge.virtual.mcuboot import is_img_confirmed, request_upgrade, swap_type, write_img_confirmed
from bridge.virtual.trailer import Flag, Magic, SwapType, Trailer
from hil_tests.unit.virtual_mcuboot.signing import SMALL

ANY = None
# boot_swap_tables in bootutil_public.c: primary magic, secondary magic, primary image_ok, secondary image_ok, primary
# copy_done -> result.
ROWS = [
    (ANY, Magic.GOOD, ANY, Flag.UNSET, ANY, SwapType.TEST),
    (ANY, Magic.GOOD, ANY, Flag.SET, ANY, SwapType.PERM),
    (Magic.GOOD, Magic.UNSET, Flag.UNSET, ANY, Flag.SET, SwapType.REVERT),
]
GOOD_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
MAGIC_BYTES = {Magic.GOOD: GOOD_MAGIC, Magic.UNSET: b"\xff" * 16, Magic.BAD: GOOD_MAGIC[:15] + b"\x00"}
FLAG_BYTE = {Flag.SET: b"\x01", Flag.UNSET: b"\xff", Flag.BAD: b"\x03"}


def flash_with(
    primary: tuple[Magic, Flag, Flag] = (Magic.UNSET, Flag.UNSET, Flag.UNSET),
    secondary: tuple[Magic, Flag, Flag] = (Magic.UNSET, Flag.UNSET, Flag.UNSET),
) -> Flash:
    """Trailers by hand: magic, image_ok, copy_done."""
    flash = Flash(SMALL.flash_size)
    for slot, (magic, image_ok, copy_done) in ((SMALL.primary, primary), (SMALL.secondary, secondary)):
        flash.program(slot.end - 16, MAGIC_BYTES[magic])
        flash.program(slot.end - 24, FLAG_BYTE[image_ok])
        flash.program(slot.end - 32, FLAG_BYTE[copy_done])
    return flash


@pytest.mark.parametrize(("primary_magic", "secondary_magic"), list(product(Magic, Magic)))
def test_given_any_trailers_then_the_first_row_that_fits_decides(
    primary_magic: Magic, secondary_magic: Magic
) -> None:
    for primary_ok, secondary_ok, copy_done in product(Flag, Flag, Flag):
        flash = flash_with(
            (primary_magic, primary_ok, copy_done), (secondary_magic, secondary_ok, Flag.UNSET)
        )
        found = (primary_magic, secondary_magic, primary_ok, secondary_ok, copy_done)
        expected = next(
            (
                row[5]
                for row in ROWS
                if all(want is ANY or want is have for want, have in zip(row[:5], found, strict=True))
            ),
            SwapType.NONE,
        )
        assert swap_type(flash, SMALL) is expected, found


@pytest.mark.parametrize(
    ("magic", "image_ok", "confirmed", "writes"),
    [
        (Magic.UNSET, Flag.UNSET, True, 0),
        (Magic.GOOD, Flag.UNSET, False, 1),
        (Magic.GOOD, Flag.SET, True, 0),
        (Magic.GOOD, Flag.BAD, False, 0),
        (Magic.BAD, Flag.UNSET, False, 0),
    ],
)
def test_given_a_primary_trailer_when_confirmed_then_image_ok_is_written_once_and_only_on_trial(
    magic: Magic, image_ok: Flag, confirmed: bool, writes: int
) -> None:
    flash = flash_with(primary=(magic, image_ok, Flag.SET))
    assert is_img_confirmed(flash, SMALL) is confirmed
    assert write_img_confirmed(flash, SMALL) is (magic is not Magic.BAD)
    assert flash.operations == writes
    assert write_img_confirmed(flash, SMALL) is (magic is not Magic.BAD)
    assert flash.operations == writes


@pytest.mark.parametrize("permanent", [False, True])
def test_given_a_scheduled_update_when_requested_again_then_nothing_is_written(permanent: bool) -> None:
    flash = flash_with(secondary=(Magic.GOOD, Flag.UNSET, Flag.UNSET))
    assert request_upgrade(flash, SMALL, permanent=permanent)
    assert flash.operations == 0
    assert swap_type(flash, SMALL) is SwapType.TEST


@pytest.mark.parametrize(
    ("number", "found"), [(0x02, SwapType.TEST), (0x13, SwapType.PERM), (0x0F, SwapType.NONE)]
)
def test_given_swap_info_then_its_low_nibble_is_the_swap_type(number: int, found: SwapType) -> None:
    flash = flash_with()
    flash.program(SMALL.primary.end - 40, bytes([number]))
    state = Trailer(flash, SMALL.primary).state()
    assert state.swap_type is found
    assert str(state) == f"magic=unset, swap_type={found:#x}, copy_done=0x3, image_ok=0x3"
