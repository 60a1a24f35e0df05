"""What a swap leaves in flash, and what it costs on the slots of a real board."""

import pytest

from bridge.virtual.flash import PAGE_BYTES, PAGE_ERASE_NS, WORD_BYTES, WORD_WRITE_NS
from bridge.virtual.mcuboot import boot, request_upgrade, write_img_confirmed
from hil_tests.unit.virtual_mcuboot.signing import LAYOUT, SMALL, board_flash, public_pem, sign, stage

KEYS = [public_pem()]
MAX_PAGES = SMALL.secondary.size // PAGE_BYTES - 1


def padded_to_pages(image: bytes, pages: int) -> bytes:
    return image + b"\xff" * (pages * PAGE_BYTES - len(image))


@pytest.mark.parametrize(
    ("old_bytes", "new_bytes"), [(100, 15_000), (15_000, 100), (8_000, 8_000), (3_400, 7_600)]
)
def test_given_two_sizes_when_swapped_and_reverted_then_both_slots_are_exact(
    old_bytes: int, new_bytes: int
) -> None:
    old, new = sign("1.0.0", old_bytes), sign("2.0.0", new_bytes)
    pages = -(-max(len(old), len(new)) // PAGE_BYTES)
    flash = board_flash(old)
    flash.program(pages * PAGE_BYTES, b"\xff" * PAGE_BYTES)
    stage(flash, new)
    for primary, secondary in ((new, old), (old, new)):
        if primary is new:
            request_upgrade(flash, SMALL, permanent=False)
        boot(flash, SMALL, KEYS)
        size = pages * PAGE_BYTES
        assert flash.read(SMALL.primary.address, size) == padded_to_pages(primary, pages)
        assert flash.read(SMALL.secondary.address, size) == padded_to_pages(secondary, pages)
        rest = MAX_PAGES * PAGE_BYTES - size
        assert flash.is_erased(SMALL.secondary.address + size, rest + PAGE_BYTES)
    assert flash.overwritten_words == 0


def test_given_an_image_of_400_kb_then_its_swap_takes_three_erases_and_three_writes_a_page() -> None:
    new = sign("2.0.0", 400_000, slot=LAYOUT.secondary.size)
    pages = -(-len(new) // PAGE_BYTES)
    flash = board_flash(sign("1.0.0", 300_000, slot=LAYOUT.secondary.size), LAYOUT)
    stage(flash, new, LAYOUT)
    request_upgrade(flash, LAYOUT, permanent=False)
    erased, written, busy_ns, operations = (
        flash.erased_pages,
        flash.written_words,
        flash.busy_ns,
        flash.operations,
    )
    assert boot(flash, LAYOUT, KEYS).version == "2.0.0"
    page_words = PAGE_BYTES // WORD_BYTES
    trailer_words = 1 + 1 + 4 + 1  # swap info, swap size, magic, copy done
    assert pages == 98
    assert flash.erased_pages - erased == 3 * pages + 2
    assert flash.written_words - written == 3 * pages * (page_words + 1) + trailer_words
    assert flash.operations - operations == 18 * pages + 6
    spent_ns = flash.busy_ns - busy_ns
    assert spent_ns == (3 * pages + 2) * PAGE_ERASE_NS + (3 * pages * 1025 + trailer_words) * WORD_WRITE_NS
    assert 0.38 < spent_ns / 1e9 / pages < 0.40
    assert flash.overwritten_words == 0


def test_given_the_console_then_a_trial_reads_as_on_a_real_board() -> None:
    flash = board_flash(sign("1.0.0"))
    stage(flash, sign("2.0.0"))
    request_upgrade(flash, SMALL, permanent=False)
    lines: list[str] = []
    outcome = boot(flash, SMALL, KEYS, log=lines.append)
    assert tuple(lines) == outcome.log
    assert lines[2:7] == [
        "I: Primary image: magic=unset, swap_type=0x1, copy_done=0x3, image_ok=0x3",
        "I: Secondary image: magic=good, swap_type=0x2, copy_done=0x3, image_ok=0x3",
        "I: Boot source: none",
        "I: Image index: 0, Swap type: test",
        "I: Starting swap using move algorithm.",
    ]
    assert lines[-2:] == ["I: Image version: v2.0.0", "I: Jumping to the first image slot"]
    assert outcome.to_dict()["swap_type"] == "test"
    write_img_confirmed(flash, SMALL)
    assert "I: Image index: 0, Swap type: none" in boot(flash, SMALL, KEYS).log
