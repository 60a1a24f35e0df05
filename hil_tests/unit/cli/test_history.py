"""``history``: what people and machines see of the journals."""

import json
import sys
from pathlib import Path

import pytest

from bridge.cli.app import run
from bridge.cli.journals import default_journals, open_journal, place_of, port_for_us
from bridge.errors import BenchError
from bridge.fota import Finished, ImageAccepted, Outcome, Stage, StageStarted
from bridge.fota.journal_values import Order, Report

DONE = Finished(Stage.DONE, Outcome.SUCCEEDED, None, "it runs", "1.0.0", "2.0.0", "2.0.0")
JOB = Order("/dev/ttyACM0", thing="thing-1", job_id="job-7", execution_number=1, job_version=1)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> "Command":
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("NRF91_BRIDGE_JOURNAL", raising=False)
    return Command(monkeypatch)


class Command:
    """Runs ``nrf91-bridge history``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str) -> int:
        self._monkeypatch.setattr(sys, "argv", ["nrf91-bridge", "history", *arguments])
        return run()


def write_two() -> None:
    with open_journal(None, "thing thing-1", "test") as journal:
        record = journal.begin(JOB)
        record.take(ImageAccepted(Stage.CHECK, "application", "app.bin", 100, "1.0.0", "2.0.0"))
        record.end(DONE, report=Report.DUE)
    with open_journal(None, "/dev/ttyACM1", "test") as journal:
        record = journal.begin(Order("/dev/ttyACM1", "other.bin", "00" * 32))
        record.take(StageStarted(Stage.TRANSFER))


def test_all_journals_of_the_user_are_shown_newest_last(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two()
    assert len(default_journals()) == 2
    assert command() == 0
    lines = capsys.readouterr().out.splitlines()
    assert "job-7" in lines[1]
    assert "1.0.0 -> 2.0.0" in lines[1]
    assert "succeeded, not told yet" in lines[1]
    assert "other.bin" in lines[2]
    assert "in stage transfer, run 1" in lines[2]


def test_machines_get_one_update_a_line_with_its_story(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    write_two()
    assert command("--json", "--limit", "1") == 0
    (event,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (event["event"], event["name"], event["stage"]) == ("update", "other.bin", "transfer")
    assert [step["what"] for step in event["steps"]] == ["transfer"]


def test_without_any_journal_that_is_said(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    assert "Nothing was updated yet" in capsys.readouterr().err


def test_a_journal_that_does_not_exist_is_a_wrong_option(command: Command, tmp_path: Path) -> None:
    assert command("--journal", str(tmp_path / "none")) == 2
    assert command("--journal", str(tmp_path / "none"), "--move-aside") == 2
    assert command("--move-aside") == 2


def test_a_journal_is_moved_aside_only_while_nobody_uses_it(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.sqlite3"
    with open_journal(file, "x", "nrf91-bridge run"):
        assert command("--journal", str(file), "--move-aside", "--json") == 9
    assert file.exists()
    assert command("--journal", str(file), "--move-aside", "--json") == 0
    assert not file.exists()
    (aside,) = tmp_path.glob("mine.sqlite3.aside-*")
    assert command("--journal", str(aside)) == 0


def test_a_board_is_known_by_its_usb_serial_number_and_else_by_its_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bridge.board import PortInfo, ports  # noqa: PLC0415

    monkeypatch.setattr(
        ports,
        "list_ports",
        lambda: [PortInfo("/dev/ttyACM0", "001051234567", interface=0, board="nrf9151dk")],
    )
    assert place_of("/dev/ttyACM0", None, "auto") == "usb 001051234567 interface 0"
    assert place_of(None, "001051234567", "auto") == "usb 001051234567 interface 0"
    assert place_of(None, None, "auto") == "usb 001051234567 interface 0"
    assert place_of("/dev/ttyUSB7", None, "auto") == "/dev/ttyUSB7"
    assert place_of(None, "999", "auto") == "board 999"
    assert place_of(None, "999", "probe") == "probe 999"
    assert place_of("rfc2217://bench:4000", None, "auto") == "rfc2217://bench:4000"
    assert "secret" not in place_of("virtual://nrf9151dk?key=secret", None, "auto")


def test_two_names_of_one_port_are_one_port(tmp_path: Path) -> None:
    device = tmp_path / "ttyACM0"
    device.touch()
    link = tmp_path / "by-id"
    link.symlink_to(device)
    with (
        port_for_us(str(device), "nrf91-bridge run for a"),
        pytest.raises(BenchError, match="run for a"),
        port_for_us(str(link), "nrf91-bridge flash"),
    ):
        pass


def test_a_port_is_the_same_one_from_another_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "port").touch()
    monkeypatch.chdir(tmp_path)
    assert place_of("port", None, "auto") == place_of(str(tmp_path / "port"), None, "auto")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir("below")
    with (
        port_for_us(str(tmp_path / "port"), "nrf91-bridge run for a"),
        pytest.raises(BenchError, match="run for a"),
        port_for_us(place_of("../port", None, "auto"), "nrf91-bridge flash"),
    ):
        pass


def test_where_no_lock_can_be_made_the_port_itself_must_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    with port_for_us("/dev/ttyACM0", "nrf91-bridge flash"):
        assert "not kept off" in caplog.text


@pytest.mark.parametrize("text", ["fw[red].bin", "1[/x]", "2001:db8::100:1"])
def test_what_comes_from_outside_is_text_and_no_markup(
    text: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_journal(None, "/dev/ttyACM1", "test") as journal:
        record = journal.begin(Order("/dev/ttyACM1", text, "00" * 32))
        record.take(ImageAccepted(Stage.CHECK, "application", text, 100, text, text))
    assert command() == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert text in line
    assert f"{text} -> {text}" in line


def test_given_a_journal_that_cannot_be_looked_at_then_no_traceback(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("--journal", str(tmp_path / ("x" * 300))) == BenchError.exit_code
    assert "[journal-unusable]" in capsys.readouterr().err
