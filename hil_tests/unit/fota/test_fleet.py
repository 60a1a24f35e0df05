"""The fleet: every board on its own, retried on its own, stopped together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BridgeError,
    CloudError,
    ImageRefusedError,
    InterruptedUpdateError,
    UsageError,
    VerificationError,
)
from bridge.fota import fleet as fleet_module
from bridge.fota.bench_file import BenchBoard
from bridge.fota.fleet import BoardEnd, Fleet, worst
from bridge.fota.job_result import JobResult

LEFT, RIGHT = BenchBoard("left", "1"), BenchBoard("right", "2")


class Agents:
    """Agents that wait until they are stopped, after failing as often as a board's list says."""

    def __init__(self, **failures: list[BaseException]) -> None:
        self.failures = failures
        self.running: dict[str, threading.Event] = {}
        self.started = threading.Condition()

    @contextmanager
    def open(self, board: BenchBoard) -> Iterator["Agents.Agent"]:
        if self.failures.get(board.name):
            raise self.failures[board.name].pop(0)
        yield Agents.Agent(self, board)

    def wait_running(self, *names: str) -> None:
        with self.started:
            assert self.started.wait_for(lambda: set(names) <= set(self.running), 30)

    class Agent:
        def __init__(self, agents: "Agents", board: BenchBoard) -> None:
            self.agents, self.board = agents, board
            self.stopped = threading.Event()

        def run(self, *, once: bool = False) -> JobResult | None:
            with self.agents.started:
                self.agents.running[self.board.name] = self.stopped
                self.agents.started.notify_all()
            assert self.stopped.wait(30)
            return None

        def stop(self) -> None:
            self.stopped.set()


def _run(fleet: Fleet) -> tuple[threading.Thread, list[BoardEnd]]:
    ends: list[BoardEnd] = []
    thread = threading.Thread(target=lambda: ends.extend(fleet.run()))
    thread.start()
    return thread, ends


def test_board_that_cannot_be_worked_is_tried_again_while_others_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet_module, "RETRY_S", 0.01)
    agents = Agents(left=[BenchError("held"), CloudError("away")])
    troubles: list[tuple[str, str, float]] = []
    fleet = Fleet(
        [LEFT, RIGHT], agents.open, on_trouble=lambda b, e, s: troubles.append((b.name, e.message, s))
    )

    thread, ends = _run(fleet)
    agents.wait_running("left", "right")
    fleet.stop()
    thread.join(30)

    assert troubles == [("left", "held", 0.01), ("left", "away", 0.02)]
    assert [(end.board, end.exit_code) for end in ends] == [(LEFT, 0), (RIGHT, 0)]


@pytest.mark.parametrize(
    ("failure", "code"), [(UsageError("no such certificate"), 2), (RuntimeError("a bug"), 1)]
)
def test_what_trying_again_does_not_help_ends_one_board_only(failure: BaseException, code: int) -> None:
    agents = Agents(left=[failure])
    told: list[BoardEnd] = []
    ended = threading.Event()

    def on_end(end: BoardEnd) -> None:
        told.append(end)
        ended.set()

    fleet = Fleet([LEFT, RIGHT], agents.open, on_end=on_end)
    thread, ends = _run(fleet)
    agents.wait_running("right")
    assert ended.wait(30)
    assert [(end.board, end.exit_code) for end in told] == [(LEFT, code)]
    fleet.stop()
    thread.join(30)

    assert [end.exit_code for end in ends] == [code, 0]


def test_stop_before_the_start_is_not_lost() -> None:
    agents = Agents()
    fleet = Fleet([LEFT], agents.open)
    fleet.stop()

    (end,) = fleet.run(once=True)

    assert isinstance(end.error, InterruptedUpdateError)


def test_stop_ends_a_pause_at_once() -> None:
    agents = Agents(left=[BenchError("held")])
    trouble = threading.Event()
    fleet = Fleet([LEFT], agents.open, on_trouble=lambda *_: trouble.set())  # pauses for 5 s

    thread, ends = _run(fleet)
    assert trouble.wait(30)
    fleet.stop()
    thread.join(30)

    assert [end.exit_code for end in ends] == [0]


def test_worst_end_is_the_one_that_needs_attention_most() -> None:
    def end(error: BridgeError | None) -> BoardEnd:
        return BoardEnd(LEFT, None, error)

    refused, unverified = end(ImageRefusedError("x")), end(VerificationError("x"))
    missing, bug = end(BoardNotFoundError("x")), end(BridgeError("x"))
    assert worst([end(None)]) is None
    assert worst([end(None), refused]) is refused
    assert worst([refused, missing, end(InterruptedUpdateError("x"))]) is missing
    assert worst([missing, unverified]) is unverified
    assert worst([unverified, bug]) is bug
