"""Chips are programmed, read back, restarted and recovered through a debug probe, and every failure says what it is."""

from collections.abc import Iterator

import pytest

from bridge.dfu.probe import FlashPlan, ProbeProgrammer, ProbeProgress, choose_probe, list_probes, make_plan
from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BoardRefusedError,
    BridgeError,
    ImageRefusedError,
    LinkError,
    UsageError,
    VerificationError,
)
from hil_tests.unit.board.test_ports import DK, bench, usb_port
from hil_tests.unit.dfu.fake_pynrfjprog import FakeChip, FakeHighLevel, InProcessEngine
from hil_tests.unit.dfu.test_probe_plan import MODEM, SLOT, application
from hil_tests.unit.image import build

__all__ = ["bench"]
NUMBER = int(DK)
BOOT = 0x8000


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip()


@pytest.fixture
def vendor(chip: FakeChip) -> FakeHighLevel:
    return FakeHighLevel({NUMBER: chip})


@pytest.fixture
def engine(vendor: FakeHighLevel) -> Iterator[InProcessEngine]:
    opened = InProcessEngine(vendor)
    yield opened
    opened.close()


@pytest.fixture
def programmer(engine: InProcessEngine) -> ProbeProgrammer:
    return ProbeProgrammer.open(engine=engine)


@pytest.fixture
def plan() -> FlashPlan:
    return make_plan(application(), address=SLOT)


def failing_open(vendor: FakeHighLevel, number: str | None = DK) -> BridgeError:
    engine = InProcessEngine(vendor)
    with pytest.raises(BridgeError) as caught:
        ProbeProgrammer.open(number, engine=engine)
    assert engine.is_closed
    assert (vendor.is_open, vendor.open_probes) == (False, 0)
    return caught.value


# --- program, verify, reset ---------------------------------------------------------------------------------------


def test_given_an_image_then_it_is_written_and_read_back_and_the_chip_left_halted(
    programmer: ProbeProgrammer, chip: FakeChip, plan: FlashPlan
) -> None:
    programmer.program(plan)
    assert chip.read(SLOT, len(application())) == application()
    assert chip.log == ["swd open", "swd program", "swd verify"]
    programmer.reset()
    programmer.reset("pin")
    assert chip.log[3:] == ["swd reset RESET_SYSTEM", "swd reset RESET_PIN"]


def test_given_a_file_with_gaps_then_pages_in_the_gaps_keep_what_they_hold(
    programmer: ProbeProgrammer, chip: FakeChip
) -> None:
    chip.write(0x9000, b"settings")
    chip.write(BOOT + 100, b"old code in a page that is written to")
    programmer.program(make_plan(build.intel_hex((BOOT, b"new"), (0xA000, b"more"))))
    assert chip.read(0x9000, 8) == b"settings"
    assert chip.read(BOOT, 8) == b"new\xff\xff\xff\xff\xff"
    assert chip.read(BOOT + 100, 4) == b"\xff" * 4


def test_given_a_full_erase_then_nothing_else_is_left(programmer: ProbeProgrammer, chip: FakeChip) -> None:
    chip.write(0x9000, b"settings")
    programmer.program(make_plan(build.intel_hex((BOOT, b"new"))), erase="all")
    assert chip.read(0x9000, 8) == b"\xff" * 8


def test_given_progress_is_asked_for_then_each_operation_is_reported(
    programmer: ProbeProgrammer, plan: FlashPlan
) -> None:
    seen: list[ProbeProgress] = []
    programmer.program(plan, on_progress=seen.append)
    assert [(each.operation, each.percent) for each in seen] == [
        ("program", None),
        ("program", 100),
        ("verify", None),
        ("verify", 100),
    ]


@pytest.mark.parametrize("wrong_at", [SLOT, SLOT + 700, SLOT + len(application()) - 1])
def test_given_a_byte_that_does_not_take_then_its_address_is_told(
    programmer: ProbeProgrammer, chip: FakeChip, plan: FlashPlan, wrong_at: int
) -> None:
    chip.stuck_at = wrong_at
    with pytest.raises(VerificationError) as caught:
        programmer.program(plan)
    assert (caught.value.reason, caught.value.offset) == ("verify-failed", wrong_at)
    assert f"{wrong_at:#x}" in caught.value.message


