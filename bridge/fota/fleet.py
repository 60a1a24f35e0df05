"""All boards of a bench at once, in one process: an agent and a thread for each, and none of them stops another."""

import logging
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from bridge import clock
from bridge.errors import BridgeError, InterruptedUpdateError, UsageError
from bridge.fota.bench_file import BenchBoard
from bridge.fota.events import Outcome
from bridge.fota.job_result import JobResult

_log = logging.getLogger(__name__)

RETRY_S: Final = 5.0
MAX_RETRY_S: Final = 60.0
"""Pauses before a board that could not be worked is tried again: the first one, and the longest."""

WORST_FIRST: Final = (1, 7, 6, 4, 3, 9, 8, 5, 2, 130, 0)
"""Exit codes by how much they need somebody's attention: a bug, a board that was written and does not run, a board that does
not do its work, the bench, the cloud, what was refused before anything happened, and being stopped."""


class WorkingAgent(Protocol):
    """The agent as the fleet needs it."""

    def run(self, *, once: bool = False) -> JobResult | None:
        """Work jobs until told to stop, or one."""
        ...

    def stop(self) -> None:
        """End ``run`` soon; from any thread."""
        ...


@dataclass(frozen=True)
class BoardEnd:
    """How the work on one board ended.

    Attributes:
        board: The board.
        result: Its last job, if there was one.
        error: Why it counts as failed; None if it does not.
    """

    board: BenchBoard
    result: JobResult | None
    error: BridgeError | None

    @property
    def exit_code(self) -> int:
        """What ``nrf91-bridge run`` for this board alone would have exited with."""
        return 0 if self.error is None else self.error.exit_code


Trouble = Callable[[BenchBoard, BridgeError, float], None]
"""Told that a board cannot be worked now, why, and in how many seconds it is tried again."""


class Fleet:
    """Works the jobs of many boards at once.

    Args:
        boards: The boards.
        open_agent: Connects a board's thing and offers its agent; a ``BridgeError`` of it is that board's alone.
        on_trouble: Told when a board cannot be worked for now.
        on_end: Told when the work on a board has ended.
    """

    def __init__(
        self,
        boards: Sequence[BenchBoard],
        open_agent: Callable[[BenchBoard], AbstractContextManager[WorkingAgent]],
        *,
        on_trouble: Trouble = lambda _board, _error, _pause_s: None,
        on_end: Callable[[BoardEnd], None] = lambda _end: None,
    ) -> None:
        self._boards = tuple(boards)
        self._open_agent = open_agent
        self._on_trouble = on_trouble
        self._on_end = on_end
        self._stop = clock.event()
        self._lock = clock.lock()
        self._agents: dict[str, WorkingAgent] = {}
        self._ends: dict[str, BoardEnd] = {}

    def stop(self) -> None:
        """End :meth:`run` soon; each board where nothing is lost. May be called from any thread."""
        self._stop.set()
        with self._lock:
            agents = list(self._agents.values())
        for agent in agents:
            agent.stop()

    def run(self, *, once: bool = False) -> list[BoardEnd]:
        """Work jobs on all boards until told to stop.

        Args:
            once: One job on each board.

        Returns:
            How each board ended, in the bench's order.
        """
        threads = [clock.thread(self._work, f"board-{board.name}", (board, once)) for board in self._boards]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [self._ends[board.serial_number] for board in self._boards]

    def _work(self, board: BenchBoard, once: bool) -> None:
        try:
            end = self._work_until_end(board, once)
        except Exception as error:  # noqa: BLE001 - a bug on one board must not take the others with it
            _log.error("working %s broke:\n%s", board.name, traceback.format_exc())
            end = BoardEnd(board, None, BridgeError(f"this is a bug: {error!r}"))
        self._ends[board.serial_number] = end
        self._on_end(end)

    def _work_until_end(self, board: BenchBoard, once: bool) -> BoardEnd:
        pause_s = RETRY_S
        result: JobResult | None = None
        while not self._stop.is_set():
            began_s = clock.monotonic()
            try:
                result = self._run_agent(board, once)
            except BridgeError as error:
                if once or self._stop.is_set() or isinstance(error, UsageError):
                    return BoardEnd(board, result, error)
                if clock.monotonic() - began_s > MAX_RETRY_S:
                    pause_s = RETRY_S  # it had worked
                self._on_trouble(board, error, pause_s)
                self._stop.wait(pause_s)
                pause_s = min(2 * pause_s, MAX_RETRY_S)
            else:
                break
        if result is None:
            stopped = InterruptedUpdateError("told to stop before there was a job")
            return BoardEnd(board, None, stopped if once else None)
        counts = once or result.finished.outcome is Outcome.INTERRUPTED
        return BoardEnd(board, result, result.error if counts else None)

    def _run_agent(self, board: BenchBoard, once: bool) -> JobResult | None:
        with self._open_agent(board) as agent:
            with self._lock:
                self._agents[board.serial_number] = agent
            try:
                if self._stop.is_set():  # it was too early to reach this agent
                    agent.stop()
                return agent.run(once=once)
            finally:
                with self._lock:
                    del self._agents[board.serial_number]


def worst(ends: Sequence[BoardEnd]) -> BoardEnd | None:
    """The board whose end needs attention most; None if all ended well."""
    failed = [end for end in ends if end.error is not None]
    return min(failed, key=lambda end: WORST_FIRST.index(end.exit_code), default=None)
