"""Ctrl-C and SIGTERM: a first one ends things in order, a second one at once.

Python runs a signal's handler between two steps of the main thread, and so not at all while that waits for a lock or for a
library. The number of the signal is written into a pipe at once (``signal.set_wakeup_fd``), so the pipe is what is listened to.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bridge.cli.output import console
from bridge.errors import InterruptedUpdateError

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_STDERR: Final = 2
_END: Final = b"\0"
_LEFT: Final = (
    "error: stopped at once, so the board is left as it is, in the middle of a transfer at worst; what was scheduled is"
    " installed by the next reset. Run the same command again: it brings the board back and goes on. [interrupted]\n"
)
"""Said without asking anybody: who is to answer may be what hangs."""


@contextmanager
def until_interrupted() -> Iterator[Callable[[], None]]:
    """Let SIGINT and SIGTERM end a wait instead of the process: to be interrupted is how such a command is meant to end.

    Yields:
        A function that blocks until one of them has come. It may have come before.
    """
    with _signal_pipe() as (reader, _):

        def wait() -> None:
            while os.read(reader, 1)[0] not in _SIGNALS:
                pass

        yield wait


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM ask the block to stop where nothing is lost, and a second one end the process.

    The second one leaves the board as it is: in the middle of a transfer at worst, which the next command brings back.
    Nothing is scheduled or confirmed by halves, and the journal knows how far it was.

    Args:
        stop: Asks; called in a thread of its own.
    """
    with _signal_pipe() as (reader, writer):
        listener = threading.Thread(target=_listen, args=(reader, stop), name="signals", daemon=True)
        listener.start()
        try:
            yield
        finally:
            os.write(writer, _END)
            listener.join()


def _listen(reader: int, stop: Callable[[], None]) -> None:
    asked = False
    while (number := os.read(reader, 1)) != _END:
        if number[0] not in _SIGNALS:
            continue
        if asked:
            _leave_now()
        asked = True
        # Straight to the descriptor: nobody knows who holds the console's lock now.
        os.write(_STDERR, b"\nstopping; once more to stop at once\n")
        stop()


def _leave_now() -> None:
    if console.is_terminal:
        os.write(_STDERR, b"\x1b[?25h")  # the progress bar hides the cursor
    os.write(_STDERR, _LEFT.encode())
    os._exit(InterruptedUpdateError.exit_code)


@contextmanager
def _signal_pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that gets the number of each signal that comes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer
    finally:
        signal.set_wakeup_fd(before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
