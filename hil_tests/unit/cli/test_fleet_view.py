"""How many boards at once are shown: lines with names in front, a bar for each transfer, JSON events with names in them."""

import io
import json

import pytest

from bridge.cli import fleet_view, jobs_view, view
from bridge.cli.fleet_view import FleetView
from bridge.cli.output import PlainConsole
from bridge.cloud import JobExecution, JobStatus
from bridge.errors import BenchError
from bridge.fota import Finished, Outcome, Progress, Stage
from bridge.fota.bench import BenchBoard
from bridge.fota.fleet import BoardEnd

LEFT, RIGHT = BenchBoard("left", "1"), BenchBoard("the-right-one", "2")
JOB = JobExecution("job-1", 1, 1, JobStatus.IN_PROGRESS)
HALF = Progress(Stage.TRANSFER, 50, 100, 10.0, 1)
DONE = Finished(Stage.DONE, Outcome.SUCCEEDED, None, "it runs", "1.0.0", "2.0.0", "2.0.0")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> PlainConsole:
    console = PlainConsole(file=io.StringIO(), force_terminal=True, width=100, no_color=True)
    for module in (view, jobs_view, fleet_view):
        monkeypatch.setattr(module, "console", console)
    return console


def test_each_transfer_has_a_bar_until_its_job_ends(terminal: PlainConsole) -> None:
    with FleetView([LEFT, RIGHT], json=False) as fleet:
        for board in (LEFT, RIGHT):
            fleet.of(board).show(JOB, HALF)
        bars = fleet._bars
        assert [task.description.strip() for task in bars.tasks] == ["left", "the-right-one"]
        assert [task.completed for task in bars.tasks] == [50, 50]

        fleet.of(LEFT).show(JOB, DONE)

        assert [task.description.strip() for task in bars.tasks] == ["the-right-one"]


def test_lines_begin_with_the_boards_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    console = PlainConsole(file=io.StringIO(), width=200)
    for module in (view, jobs_view, fleet_view):
        monkeypatch.setattr(module, "console", console)
    with FleetView([LEFT, RIGHT], json=False) as fleet:
        fleet.ready("rack", "host:8883")
        fleet.of(LEFT).show(JOB, DONE)
        fleet.trouble(RIGHT, BenchError("the port is held", reason="port-held"), 5.0)
        fleet.ended(BoardEnd(RIGHT, None, BenchError("the port is held", reason="port-held")))

    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is a StringIO
    assert lines[0].startswith("working the jobs of 2 boards of the bench rack at host:8883")
    assert lines[1] == "left           job job-1, execution 1"
    assert lines[2] == "left           SUCCEEDED it runs"
    assert lines[-2] == "the-right-one  the port is held; trying again in 5 s"
    assert lines[-1] == "the-right-one  the port is held [port-held]"


def test_every_json_event_names_its_board(capsys: pytest.CaptureFixture[str]) -> None:
    with FleetView([LEFT, RIGHT], json=True) as fleet:
        fleet.ready("rack", "host:8883")
        fleet.of(RIGHT).show(JOB, HALF)
        fleet.trouble(LEFT, BenchError("held", reason="port-held"), 5.0)
        fleet.ended(BoardEnd(LEFT, None, BenchError("held", reason="port-held", hint="Stop it.")))
        fleet.ended(BoardEnd(RIGHT, None, None))

    ready, progress, trouble, failed, ended = map(json.loads, capsys.readouterr().out.splitlines())
    assert (ready["event"], ready["bench"], ready["boards"]) == ("ready", "rack", 2)
    assert (progress["event"], progress["job"]) == ("progress", "job-1")
    assert (progress["board_name"], progress["serial_number"]) == ("the-right-one", "2")
    assert (trouble["event"], trouble["board_name"], trouble["retry_in_s"]) == ("board-trouble", "left", 5.0)
    assert (failed["event"], failed["exit_code"], failed["hint"]) == ("board-ended", 9, "Stop it.")
    assert (ended["board_name"], ended["exit_code"]) == ("the-right-one", 0)
