"""The processes in which the boards of a fleet measurement live."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from bridge.errors import BenchError
from bridge.lab.benchmark.fleet_boards import BoardsSetup

_BOARDS_PER_PROCESS: Final = 25


@dataclass(frozen=True)
class BoardsFound:
    """What became of the boards.

    Attributes:
        versions: What each of them runs.
        late_events: How many events came late on all of them.
        cpu_s: Processor time of their processes.
    """

    versions: list[str]
    late_events: int
    cpu_s: float


class BoardProcesses:
    """Virtual boards in a few processes, as many as Python's one lock lets run at pace; use as a context manager.

    Args:
        setup: Which boards, all processes together.
    """

    def __init__(self, setup: BoardsSetup) -> None:
        self._setup = setup
        self._stack = ExitStack()
        self._processes: list[subprocess.Popen[str]] = []
        self.ports: list[str] = []

    def __enter__(self) -> "BoardProcesses":
        """Start all of them.

        Raises:
            BenchError: One does not start.
        """
        with ExitStack() as stack:
            for first in range(0, self._setup.count, _BOARDS_PER_PROCESS):
                count = min(_BOARDS_PER_PROCESS, self._setup.count - first)
                setup = BoardsSetup(count, self._setup.baud, self._setup.size_bytes)
                process = subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-m", "bridge.lab.benchmark.fleet_boards", setup.to_argument()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                self._processes.append(stack.enter_context(process))
                stack.callback(process.kill)
            for process in self._processes:
                self.ports += _line(process)["ports"]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever still runs."""
        self._stack.close()

    def end(self) -> BoardsFound:
        """Stop all boards, and tell what became of them."""
        versions: list[str] = []
        late_events, cpu_s = 0, 0.0
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
            said = _line(process)
            versions += said["versions"]
            late_events += said["late_events"]
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu_s += usage.ru_utime + usage.ru_stime
        return BoardsFound(versions, late_events, cpu_s)


def _line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise BenchError("the virtual boards of a measurement did not start", reason="no-virtual-board")
    values: dict[str, Any] = json.loads(line)
    return values