def test_given_a_difference_in_a_segment_of_four_bytes_then_its_address_is_told(
    programmer: ProbeProgrammer, chip: FakeChip
) -> None:
    chip.write(0x9000, b"abXd")
    with pytest.raises(VerificationError) as caught:
        programmer.verify(make_plan(build.intel_hex((0x9000, b"abcd"))))
    assert caught.value.offset == 0x9002
    assert "swd program" not in chip.log


def test_given_a_difference_that_cannot_be_found_then_the_verdict_stands(
    programmer: ProbeProgrammer, chip: FakeChip, plan: FlashPlan
) -> None:
    chip.fails["read"] = -102
    with pytest.raises(VerificationError) as caught:
        programmer.verify(plan)
    assert (caught.value.offset, caught.value.exit_code) == (None, 7)


# --- protection ---------------------------------------------------------------------------------------------------


def test_given_a_protected_chip_then_it_is_refused_until_it_is_recovered(
    vendor: FakeHighLevel, chip: FakeChip, plan: FlashPlan
) -> None:
    chip.protected = True
    chip.write(0x9000, b"secret")
    with ProbeProgrammer.open(engine=InProcessEngine(vendor)) as programmer:
        assert programmer.device == "UNKNOWN"
        with pytest.raises(BoardRefusedError) as caught:
            programmer.program(plan)
        assert (caught.value.reason, "recover" in (caught.value.hint or "")) == ("protected", True)
        assert chip.read(0x9000, 6) == b"secret"
        programmer.recover()
        assert chip.read(0x9000, 6) == b"\xff" * 6
        programmer.program(plan)
    assert chip.read(SLOT, len(application())) == application()


def test_given_configuration_registers_then_only_an_erased_chip_takes_them(
    programmer: ProbeProgrammer, chip: FakeChip
) -> None:
    merged = make_plan(build.intel_hex((BOOT, b"b0"), (0xFF8000, b"\x50\xfa\x50\xfa")))
    chip.write(0xFF8000, b"\0")
    with pytest.raises(ImageRefusedError) as caught:
        programmer.program(merged)
    assert (caught.value.reason, "swd program" in chip.log) == ("uicr", False)
    programmer.program(merged, erase="all")
    programmer.recover()
    programmer.program(merged)
    assert chip.read(0xFF8000, 4) == b"\x50\xfa\x50\xfa"
    with pytest.raises(ImageRefusedError):  # it is not blank any more
        programmer.program(merged)


# --- modem --------------------------------------------------------------------------------------------------------


def test_given_a_modem_release_then_it_goes_through_the_modem_and_its_digests_are_compared(
    programmer: ProbeProgrammer, chip: FakeChip
) -> None:
    package = build.zipped(MODEM)
    programmer.program(make_plan(package, "mfw_nrf9160_1.3.5.zip"))
    programmer.reset()
    assert chip.modem == [package]
    assert chip.log == [
        "swd open",
        "swd close",
        "modem open",
        "modem program",
        "modem verify",
        "modem close",
        "swd open",
        "swd reset RESET_SYSTEM",
    ]


@pytest.mark.parametrize("method", ["program", "verify"])
def test_given_digests_that_differ_then_that_is_said_and_the_chip_can_be_restarted(
    programmer: ProbeProgrammer, chip: FakeChip, method: str
) -> None:
    chip.digests_agree = False
    with pytest.raises(VerificationError):
        getattr(programmer, method)(make_plan(build.zipped(MODEM)))
    programmer.reset()
    assert chip.log[-2:] == ["swd open", "swd reset RESET_SYSTEM"]


def test_given_a_modem_release_and_a_full_erase_then_that_makes_no_sense(programmer: ProbeProgrammer) -> None:
    with pytest.raises(UsageError):
        programmer.program(make_plan(build.zipped(MODEM)), erase="all")


# --- opening, closing, failing ------------------------------------------------------------------------------------


def test_when_it_is_closed_then_probe_and_library_are_let_go_of(
    vendor: FakeHighLevel, engine: InProcessEngine
) -> None:
    with ProbeProgrammer.open(NUMBER, engine=engine) as programmer:
        assert (programmer.device, vendor.is_open) == ("NRF9160_xxAA_REV2", True)
    programmer.close()
    assert (vendor.is_open, vendor.open_probes) == (False, 0)


def test_given_no_jlink_software_then_that_is_said_with_where_to_get_it(vendor: FakeHighLevel) -> None:
    vendor.has_jlink = False
    error = failing_open(vendor)
    assert isinstance(error, BoardNotFoundError)
    assert (error.reason, error.exit_code, "segger.com" in (error.hint or "")) == (
        "no-jlink-library",
        3,
        True,
    )


