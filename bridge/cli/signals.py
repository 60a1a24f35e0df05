"""Ctrl-C and SIGTERM: a first one ends things in order, a second one at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from bridge.cli.output import console
from bridge.errors import InterruptedUpdateError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def until_interrupted() -> Iterator[Callable[[], None]]:
    """Let SIGINT and SIGTERM end a wait instead of the process: to be interrupted is how such a command is meant to end.

    Yields:
        A function that blocks until one of them has come. It may have come before.
    """
    reader, writer = os.pipe()

    def wait() -> None:
        os.read(reader, 1)

    # A pipe, because a handler runs between any two steps of the main thread and must not touch locks that it may hold.
    before = {number: signal.signal(number, lambda *_: os.write(writer, b".")) for number in _SIGNALS}
    try:
        yield wait
    finally:
        _restore(before)
        os.close(reader)
        os.close(writer)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM ask the block to stop where nothing is lost, and a second one end the process.

    The second one leaves the board as it is: in the middle of a transfer at worst, which the next command brings back.
    Nothing is scheduled or confirmed by halves, and the journal knows how far it was.

    Args:
        stop: Asks; called in the main thread between any two of its steps, so it must not wait for anything.
    """
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            _leave_now()
        asked = True
        # Straight to the descriptor: the main thread may be in the middle of writing to the console.
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, b"\nstopping; once more to stop at once\n")
        stop()

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield
    finally:
        _restore(before)


def _leave_now() -> None:
    if console.is_terminal:
        os.write(2, b"\x1b[?25h")  # the progress bar hides the cursor
    os._exit(InterruptedUpdateError.exit_code)


def _restore(before: "dict[signal.Signals, signal._HANDLER]") -> None:
    for number, handler in before.items():
        signal.signal(number, handler)
