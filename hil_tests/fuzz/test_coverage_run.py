"""A slice of coverage-guided fuzzing, so that the harness does not rot: it runs, finds what is planted, and replays it."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bridge.errors import UsageError
from hil_tests.fuzz import board_driver, boards
from hil_tests.fuzz.board_driver import BoardDriver
from hil_tests.fuzz.choices import Choices
from hil_tests.fuzz.coverage_run import read_log
from hil_tests.fuzz.targets import TARGETS, find_target

LOG = """INFO: Loaded
#37	INITED cov: 124 ft: 160 corp: 20/1b exec/s: 0 rss: 81Mb
#1024	NEW    cov: 130 ft: 171 corp: 23/1b lim: 4 exec/s: 0 rss: 81Mb L: 3/3 MS: 1 CopyPart-
artifact_prefix='/tmp/x-'; Test unit written to /tmp/x-crash-1
"""


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hil_tests.fuzz", *arguments], capture_output=True, text=True, check=False
    )


def test_a_target_is_fuzzed_or_the_missing_program_named(tmp_path: Path) -> None:
    done = command("--target", "smp-frames", "--seconds", "2", "--findings", str(tmp_path))
    if find_spec("atheris") is None:  # no wheel for this platform
        assert done.returncode == 2
        assert "nrf91-bridge[fuzz]" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert "findings 0" in done.stdout
    executions = int(done.stdout.partition(": ")[2].partition(" executions")[0])
    assert executions > len(list(TARGETS["smp-frames"].seeds()))


def test_a_planted_bug_is_found_and_replayed(tmp_path: Path) -> None:
    """The replay of an input that breaks a promise shows the error; that of one that does not says so."""
    harmless = tmp_path / "harmless"
    harmless.write_bytes(next(iter(TARGETS["job-document"].seeds())))
    done = command("--target", "job-document", "--replay", str(harmless))
    assert done.returncode == 0, done.stderr
    assert "no bug" in done.stdout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hil_tests.fuzz.jobs.MAX_DOCUMENT_CHARS", 10)  # a promise that nothing keeps
        with pytest.raises(AssertionError):
            TARGETS["job-document"].fuzz_one(harmless.read_bytes())


def test_the_output_of_libfuzzer_is_read() -> None:
    found = read_log("x", LOG, 3.0)
    assert (found.executions, found.first_coverage, found.coverage, found.corpus) == (1024, 124, 130, 23)
    assert found.findings == (Path("/tmp/x-crash-1"),)
    assert not found.sound
    assert not read_log("x", "ImportError", 3.0).sound, "a run that never began is no good news"


def test_unknown_targets_are_refused() -> None:
    with pytest.raises(UsageError):
        find_target("nothing")
    assert command("--target", "nothing").returncode == 2


def test_seeds_go_deep() -> None:
    """The upload in the seeds of the Serial Modem ends in a board that runs the new image."""
    driver = BoardDriver(boards.make_board("serial-modem"))
    boards.act(driver, Choices(boards.at_seeds()[0]))
    assert [event.details["version"] for event in driver.board.events if event.kind == "boot"] == [
        "1.0.0",
        "1.0.1",
    ]


def test_a_board_that_never_rests_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_driver, "MAX_STEPS", 1000)
    driver = BoardDriver(boards.make_board("smp"))
    timeline = driver.board._timeline

    def tick() -> None:
        timeline.after(1000, tick)

    tick()
    with pytest.raises(AssertionError, match="steps"):
        driver.run()
