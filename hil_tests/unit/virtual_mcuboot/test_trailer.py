"""Our trailers against imgtool's, byte by byte."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from imgtool import image

from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import MAX_IMAGE_PAGES, Slot
from bridge.virtual.trailer import STATUS_ENTRIES, TRAILER_BYTES, SwapType, Trailer
from hil_tests.unit.virtual_mcuboot.signing import sign


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9000), st.integers(3, 30), st.booleans())
def test_given_a_padded_image_from_imgtool_then_our_trailer_has_the_same_bytes(
    payload_bytes: int, pages: int, confirm: bool
) -> None:
    slot = Slot(0, (pages + 1) * PAGE_BYTES)
    padded = sign("1.2.3", payload_bytes, pad=True, confirm=confirm, slot=slot.size)
    assert len(padded) == slot.size
    flash = Flash(slot.size)
    trailer = Trailer(flash, slot)
    trailer.write_magic()
    if confirm:
        trailer.write_image_ok()
    assert flash.read(slot.size - TRAILER_BYTES, TRAILER_BYTES) == padded[-TRAILER_BYTES:]


def test_given_imgtools_defaults_then_the_trailer_has_the_same_size() -> None:
    made = image.Image(version="1.0.0", header_size=0x200, align=4, max_align=8)
    assert made._trailer_size(4, MAX_IMAGE_PAGES, False, None, False, 0) == TRAILER_BYTES


def test_given_more_pages_then_the_trailer_is_as_large_as_imgtools() -> None:
    made = image.Image(version="1.0.0", header_size=0x200, align=4, max_align=8)
    slot = Slot(0, 16 * PAGE_BYTES, max_pages=512)
    assert made._trailer_size(4, 512, False, None, False, 0) == Trailer(Flash(slot.size), slot).size_bytes


def test_given_all_fields_then_each_has_a_place_of_its_own() -> None:
    flash = Flash(4 * PAGE_BYTES)
    trailer = Trailer(flash, Slot(0, 4 * PAGE_BYTES))
    trailer.write_magic()
    trailer.write_image_ok()
    trailer.write_copy_done()
    trailer.write_swap_info(SwapType.PERM)
    trailer.write_swap_size(0x12345)
    for entry in range(STATUS_ENTRIES):
        assert trailer.status_entries_done() == entry
        trailer.write_status(entry, 1)
    assert str(trailer.state()) == "magic=good, swap_type=0x3, copy_done=0x1, image_ok=0x1"
    assert trailer.swap_size_bytes() == 0x12345
    assert trailer.status_entries_done() == STATUS_ENTRIES
    assert flash.overwritten_words == 0
    assert flash.is_erased(0, 4 * PAGE_BYTES - TRAILER_BYTES)


@pytest.mark.parametrize("pages", [2, 5])
def test_given_a_trailer_when_erased_then_only_the_pages_that_hold_it_are(pages: int) -> None:
    size = pages * PAGE_BYTES
    flash = Flash(size, bytes(size))
    trailer = Trailer(flash, Slot(0, size))
    trailer.erase()
    assert trailer.first_page == size - PAGE_BYTES
    assert flash.is_erased(size - PAGE_BYTES, PAGE_BYTES)
    assert flash.read(0, size - PAGE_BYTES) == bytes(size - PAGE_BYTES)
