"""The ``probe`` commands on stand-ins for pynrfjprog and the chips behind it, with their exit codes."""

import json
from pathlib import Path

import pytest

from hil_tests.unit.board.test_ports import DK, bench, usb_port
from hil_tests.unit.cli.test_app import CommandLine, command
from hil_tests.unit.dfu.fake_pynrfjprog import FakeChip, FakeHighLevel, InProcessEngine
from hil_tests.unit.dfu.test_probe_plan import MODEM, SLOT, application
from hil_tests.unit.image import build

__all__ = ["bench", "command"]
NUMBER = int(DK)


@pytest.fixture
def chip() -> FakeChip:
    return FakeChip()


@pytest.fixture
def vendor(chip: FakeChip, monkeypatch: pytest.MonkeyPatch) -> FakeHighLevel:
    module = FakeHighLevel({NUMBER: chip})
    for place in ("listing", "programmer"):
        monkeypatch.setattr(f"bridge.dfu.probe.{place}.ProcessEngine", lambda: InProcessEngine(module))
    return module


class Probe:
    """Runs ``nrf91-bridge probe``."""

    def __init__(self, command: CommandLine, capsys: pytest.CaptureFixture[str]) -> None:
        self._command = command
        self._capsys = capsys
        self.stderr = ""

    def __call__(self, *arguments: str) -> tuple[int, list[dict[str, object]]]:
        """Exit code and JSON events."""
        code = self._command("probe", *arguments)
        told = self._capsys.readouterr()
        self.stderr = " ".join(told.err.split())
        return code, [json.loads(line) for line in told.out.splitlines() if line.startswith("{")]


@pytest.fixture
def probe(command: CommandLine, capsys: pytest.CaptureFixture[str], vendor: FakeHighLevel) -> Probe:
    return Probe(command, capsys)


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = tmp_path / "app.signed.bin"
    path.write_bytes(application())
    return str(path)


def test_given_an_image_and_its_address_then_it_is_written_read_back_and_started(
    probe: Probe, chip: FakeChip, vendor: FakeHighLevel, image: str
) -> None:
    code, events = probe("program", image, "--address", f"{SLOT:x}", "--json")
    assert code == 0
    assert chip.read(SLOT, len(application())) == application()
    assert chip.log == ["swd open", "swd program", "swd verify", "swd reset RESET_SYSTEM", "swd close"]
    assert {event["operation"] for event in events[:-1]} == {"program", "verify", "reset"}
    assert events[-1] == {
        "schema": 1,
        "event": "probe-programmed",
        "serial_number": NUMBER,
        "device": "NRF9160_xxAA_REV2",
        "file": "app.signed.bin",
        "version": "1.2.3",
        "size_bytes": len(application()),
        "segments": [{"address": SLOT, "size_bytes": len(application())}],
    }
    assert not vendor.is_open


def test_given_no_reset_is_wanted_then_the_chip_stands_still(
    probe: Probe, chip: FakeChip, image: str
) -> None:
    code, _ = probe("program", image, "--board", "nrf9151dk", "--no-reset", "-s", DK)
    assert (code, chip.log[-2:]) == (0, ["swd verify", "swd close"])
    assert "writing reading back programmed app.signed.bin on NRF9160_xxAA_REV2" in probe.stderr


def test_given_erase_all_and_recover_then_nothing_else_is_left(
    probe: Probe, chip: FakeChip, image: str
) -> None:
    for option in ("--erase-all", "--recover"):
        chip.write(0x9000, b"settings")
        assert probe("program", image, "--board", "nrf9151dk", option)[0] == 0
        assert chip.read(0x9000, 8) == b"\xff" * 8
    assert chip.log.count("swd recover") == 1


def test_given_a_modem_release_then_it_goes_into_the_modem(
    probe: Probe, chip: FakeChip, tmp_path: Path
) -> None:
    path = tmp_path / "mfw_nrf9160_1.3.5.zip"
    path.write_bytes(build.zipped(MODEM))
    code, events = probe("program", str(path), "--json")
    assert (code, events[-1]["version"], len(chip.modem)) == (0, "1.3.5", 1)


