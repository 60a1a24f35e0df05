"""Showing the work on many boards: lines with the board's name in front, or JSON events with its name and number."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from rich.text import Text

from bridge.cli.jobs_view import JobView
from bridge.cli.output import console, emit_json
from bridge.cli.view import make_bars

if TYPE_CHECKING:
    from bridge.cloud import JobExecution
    from bridge.errors import BridgeError
    from bridge.fota import UpdateEvent
    from bridge.fota.bench_file import BenchBoard
    from bridge.fota.fleet import BoardEnd


class BoardView:
    """Shows the jobs of one board among others; called from that board's thread."""

    def __init__(self, view: JobView, lock: threading.Lock) -> None:
        self._view = view
        self._lock = lock

    def show(self, execution: "JobExecution", event: "UpdateEvent") -> None:
        """Show one event of one job."""
        with self._lock:
            self._view.show(execution, event)


class FleetView:
    """Shows what happens on all boards of a bench; use as a context manager.

    Args:
        boards: The boards.
        json: Emit JSON events on stdout instead of lines for people.
    """

    def __init__(self, boards: Sequence["BenchBoard"], *, json: bool) -> None:
        self._json = json
        self._boards = boards
        self._lock = threading.Lock()
        self._bars = make_bars(json=json)
        self._width = max((len(board.name) for board in boards), default=0)
        self._views = {
            board.serial_number: JobView(
                json=json, context=_names(board), label=self._label(board), bars=self._bars
            )
            for board in boards
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Show the bars, where there is a terminal."""
        self._stack.enter_context(self._bars)
        for view in self._views.values():
            self._stack.enter_context(view)
        return self

    def __exit__(self, *_: object) -> None:
        """Take all bars off the screen."""
        self._stack.close()

    def of(self, board: "BenchBoard") -> BoardView:
        """The view of one board."""
        return BoardView(self._views[board.serial_number], self._lock)

    def ready(self, name: str, endpoint: str) -> None:
        """Tell that the bench is being worked."""
        if self._json:
            self._emit({"event": "ready", "bench": name, "endpoint": endpoint, "boards": len(self._boards)})
        else:
            console.print(
                Text.assemble(
                    f"working the jobs of {len(self._boards)} boards of the bench ",
                    (name, "bold"),
                    f" at {endpoint}; stop with Ctrl-C",
                ),
                soft_wrap=True,
            )

    def trouble(self, board: "BenchBoard", error: "BridgeError", pause_s: float) -> None:
        """Tell that a board cannot be worked for now; the others go on."""
        if self._json:
            self._emit({"event": "board-trouble", **_names(board), **_facts(error), "retry_in_s": pause_s})
        else:
            self._print(board, f"{error.message}; trying again in {pause_s:g} s", "yellow")

    def ended(self, end: "BoardEnd") -> None:
        """Tell that the work on a board has ended."""
        if self._json:
            facts = {} if end.error is None else _facts(end.error)
            self._emit({"event": "board-ended", **_names(end.board), "exit_code": end.exit_code, **facts})
        elif end.error is not None:
            self._print(end.board, f"{end.error.message} [{end.error.reason}]", "red")

    def _emit(self, event: dict[str, object]) -> None:
        with self._lock:
            emit_json(event)

    def _print(self, board: "BenchBoard", text: str, style: str) -> None:
        with self._lock:
            console.print(f"{self._label(board)}{text}", style=style, soft_wrap=True)

    def _label(self, board: "BenchBoard") -> str:
        return f"{board.name:<{self._width}}  "


def _names(board: "BenchBoard") -> dict[str, object]:
    """Members of every event; ``board`` alone is the model in those of an update."""
    return {"board_name": board.name, "serial_number": board.serial_number}


def _facts(error: "BridgeError") -> dict[str, object]:
    return {"reason": error.reason, "message": error.message, "hint": error.hint}
