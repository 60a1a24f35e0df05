"""Things that happen later, one after the other, on one thread of a simulated world."""

import heapq
import itertools
from collections.abc import Callable

from bridge import clock


class Mail:
    """A queue of actions with the moments at which they are due."""

    def __init__(self) -> None:
        self._changed = clock.condition()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._closed = False

    def put(self, delay_s: float, action: Callable[[], object]) -> None:
        """Let something happen in so many seconds."""
        with self._changed:
            heapq.heappush(self._due, (clock.monotonic() + delay_s, next(self._order), action))
            self._changed.notify()

    def close(self) -> None:
        """Let nothing happen any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        """Let things happen until it is closed."""
        while (action := self._take()) is not None:
            action()

    def _take(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._closed:
                left_s = self._due[0][0] - clock.monotonic() if self._due else None
                if left_s is not None and left_s <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(left_s)
            return None
