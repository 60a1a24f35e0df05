"""The processor: one thing at a time, in the order it was asked, and stalled while flash is busy.

Serial Modem does everything on one Zephyr work queue, and the CPU stops while the flash controller erases or
writes the bank that it executes from. Peripherals (the UART's DMA) go on meanwhile, which is why this is not
one clock.
"""

from collections import deque
from collections.abc import Callable

from bridge.virtual.clock import Timeline, Timer

Work = Callable[[], None]


class Cpu:
    """A work queue whose items take time.

    Args:
        timeline: Board time.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._queue: deque[Work] = deque()
        self._busy_until_ns = 0
        self._next: Timer | None = None

    @property
    def now_ns(self) -> int:
        """The moment that the running work has reached."""
        return max(self._timeline.now_ns, self._busy_until_ns)

    def spend(self, duration_ns: int) -> None:
        """Let time pass for the running work; other work waits, peripherals do not."""
        self._busy_until_ns = self.now_ns + duration_ns

    def wait_until(self, time_ns: int) -> None:
        """Block the running work until ``time_ns``."""
        self._busy_until_ns = max(self.now_ns, time_ns)

    def submit(self, work: Work, *, first: bool = False) -> None:
        """Queue work; work that is queued already is not queued again."""
        if work in self._queue:
            return
        if first:
            self._queue.appendleft(work)
        else:
            self._queue.append(work)
        self._plan()

    def submit_after(self, delay_ns: int, work: Work) -> Timer:
        """Queue work after a delay that begins at the moment the running work has reached."""
        return self._timeline.at(self.now_ns + delay_ns, lambda: self.submit(work))

    def halt(self) -> None:
        """Forget all work, as a reset does."""
        self._queue.clear()
        self._busy_until_ns = 0
        if self._next is not None:
            self._next.cancel()

    def _plan(self) -> None:
        if self._queue and (self._next is None or not self._next.active):
            self._next = self._timeline.at(self.now_ns, self._run_one)

    def _run_one(self) -> None:
        if self._busy_until_ns <= self._timeline.now_ns and self._queue:
            self._queue.popleft()()
        self._plan()
