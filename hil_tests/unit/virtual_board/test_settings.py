"""Settings in the storage partition: the last value counts, pages fill up, the power fails."""

import pytest

from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import PAGE_BYTES, Flash, Tear
from bridge.virtual.layout import Slot
from bridge.virtual.settings import Settings

PARTITION = Slot(2 * PAGE_BYTES, 3 * PAGE_BYTES)
FLASH_BYTES = 8 * PAGE_BYTES


def test_given_nothing_then_nothing_is_set() -> None:
    assert Settings(Flash(FLASH_BYTES), PARTITION).load() == {}


def test_the_last_value_counts_also_after_a_reset() -> None:
    flash = Flash(FLASH_BYTES)
    settings = Settings(flash, PARTITION)
    settings.save("sm/a", b"\1")
    settings.save("sm/b", b"four")
    settings.save("sm/a", b"\0")
    assert Settings(Flash(FLASH_BYTES, flash.dump()), PARTITION).load() == {"sm/a": b"\0", "sm/b": b"four"}


def test_a_value_that_is_there_already_costs_no_write() -> None:
    flash = Flash(FLASH_BYTES)
    settings = Settings(flash, PARTITION)
    settings.save("sm/a", b"\1")
    operations = flash.operations
    settings.save("sm/a", b"\1")
    assert flash.operations == operations


def test_given_thousands_of_changes_then_the_pages_go_round_and_no_word_is_written_too_often() -> None:
    flash = Flash(FLASH_BYTES)
    settings = Settings(flash, PARTITION)
    settings.save("kept", b"for ever")
    for number in range(3000):
        settings.save("sm/counter", number.to_bytes(4, "little"))
    assert settings.load() == {"kept": b"for ever", "sm/counter": (2999).to_bytes(4, "little")}
    assert flash.overwritten_words == 0
    assert flash.is_erased(0, PARTITION.address)
    assert flash.is_erased(PARTITION.end, PAGE_BYTES)


@pytest.mark.parametrize("tear", list(Tear))
def test_given_a_power_cut_at_any_operation_then_it_is_the_old_value_or_the_new_one(tear: Tear) -> None:
    flash = Flash(FLASH_BYTES)
    settings = Settings(flash, PARTITION)
    settings.save("kept", b"for ever")
    number = 0
    while flash.operations < 700:
        before = settings.load()
        flash.cut_power_at(flash.operations + 1 + number % 3, tear)
        number += 1
        try:
            settings.save("sm/counter", number.to_bytes(4, "little"))
        except PowerCutError:
            flash.cut_power_at(None)
            after = Settings(flash, PARTITION).load()
            assert after["kept"] == b"for ever"
            assert after.get("sm/counter") in (before.get("sm/counter"), number.to_bytes(4, "little"))


def test_given_a_partition_full_of_rubbish_then_it_is_begun_anew() -> None:
    flash = Flash(FLASH_BYTES)
    flash.program(PARTITION.address, bytes(PARTITION.size))
    settings = Settings(flash, PARTITION)
    assert settings.load() == {}
    settings.save("sm/a", b"\1")
    assert settings.load() == {"sm/a": b"\1"}
