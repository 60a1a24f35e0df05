"""Ctrl-C, SIGTERM and SIGKILL on real processes: the board stays usable, the job resumable, a second Ctrl-C ends at once."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.board import Board
from bridge.lab.image_faults import ImageFault
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from hil_tests.scenarios.conftest import OLD_VERSION, Bench
from hil_tests.scenarios.test_modem_and_bootloader import other_board

NEW = "2.0.0"
SLOW_LINE = ("--transfer-baud", "230400")
Event = dict[str, Any]


class Running:
    """A command of ours as a process of its own, with its JSON events."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "bridge", *arguments, "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def until(self, event: str, **members: object) -> Event:
        """Read events up to one of this kind."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: Event = json.loads(line)
            if found["event"] == event and all(found.get(key) == value for key, value in members.items()):
                return found
        raise AssertionError(f"the process ended without {event}: {self.rest()[1]}")

    def transferring(self) -> None:
        """Wait until bytes are being written."""
        while self.until("progress")["done_bytes"] == 0:
            pass

    def rest(self) -> tuple[int, str]:
        """Exit code, and what was said to people."""
        _, told = self.process.communicate(timeout=60)
        return self.process.returncode, told


@contextmanager
def command(*arguments: str) -> Iterator[Running]:
    running = Running(*arguments)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()


@pytest.fixture
def slow(bench: Bench) -> Iterator[Bench]:
    """A bench whose line takes the time that a line takes, so that there is something to interrupt."""
    with other_board(bench, timing="real", ideal_flash=True) as found:
        yield found


def new_image(bench: Bench) -> Path:
    """Two chunks."""
    return bench.samples.application(NEW)


def assert_untouched(bench: Bench) -> None:
    """The board answers, and runs the old version for good."""
    with Board.open(bench.port) as board:
        board.reset()
        assert board.identify().application_version == f"v{OLD_VERSION}"
    assert swap_type(bench.board.flash, bench.board.layout) is SwapType.NONE


def runs(bench: Bench) -> str:
    return running_version(bench.board.flash, bench.board.layout)


def history(tmp_path: Path) -> list[Event]:
    shown = subprocess.run(
        [sys.executable, "-m", "bridge", "history", "--json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in shown.stdout.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_job_leaves_it_to_the_next_start(
    slow: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    slow.cloud.jobs.create_job(f"stopped-{number}", slow.thing.thing_name, slow.document(new_image(slow)))
    with command(*slow.run_arguments(*SLOW_LINE)) as running:
        running.transferring()
        running.process.send_signal(number)
        finished = running.until("finished")
        code, told = running.rest()
    assert (code, finished["outcome"]) == (130, "interrupted")
    assert "once more to stop at once" in told
    last = told.splitlines()[-1]
    assert f"will not be installed, and the board runs {OLD_VERSION} as before" in last
    assert "`nrf91-bridge run` with the same options goes on with the job" in last
    execution = slow.cloud.jobs.describe_execution(f"stopped-{number}", slow.thing.thing_name)
    assert execution.status == "IN_PROGRESS"
    assert_untouched(slow)
    assert slow.work_next_job("--download-timeout", "30") == 0
    (entry,) = history(tmp_path)
    assert (entry["outcome"], entry["runs"], entry["report"]) == ("succeeded", 2, "taken")
    assert runs(slow) == NEW


def test_a_second_ctrl_c_ends_at_once_and_breaks_nothing(slow: Bench) -> None:
    image = new_image(slow)
    slow.cloud.images.faults.add(image.name, ImageFault(stall_after_bytes=1_000, times=None))
    slow.cloud.jobs.create_job("stalled", slow.thing.thing_name, slow.document(image))
    with command(*slow.run_arguments("--download-timeout", "600")) as running:
        running.until("stage-started", stage="fetch")
        running.process.send_signal(signal.SIGINT)
        assert running.process.stderr is not None
        while "once more" not in running.process.stderr.readline():
            pass
        assert running.process.poll() is None  # it waits for bytes that do not come
        running.process.send_signal(signal.SIGINT)
        code, told = running.rest()  # which is not that patient
    assert code == 130
    assert "the board is left as it is" in told.splitlines()[-1]
    assert "Run the same command again" in told.splitlines()[-1]
    slow.cloud.images.faults.clear()
    assert slow.cloud.jobs.describe_execution("stalled", slow.thing.thing_name).status == "IN_PROGRESS"
    assert_untouched(slow)
    assert slow.work_next_job("--download-timeout", "30") == 0
    assert runs(slow) == NEW


@pytest.mark.cli_scenario(33)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_flash_that_was_cut_off_goes_on_with_the_same_command(
    slow: Bench, tmp_path: Path, number: signal.Signals
) -> None:
    arguments = ("flash", str(new_image(slow)), "--port", slow.port, *SLOW_LINE)
    with command(*arguments) as running:
        running.transferring()
        running.process.send_signal(number)
        code, told = running.rest()
    if number == signal.SIGINT:
        assert f"the board runs {OLD_VERSION} as before" in told.splitlines()[-1]
        assert "Run the same command again to go on" in told.splitlines()[-1]
    assert code == (-9 if number == signal.SIGKILL else 130)
    assert_untouched(slow)
    with command(*arguments) as running:
        assert running.until("finished")["outcome"] == "succeeded"
        assert running.rest()[0] == 0
    (entry,) = history(tmp_path)
    assert (entry["outcome"], entry["runs"], entry["name"]) == ("succeeded", 2, Path(arguments[1]).name)
    assert runs(slow) == NEW


def test_a_flash_that_was_killed_in_its_reboot_is_only_verified_by_the_next_one(
    slow: Bench, tmp_path: Path
) -> None:
    arguments = ("flash", str(new_image(slow)), "--port", slow.port, *SLOW_LINE)
    with command(*arguments) as running:
        running.until("stage-started", stage="verify")
        running.process.kill()
    with command(*arguments) as running:
        finished = running.until("finished")
    assert (finished["outcome"], finished["from_version"]) == ("succeeded", OLD_VERSION)
    (entry,) = history(tmp_path)
    whats = [step["what"] for step in entry["steps"] if step["run"] == 2]
    assert "transfer" not in whats
    assert runs(slow) == NEW


@pytest.mark.cli_scenario(86)
def test_a_board_that_an_agent_works_is_refused_to_others_who_is_named(bench: Bench, tmp_path: Path) -> None:
    arguments = [one for one in bench.run_arguments() if one != "--once"]
    with command(*arguments) as agent:
        agent.until("ready")
        with command("flash", str(bench.samples.application(NEW)), "--port", bench.port) as second:
            error = second.until("error")
            assert second.rest()[0] == 9
        assert (error["reason"], error["exit_code"]) == ("port-held", 9)
        assert (
            f"nrf91-bridge run for {bench.thing.thing_name} (process {agent.process.pid})" in error["message"]
        )


def test_a_journal_in_use_is_refused_and_its_holder_named(bench: Bench, tmp_path: Path) -> None:
    journal = str(tmp_path / "shared.sqlite3")
    arguments = [one for one in bench.run_arguments("--journal", journal) if one != "--once"]
    with command(*arguments) as agent:
        agent.until("ready")
        other = tmp_path / "other-port"
        with command(
            *("flash", str(bench.samples.application(NEW)), "--port", str(other), "--journal", journal)
        ) as second:
            error = second.until("error")
            assert second.rest()[0] == 9
        assert error["reason"] == "journal-held"
        assert f"(process {agent.process.pid})" in error["message"]
        agent.process.send_signal(signal.SIGTERM)
        assert agent.rest()[0] == 0


@pytest.mark.parametrize(
    ("journal", "reason"), [("/proc/no/journal", "journal-unusable"), ("damaged", "journal-corrupt")]
)
def test_a_journal_that_cannot_be_used_is_noticed_before_the_board_is_touched(
    bench: Bench, tmp_path: Path, journal: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / journal
    if journal == "damaged":
        file.write_bytes(b"not a database" * 500)
    operations = bench.board.flash.operations
    code = bench.command(
        *("flash", str(bench.samples.application(NEW)), "--port", bench.port),
        *("--journal", str(file), "--json"),
    )
    assert code == 9
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["reason"] == reason
    assert bench.board.flash.operations == operations
    if journal == "damaged":
        assert bench.command("history", "--journal", str(file), "--move-aside") == 0
        assert [path.read_bytes()[:3] for path in tmp_path.glob("damaged.aside-*")] == [b"not"]
        assert bench.command("flash", str(bench.samples.application(NEW)), "--port", bench.port) == 0
