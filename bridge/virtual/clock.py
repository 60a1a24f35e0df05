"""Board time: events in order, at the pace of a real board or as fast as this machine goes.

The order of events is the same at both paces, because handlers see the event's own time and never the wall
clock.
"""

import heapq
import itertools
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from bridge import clock

NS_PER_S: Final = 1_000_000_000
NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000
_NOTICEABLE_NS: Final = 5 * NS_PER_MS


class Timing(StrEnum):
    """How fast board time runs."""

    REAL = "real"
    SIMULATED = "simulated"


class Timer:
    """One event to come; :meth:`cancel` makes it never happen."""

    __slots__ = ("_callback", "time_ns")

    def __init__(self, time_ns: int, callback: Callable[[], None]) -> None:
        self.time_ns = time_ns
        self._callback: Callable[[], None] | None = callback

    @property
    def active(self) -> bool:
        """Whether the event has neither happened nor been cancelled."""
        return self._callback is not None

    def cancel(self) -> None:
        """Forget the event."""
        self._callback = None

    def fire(self) -> None:
        """Let the event happen, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timeline:
    """The board's clock and its events to come; owned by one thread.

    Args:
        timing: Real follows the wall clock; simulated jumps to the next event.
        wall_ns: The wall clock, for tests; that of this world otherwise.

    Attributes:
        late_events: At real timing: how many events happened so late that a host could notice, because this machine had
            other things to do.
    """

    def __init__(self, timing: Timing, wall_ns: Callable[[], int] | None = None) -> None:
        self.timing = timing
        self._wall_ns = wall_ns or clock.nanosecond_clock()
        self._epoch_ns = self._wall_ns()
        self._now_ns = 0
        self._events: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self.late_events = 0

    @property
    def now_ns(self) -> int:
        """Board time of the event that is happening, or that of the last one."""
        return self._now_ns

    def at(self, time_ns: int, callback: Callable[[], None]) -> Timer:
        """Let ``callback`` happen at ``time_ns`` (now, if that is past)."""
        timer = Timer(max(time_ns, self._now_ns), callback)
        heapq.heappush(self._events, (timer.time_ns, next(self._order), timer))
        return timer

    def after(self, delay_ns: int, callback: Callable[[], None]) -> Timer:
        """Let ``callback`` happen ``delay_ns`` from now."""
        return self.at(self._now_ns + delay_ns, callback)

    def follow_wall_clock(self) -> None:
        """With real timing, move board time up to the wall clock, but not past the next event."""
        if self.timing is Timing.REAL:
            now_ns = self._wall_ns() - self._epoch_ns
            next_ns = self._next_ns()
            if next_ns is not None and next_ns < now_ns:
                now_ns = next_ns
            self._now_ns = max(self._now_ns, now_ns)

    def run_due(self) -> float | None:
        """Let the next event happen if its time has come.

        Returns:
            Seconds of wall time until the next event: 0 when one has just happened, None when there is none.
        """
        next_ns = self._next_ns()
        if next_ns is None:
            return None
        if self.timing is Timing.REAL:
            early_ns = next_ns - (self._wall_ns() - self._epoch_ns)
            if early_ns > 0:
                return early_ns / NS_PER_S
            self.late_events += -early_ns > _NOTICEABLE_NS
        _, _, timer = heapq.heappop(self._events)
        self._now_ns = max(self._now_ns, timer.time_ns)
        timer.fire()
        return 0.0

    def clear(self) -> None:
        """Forget all events, as a board does that loses its power."""
        for _, _, timer in self._events:
            timer.cancel()
        self._events.clear()

    def _next_ns(self) -> int | None:
        events = self._events
        while events:
            first = events[0]
            if first[2].active:
                return first[0]
            heapq.heappop(events)
        return None
