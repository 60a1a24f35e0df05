"""Commands that run until somebody stops them."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
    wanted = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: os.write(writer, b".")) for number in wanted}
    try:
        yield wait
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
