"""NOR flash: pages, words, bits, power."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import PAGE_BYTES, PAGE_ERASE_NS, WORD_WRITE_NS, Flash, FlashError, Tear


def cut(_duration_ns: int) -> None:
    raise PowerCutError


def test_a_blank_flash_is_all_ones() -> None:
    assert Flash(PAGE_BYTES).dump() == b"\xff" * PAGE_BYTES


@given(st.binary(min_size=4, max_size=4), st.binary(min_size=4, max_size=4))
def test_a_second_write_can_only_clear_bits(first: bytes, second: bytes) -> None:
    flash = Flash(PAGE_BYTES)
    flash.write(8, first)
    flash.write(8, second)
    assert flash.read(8, 4) == bytes(a & b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("address", "size"), [(1, 4), (0, 3), (PAGE_BYTES - 4, 8), (-4, 4)])
def test_a_write_that_is_not_whole_words_inside_is_refused(address: int, size: int) -> None:
    with pytest.raises(FlashError):
        Flash(PAGE_BYTES).write(address, bytes(size))


@pytest.mark.parametrize(("address", "size"), [(4, PAGE_BYTES), (0, 100), (PAGE_BYTES, PAGE_BYTES)])
def test_an_erase_that_is_not_whole_pages_inside_is_refused(address: int, size: int) -> None:
    with pytest.raises(FlashError):
        Flash(PAGE_BYTES).erase(address, size)


def test_every_operation_is_reported_with_its_duration() -> None:
    durations: list[int] = []
    flash = Flash(2 * PAGE_BYTES)
    flash.on_operation = durations.append
    flash.erase(0, 2 * PAGE_BYTES)
    flash.write(0, bytes(1024))
    assert durations == [PAGE_ERASE_NS, PAGE_ERASE_NS, 256 * WORD_WRITE_NS]
    assert flash.operations == 3


def test_a_word_that_is_written_a_third_time_is_counted_until_its_page_is_erased() -> None:
    flash = Flash(PAGE_BYTES)
    for _ in range(3):
        flash.write(0, bytes(8))
    assert flash.overwritten_words == 2
    flash.erase(0)
    flash.write(0, bytes(8))
    assert flash.overwritten_words == 2


@pytest.mark.parametrize("tear", ["before", "half", "after"])
def test_a_torn_write_only_clears_bits_that_the_whole_write_would_clear(tear: str) -> None:
    flash = Flash(PAGE_BYTES, tear_seed=3)
    flash.tear = tear
    flash.on_operation = cut
    with pytest.raises(PowerCutError):
        flash.write(0, bytes(64))
    left = flash.read(0, 64)
    expected = {"before": {255}, "after": {0}}.get(tear, set(range(256)))
    assert set(left) <= expected
    assert flash.is_erased(64, PAGE_BYTES - 64)


def test_a_torn_erase_leaves_what_nobody_can_foretell() -> None:
    flash = Flash(PAGE_BYTES, bytes(PAGE_BYTES))
    flash.on_operation = cut
    with pytest.raises(PowerCutError):
        flash.erase(0)
    assert len(set(flash.dump())) > 100


def test_the_power_fails_at_the_operation_that_was_asked_for_and_not_again() -> None:
    flash = Flash(2 * PAGE_BYTES, bytes(2 * PAGE_BYTES))
    flash.cut_power_at(2, Tear.BEFORE)
    flash.erase(0)
    with pytest.raises(PowerCutError):
        flash.erase(PAGE_BYTES)
    assert flash.read(PAGE_BYTES, PAGE_BYTES) == bytes(PAGE_BYTES)
    flash.erase(PAGE_BYTES)
    assert flash.is_erased(0, 2 * PAGE_BYTES)
    assert (flash.operations, flash.erased_pages, flash.busy_ns) == (3, 3, 3 * PAGE_ERASE_NS)


@given(st.integers(0, 2**32), st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_a_torn_write_leaves_every_bit_as_it_was_or_as_it_should_be(
    seed: int, before: bytes, data: bytes
) -> None:
    flash = Flash(PAGE_BYTES, tear_seed=seed)
    flash.write(0, before)
    flash.cut_power_at(2, Tear.HALF)
    with pytest.raises(PowerCutError):
        flash.write(0, data)
    for old, new, left in zip(before, data, flash.read(0, 64), strict=True):
        assert left & ~old == 0
        assert left | (old & new) == left


def test_the_same_seed_tears_alike() -> None:
    contents = []
    for _ in range(2):
        flash = Flash(PAGE_BYTES, tear_seed=7)
        flash.cut_power_at(1)
        with pytest.raises(PowerCutError):
            flash.erase(0)
        contents.append(flash.dump())
    assert contents[0] == contents[1] != b"\xff" * PAGE_BYTES


@pytest.mark.parametrize(("size", "content"), [(100, None), (PAGE_BYTES, b"short")])
def test_a_flash_holds_whole_pages(size: int, content: bytes | None) -> None:
    with pytest.raises(FlashError):
        Flash(size, content)


def test_a_probe_can_put_bytes_in_without_an_operation() -> None:
    flash = Flash(PAGE_BYTES)
    flash.program(3, b"abc")
    assert (flash.read(2, 5), flash.operations) == (b"\xffabc\xff", 0)
