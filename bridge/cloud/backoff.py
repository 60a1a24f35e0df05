"""How long to wait before trying again: twice as long each time, with jitter, never less than the minimum.

AWS IoT accepts one CONNECT a second for each client id; a fleet that lost its broker must not come back in
step.
"""

from collections.abc import Callable

from bridge import clock


class Backoff:
    """Exponential backoff with jitter.

    Args:
        min_s: The first and shortest wait.
        max_s: The wait is not doubled beyond this; jitter adds at most half of it.
        jitter: A number from 0 to 1 for each wait; for tests.
    """

    def __init__(
        self, min_s: float = 1.0, max_s: float = 120.0, *, jitter: Callable[[], float] = clock.uniform
    ) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._jitter = jitter
        self._next_s = min_s

    def next_s(self) -> float:
        """The next wait in seconds."""
        wait_s = self._next_s
        self._next_s = min(2 * wait_s, self._max_s)
        return wait_s * (1 + self._jitter() / 2)

    def reset(self) -> None:
        """Begin anew with the shortest wait."""
        self._next_s = self._min_s