def test_a_chip_that_differs_ends_with_7_and_is_started_again(
    probe: Probe, chip: FakeChip, image: str
) -> None:
    code, events = probe("verify", image, "--board", "nrf9151dk", "--json")
    assert (code, events[-1]["reason"], events[-1]["offset"]) == (7, "verify-failed", SLOT)
    assert chip.log[-2:] == ["swd reset RESET_SYSTEM", "swd close"]
    probe("program", image, "--board", "nrf9151dk")
    code, events = probe("verify", image, "--board", "nrf9151dk", "--no-reset", "--json")
    assert (code, events[-1]["event"], chip.log[-2:]) == (0, "probe-verified", ["swd verify", "swd close"])


def test_the_first_error_is_told_when_the_restart_fails_too(probe: Probe, chip: FakeChip, image: str) -> None:
    chip.fails = {"verify": -104, "reset RESET_SYSTEM": -105}
    code, events = probe("verify", image, "--board", "nrf9151dk", "--json")
    assert (code, events[-1]["reason"]) == (4, "link-lost")


@pytest.mark.parametrize(("option", "action"), [((), "RESET_SYSTEM"), (("--pin",), "RESET_PIN")])
def test_a_chip_is_restarted(probe: Probe, chip: FakeChip, option: tuple[str, ...], action: str) -> None:
    code, events = probe("reset", *option, "--json")
    assert (code, events[-1]["event"], chip.log[1]) == (0, "probe-restarted", f"swd reset {action}")


def test_recover_wants_a_yes_and_then_erases_everything(probe: Probe, chip: FakeChip) -> None:
    chip.protected = True
    chip.write(0x9000, b"secret")
    code, events = probe("recover", "--json")
    assert (code, events[-1]["reason"], chip.log) == (2, "not-confirmed", [])
    code, events = probe("recover", "--yes", "--json")
    assert (code, events[-1]["event"], chip.protected) == (0, "probe-recovered", False)
    assert chip.read(0x9000, 6) == b"\xff" * 6


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ((), 2, "no-address"),
        (("--address", "slot0"), 2, "bad-address"),
        (("--address", "10000"), 5, "wrong-address"),
        (("--board", "nrf9151dk", "-s", "THINGY91"), 2, "bad-serial-number"),
        (("--board", "nrf9151dk", "-s", "42"), 3, "probe-missing"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_chip_is_touched(
    probe: Probe, chip: FakeChip, image: str, arguments: tuple[str, ...], code: int, reason: str
) -> None:
    found, events = probe("program", image, *arguments, "--json")
    assert (found, events[-1]["reason"], chip.log) == (code, reason, [])


@pytest.mark.parametrize(
    ("step", "error", "code", "reason"),
    [
        ("open", -11, 3, "no-target"),
        ("open", -12, 9, "no-power"),
        ("program", -90, 6, "protected"),
        ("program", -102, 4, "probe-error"),
        ("verify", -160, 7, "verify-failed"),
    ],
)
def test_each_failure_has_its_exit_code(
    probe: Probe, chip: FakeChip, image: str, step: str, error: int, code: int, reason: str
) -> None:
    chip.fails[step] = error
    found, events = probe("program", image, "--board", "nrf9151dk", "--json")
    assert (found, events[-1]["reason"]) == (code, reason)


def test_given_no_jlink_software_then_the_last_line_says_where_to_get_it(
    probe: Probe, vendor: FakeHighLevel, image: str
) -> None:
    vendor.has_jlink = False
    assert probe("program", image, "--board", "nrf9151dk", "-s", DK)[0] == 3
    assert "segger.com" in probe.stderr
    assert probe.stderr.endswith("[no-jlink-library]")


def test_probes_are_listed(
    probe: Probe, vendor: FakeHighLevel, bench: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.append(usb_port("/dev/ttyACM0", DK))
    _, (event,) = probe("list", "--json")
    assert event["probes"] == [{"serial_number": NUMBER, "board": "nrf9151dk", "ports": ["/dev/ttyACM0"]}]
    assert event["jlink_library"] == "/opt/SEGGER/JLink/libjlinkarm.so"


def test_for_people_the_list_says_what_is_missing(
    command: CommandLine, vendor: FakeHighLevel, bench: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    vendor.has_jlink = False
    assert command("probe", "list") == 0
    told = capsys.readouterr()
    assert ("1051216197" in told.out, "J-Link software is not installed" in told.err) == (True, True)
    vendor.chips.clear()
    assert command("probe", "list") == 0
    assert "no debug probes" in capsys.readouterr().out
