"""What threads of a simulated world wait on: locks, conditions, events, and each other."""

import math
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from bridge.lab.campaign.scheduler import Process, Scheduler, Task

_T = TypeVar("_T")


class SimulatedLock:
    """As :class:`threading.RLock`; a thread that waits for one that it has itself is a bug that real locks would show."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._owner: Task | None = None
        self._depth = 0
        self._waiting: deque[Task] = deque()

    def acquire(self) -> bool:
        """Wait for it and take it."""
        task = self._scheduler.enter()
        self.take(task, 1)
        return True

    def release(self) -> None:
        """Give it back; what a dead thread does not own it need not give back."""
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self._free()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def take(self, task: Task, depth: int) -> None:
        """Wait for it and take it as often as ``depth`` says."""
        while self._owner is not None and self._owner is not task:
            self._waiting.append(task)
            self._scheduler.block(None)
        self._owner = task
        self._depth += depth

    def leave(self) -> int:
        """Give it back as often as it was taken, which is returned."""
        depth, self._depth = self._depth, 0
        self._free()
        return depth

    def _free(self) -> None:
        self._owner = None
        if self._waiting:
            self._scheduler.wake(self._waiting.popleft())


class SimulatedCondition:
    """As :class:`threading.Condition`."""

    def __init__(self, scheduler: Scheduler, lock: SimulatedLock) -> None:
        self._scheduler = scheduler
        self._lock = lock
        self._waiting: deque[Task] = deque()

    def __enter__(self) -> bool:
        return self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be notified."""
        task = self._scheduler.enter()
        depth = self._lock.leave()
        self._waiting.append(task)
        woken = False
        try:
            woken = self._scheduler.block(timeout)
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
        self._lock.take(task, depth)
        return woken

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until the predicate holds."""
        # Rounded up: a wait for less than the clock's step must move the clock.
        deadline_ns = None if timeout is None else self._scheduler.monotonic_ns() + math.ceil(timeout * 1e9)
        result = predicate()
        while not result:
            left_s = None if deadline_ns is None else (deadline_ns - self._scheduler.monotonic_ns()) / 1e9
            if left_s is not None and left_s <= 0:
                break
            self.wait(left_s)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        """Wake some who wait."""
        self._scheduler.enter()
        for _ in range(min(n, len(self._waiting))):
            self._scheduler.wake(self._waiting.popleft())

    def notify_all(self) -> None:
        """Wake all who wait."""
        self.notify(len(self._waiting))


class SimulatedEvent:
    """As :class:`threading.Event`."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._happened = False
        self._changed = SimulatedCondition(scheduler, SimulatedLock(scheduler))

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let it happen."""
        with self._changed:
            self._happened = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Take it back."""
        self._happened = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it."""
        with self._changed:
            return self._changed.wait_for(lambda: self._happened, timeout)


class SimulatedThread:
    """As :class:`threading.Thread`; it belongs to the process of the thread that starts it."""

    def __init__(self, scheduler: Scheduler, target: Callable[[], object], name: str) -> None:
        self._scheduler = scheduler
        self._target = target
        self._name = name
        self._task: Task | None = None

    def start(self) -> None:
        """Begin."""
        process: Process = self._scheduler.enter().process
        self._task = self._scheduler.spawn(process, self._name, self._target)

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended."""
        assert self._task is not None
        self._scheduler.join(self._task, timeout)

    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._task is not None and not self._task.done