def test_given_no_such_probe_then_that_is_said(vendor: FakeHighLevel) -> None:
    assert failing_open(vendor, "42").reason == "probe-missing"


def test_given_another_chip_then_it_is_refused(vendor: FakeHighLevel, chip: FakeChip) -> None:
    chip.family, chip.device = "NRF53", "NRF5340_xxAA_REV1"
    error = failing_open(vendor)
    assert (error.reason, "NRF5340" in error.message) == ("wrong-chip", True)


def test_given_a_chip_newer_than_pynrfjprog_then_it_may_be_an_nrf91(
    engine: InProcessEngine, chip: FakeChip
) -> None:
    chip.device = "NEW"
    assert ProbeProgrammer.open(engine=engine).device == "UNKNOWN"


@pytest.mark.parametrize(
    ("step", "code", "kind", "reason"),
    [
        ("open", -11, BoardNotFoundError, "no-target"),
        ("open", -12, BenchError, "no-power"),
        ("open", -105, LinkError, "no-answer"),
        ("program", -102, LinkError, "probe-error"),
        ("program", -20, BoardRefusedError, "write-failed"),
        ("program", -254, BridgeError, "probe-internal"),
        ("verify", -104, LinkError, "link-lost"),
    ],
)
def test_given_pynrfjprog_fails_then_its_error_is_translated(
    vendor: FakeHighLevel,
    chip: FakeChip,
    plan: FlashPlan,
    step: str,
    code: int,
    kind: type[BridgeError],
    reason: str,
) -> None:
    chip.fails[step] = code
    with (
        pytest.raises(kind) as caught,
        ProbeProgrammer.open(engine=InProcessEngine(vendor)) as programmer,
    ):
        programmer.program(plan)
    assert caught.value.reason == reason
    assert (vendor.is_open, vendor.open_probes) == (False, 0)


def test_given_a_write_fails_then_the_hint_tells_in_what_state_the_chip_is(
    programmer: ProbeProgrammer, chip: FakeChip, plan: FlashPlan
) -> None:
    chip.fails["program"] = -2
    with pytest.raises(BoardRefusedError) as caught:
        programmer.program(plan)
    assert "half written" in (caught.value.hint or "")


# --- which probe --------------------------------------------------------------------------------------------------


def test_probes_are_listed_with_the_ports_of_the_same_usb_device(
    engine: InProcessEngine, vendor: FakeHighLevel, bench: list[object]
) -> None:
    vendor.chips[683000001] = FakeChip()
    vendor.chips[960012345] = FakeChip()
    bench += [
        usb_port("/dev/ttyACM2", DK, location="1-2:1.2"),
        usb_port("/dev/ttyACM3", DK, location="1-2:1.0"),
        usb_port("/dev/ttyACM0", "000683000009"),
    ]
    found = list_probes(engine)
    assert [(probe.serial_number, probe.board, probe.ports) for probe in found.probes] == [
        (683000001, None, ()),
        (960012345, "nrf9160dk", ()),
        (NUMBER, "nrf9151dk", ("/dev/ttyACM3", "/dev/ttyACM2")),
    ]
    assert found.jlink_library == "/opt/SEGGER/JLink/libjlinkarm.so"


def test_the_only_probe_is_chosen_and_of_two_none(engine: InProcessEngine, vendor: FakeHighLevel) -> None:
    assert choose_probe(None, engine) == NUMBER
    vendor.chips[960012345] = FakeChip()
    with pytest.raises(BoardNotFoundError, match=f"960012345 .*{NUMBER}") as caught:
        choose_probe(None, engine)
    assert caught.value.reason == "several-boards"


@pytest.mark.parametrize(("has_jlink", "reason"), [(True, "no-probe"), (False, "no-jlink-library")])
def test_without_a_probe_the_message_names_what_is_missing(
    engine: InProcessEngine, vendor: FakeHighLevel, has_jlink: bool, reason: str
) -> None:
    vendor.chips.clear()
    vendor.has_jlink = has_jlink
    with pytest.raises(BoardNotFoundError) as caught:
        choose_probe(None, engine)
    assert caught.value.reason == reason


@pytest.mark.parametrize("number", ["THINGY91_0123", "", "99999999999", "-1", "\u0661\u0662"])
def test_what_is_no_number_of_a_probe_is_refused(number: str, engine: InProcessEngine) -> None:
    with pytest.raises(UsageError) as caught:
        choose_probe(number, engine)
    assert caught.value.reason == "bad-serial-number"
