"""Listening in on all links of this process: raw bytes as they come and go, for logs and recordings."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal

Direction = Literal["in", "out", "opened", "lost"]
"""Seen from this host: ``in`` came from the board, ``out`` is about to be sent; a port that was opened or lost has no bytes."""

Tap = Callable[[str, Direction, bytes], None]
"""Called with the port's URL, the direction and the bytes; from any thread, and must not block."""

_lock: Final = threading.Lock()
_taps: tuple[Tap, ...] = ()


@contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """Have a function told about all bytes on all links as long as the block lasts."""
    global _taps  # noqa: PLW0603 - one list for the process; readers take it without a lock
    with _lock:
        _taps = (*_taps, tap)
    try:
        yield
    finally:
        with _lock:
            _taps = tuple(each for each in _taps if each is not tap)


def tell(url: str, direction: Direction, data: bytes = b"") -> None:
    """Pass bytes on to whoever listens."""
    for tap in _taps:
        tap(url, direction, data)
