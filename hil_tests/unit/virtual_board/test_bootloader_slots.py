"""#XDFU type 3: MCUboot's update of itself, the immutable bootloader that picks a slot, and its counter."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.image.nsib import PAD_BYTES, VALID, find_fw_info
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import other_key_pem
from bridge.virtual.bootloader_slots import install_bootloader_update, start_bootloader
from bridge.virtual.factory_bootloader import factory_bootloader
from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import Flash
from bridge.virtual.immutable_bootloader import (
    ActiveBootloader,
    ImmutableBootloader,
    active_bootloader,
    provisioned_keys,
)
from bridge.virtual.layout import layout_of
from bridge.virtual.mcuboot import SwapType, boot
from bridge.virtual.otp import COUNTER_SLOTS, Otp
from bridge.virtual.swap_request import request_upgrade
from hil_tests.unit.virtual_board.conftest import Hand

LAYOUT = layout_of("nrf9151dk")
assert LAYOUT.bootloader_slots is not None
SLOTS = LAYOUT.bootloader_slots
CODE_BYTES = 6064


class Bench:
    """Flash of a fresh board, and what its two bootloaders need."""

    def __init__(self, keys: list[bytes]) -> None:
        self.keys = keys
        self.flash = Flash(LAYOUT.flash_size)
        self.otp = Otp()
        self.events: list[dict[str, object]] = []
        self.flash.program(SLOTS[0].address, factory_bootloader(SLOTS[0]))

    def schedule(self, image: Path) -> None:
        secondary = LAYOUT.secondary
        self.flash.program(secondary.address, b"\xff" * secondary.size)
        self.flash.program(secondary.address, image.read_bytes())
        assert request_upgrade(self.flash, LAYOUT, permanent=False)

    def start(self) -> ActiveBootloader | None:
        started = start_bootloader(
            self.flash, LAYOUT, self.otp, self.keys, lambda kind, **details: self.events.append(details)
        )
        return active_bootloader(self.flash, LAYOUT) if started else None

    def valid(self, slot: int) -> int | None:
        info = find_fw_info(self.flash.read(SLOTS[slot].address + PAD_BYTES, 0x4000))
        return None if info is None else info.valid

    def secondary_is_blank(self) -> bool:
        return self.flash.is_erased(LAYOUT.secondary.address, 0x10000)


@pytest.fixture
def bench(samples: SampleImages) -> Bench:
    return Bench([samples.public_key_pem])


def test_given_a_fresh_board_then_s0_runs_and_nothing_is_noted(bench: Bench) -> None:
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events == []
    assert bench.otp.monotonic_version == 1


def test_given_an_update_for_s1_then_it_is_copied_and_started_and_the_counter_rises(
    bench: Bench, samples: SampleImages
) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 1))
    assert bench.start() == ActiveBootloader(1, 2)
    assert bench.events[0]["update"] == "installed"
    assert bench.otp.counters == [1 << 1 | 1, 2 << 1]
    assert bench.secondary_is_blank()
    assert bench.otp.invalid_keys == [0]  # the factory's key is older than the one that signed this


def test_given_updates_in_turn_then_the_slots_alternate(bench: Bench, samples: SampleImages) -> None:
    for version, slot in ((2, 1), (3, 0), (4, 1)):
        bench.schedule(samples.mcuboot_bootloader(version, slot))
        assert bench.start() == ActiveBootloader(slot, version)


def test_given_an_update_for_the_running_slot_then_it_is_erased(bench: Bench, samples: SampleImages) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 0))
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[0]["update"] == "wrong-slot"
    assert bench.secondary_is_blank()


def test_given_an_update_that_is_not_newer_then_it_lands_in_s1_but_s0_goes_on(
    bench: Bench, samples: SampleImages
) -> None:
    bench.schedule(samples.mcuboot_bootloader(1, 1))
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[0]["update"] == "installed"
    assert bench.valid(1) == VALID


def test_given_an_older_one_in_the_other_slot_then_it_never_runs(bench: Bench, samples: SampleImages) -> None:
    for version, slot in ((5, 1), (3, 0)):
        bench.schedule(samples.mcuboot_bootloader(version, slot))
        assert bench.start() == ActiveBootloader(1, 5)
    # With s1 gone, the older one is tried, refused because of the counter, and made unbootable.
    bench.flash.program(SLOTS[1].address, b"\xff" * SLOTS[1].size)
    assert bench.start() is None
    assert bench.events[-1]["refused"] == {0: "downgrade"}
    assert bench.valid(0) != VALID
    assert bench.start() is None
    assert bench.events[-1]["refused"] == {0: "invalidated"}


def test_given_a_key_that_mcuboot_does_not_trust_then_nothing_is_copied(
    bench: Bench, samples: SampleImages
) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 1, key=other_key_pem()))
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[0]["update"] == "wrong-key"
    assert bench.valid(1) is None
    assert bench.secondary_is_blank()


def test_given_a_key_that_only_mcuboot_trusts_then_the_new_one_is_made_unbootable(
    bench: Bench, samples: SampleImages
) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 1, b0_key=other_key_pem()))
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[0]["update"] == "installed"
    assert bench.events[1]["refused"] == {1: "wrong-key"}
    assert bench.valid(1) not in (None, VALID)
    assert bench.otp.monotonic_version == 1


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (PAD_BYTES + 8, "bad-signature"),
        (PAD_BYTES + 0x200 + 24, "wrong-slot"),
        (PAD_BYTES + 5, "bad-header"),
        (PAD_BYTES + CODE_BYTES, "no-validation-data"),
        (PAD_BYTES + CODE_BYTES + 12, "wrong-address"),
    ],
)
def test_given_a_damaged_slot_then_the_other_one_runs(
    bench: Bench, samples: SampleImages, place: int, reason: str
) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 1))
    assert bench.start() == ActiveBootloader(1, 2)
    bench.otp = Otp()  # as if the counter did not forbid the older one
    byte = bench.flash.read(SLOTS[1].address + place, 1)[0]
    bench.flash.program(SLOTS[1].address + place, bytes([byte ^ 0x40]))
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[-1]["refused"] == {1: reason}


def test_given_no_keys_then_only_the_digest_counts(samples: SampleImages) -> None:
    bench = Bench([])
    assert provisioned_keys([]) == ()
    bench.schedule(samples.mcuboot_bootloader(2, 1, key=other_key_pem(), b0_key=other_key_pem()))
    assert bench.start() == ActiveBootloader(1, 2)
    place = SLOTS[1].address + PAD_BYTES + 8
    bench.flash.program(place, bytes([bench.flash.read(place, 1)[0] ^ 1]))
    bench.otp = Otp()
    assert bench.start() == ActiveBootloader(0, 1)
    assert bench.events[-1]["refused"] == {1: "digest-mismatch"}


def test_given_a_power_cut_anywhere_in_the_copy_then_the_next_boot_finishes_it(
    bench: Bench, samples: SampleImages
) -> None:
    bench.schedule(samples.mcuboot_bootloader(2, 1))
    before, scheduled = bench.flash.dump(), bench.flash.operations
    bench.start()
    operations = bench.flash.operations - scheduled
    for operation in range(1, operations + 1, 3):
        bench.flash = Flash(LAYOUT.flash_size, before, tear_seed=operation)
        bench.otp = Otp([1 << 1 | 1])
        bench.flash.cut_power_at(operation)
        with pytest.raises(PowerCutError):
            bench.start()
        assert bench.start() is not None
        active = active_bootloader(bench.flash, LAYOUT)
        assert active == ActiveBootloader(1, 2), operation


def test_given_an_image_that_nobody_marked_then_nothing_happens(bench: Bench, samples: SampleImages) -> None:
    image = samples.mcuboot_bootloader(2, 1).read_bytes()
    bench.flash.program(LAYOUT.secondary.address, image)
    assert install_bootloader_update(bench.flash, LAYOUT, bench.keys, 0) is None
    bench.flash.program(LAYOUT.secondary.address, samples.application("2.0.0").read_bytes())
    assert install_bootloader_update(bench.flash, LAYOUT, bench.keys, 0) is None


def test_given_an_application_on_trial_and_an_unmarked_bootloader_image_then_it_is_not_taken_for_the_old_one(
    bench: Bench, samples: SampleImages
) -> None:
    primary = LAYOUT.primary
    bench.flash.program(primary.address, samples.application("1.0.0").read_bytes())
    bench.schedule(samples.application("2.0.0"))
    assert boot(bench.flash, LAYOUT, bench.keys).version == "2.0.0"
    secondary = LAYOUT.secondary
    bench.flash.program(secondary.address, b"\xff" * secondary.size)
    bench.flash.program(secondary.address, samples.mcuboot_bootloader(2, 1).read_bytes())
    outcome = boot(bench.flash, LAYOUT, bench.keys)
    assert (outcome.version, outcome.swap_type) == ("2.0.0", SwapType.NONE)


def test_the_counter_only_rises_and_has_an_end() -> None:
    otp = Otp()
    assert otp.set_monotonic_version(1, 1)
    assert otp.set_monotonic_version(1, 0)  # the favoured slot counts as more
    assert not otp.set_monotonic_version(1, 1)
    for version in range(2, COUNTER_SLOTS):
        assert otp.set_monotonic_version(version, 0)
    assert not otp.set_monotonic_version(COUNTER_SLOTS + 1, 0)
    assert otp.monotonic_version == COUNTER_SLOTS - 1
    assert Otp.from_dict(otp.to_dict()) == otp


def test_given_a_used_up_counter_then_updates_still_start(bench: Bench, samples: SampleImages) -> None:
    bench.otp.counters = [2 + number % 2 for number in range(COUNTER_SLOTS)]
    bench.schedule(samples.mcuboot_bootloader(2, 1))
    assert bench.start() == ActiveBootloader(1, 2)
    assert bench.otp.monotonic_version == 1


def test_given_blank_slots_then_nothing_starts(samples: SampleImages) -> None:
    flash = Flash(LAYOUT.flash_size)
    immutable = ImmutableBootloader(flash, LAYOUT, Otp(), provisioned_keys([samples.public_key_pem]))
    assert immutable.choose() is None
    assert active_bootloader(flash, LAYOUT) is None


def test_given_a_layout_without_slots_then_there_is_no_immutable_bootloader() -> None:
    layout = dataclasses.replace(LAYOUT, bootloader_slots=None)
    assert start_bootloader(Flash(layout.flash_size), layout, Otp(), [], lambda _kind, **_details: None)


# --- on the wire --------------------------------------------------------------------------------------------


def send(hand: Hand, image: bytes) -> None:
    assert hand.ask(f"AT#XDFUINIT=3,{len(image)}") == b"\r\nOK\r\n"
    for start in range(0, len(image), 4096):
        chunk = image[start : start + 4096]
        hand.ask(f"AT#XDFUWRITE=3,{start},{len(chunk)}")
        hand.port.write(chunk)
        hand.read_until(b"#XDFU: 3,1,0\r\n")
    hand.ask("AT#XDFUAPPLY=3", b"#XDFU: 3,2,0\r\n")
    hand.ask("AT#XRESET")
    hand.read_until(b"Ready\r\n")


def test_given_type_3_then_version_and_slot_change_and_the_application_stays(
    hand: Hand, samples: SampleImages
) -> None:
    assert hand.ask("AT#XBOOTINFO=0") == b"\r\n#XBOOTINFO: 1\r\n\r\nOK\r\n"
    assert hand.ask("AT#XBOOTINFO=1") == b"\r\n#XBOOTINFO: 0\r\n\r\nOK\r\n"
    send(hand, samples.mcuboot_bootloader(2, 1).read_bytes())
    assert hand.ask("AT#XBOOTINFO=0") == b"\r\n#XBOOTINFO: 2\r\n\r\nOK\r\n"
    assert hand.ask("AT#XBOOTINFO=1") == b"\r\n#XBOOTINFO: 1\r\n\r\nOK\r\n"
    assert b"v1.0.0" in hand.ask("AT#XSMVER")


def test_given_the_image_for_the_running_slot_then_success_is_told_and_nothing_changes(
    hand: Hand, samples: SampleImages
) -> None:
    send(hand, samples.mcuboot_bootloader(2, 0).read_bytes())
    assert hand.ask("AT#XBOOTINFO=0") == b"\r\n#XBOOTINFO: 1\r\n\r\nOK\r\n"


def test_given_another_process_then_the_counter_is_still_there(
    make_hand: Callable[..., Hand], samples: SampleImages, tmp_path: Path
) -> None:
    hand = make_hand(state_dir=tmp_path)
    send(hand, samples.mcuboot_bootloader(7, 1).read_bytes())
    hand.board.stop()
    again = make_hand(state_dir=tmp_path)
    assert again.board.otp.monotonic_version == 7
    assert again.ask("AT#XBOOTINFO=0") == b"\r\n#XBOOTINFO: 7\r\n\r\nOK\r\n"
