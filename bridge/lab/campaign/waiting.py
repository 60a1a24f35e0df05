"""What threads of a simulated world wait on: locks, conditions, events, and each other."""

import math
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

from bridge.lab.campaign.scheduler import Scheduler
from bridge.lab.campaign.task import Process, Task

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
        if self._owner is None or self._owner is task:
            self._owner = task
            self._depth += 1
        else:
            self.take(task, 1)
        return True

    def release(self) -> None:
        """Give it back; what a dead thread does not own it need not give back."""
        if self._depth:
            self._depth -= 1
            if not self._depth:
                self._owner = None
                if self._waiting:
                    self.pass_on()

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

    @property
    def is_free(self) -> bool:
        """Whether nobody has it."""
        return self._owner is None

    def pass_on(self) -> None:
        """What whoever takes it and gives it back does for others."""
        if self._waiting:
            self._scheduler.wake(self._waiting.popleft())

    def leave(self) -> int:
        """Give it back as often as it was taken, which is returned."""
        depth, self._depth = self._depth, 0
        self._owner = None
        if self._waiting:
            self.pass_on()
        return depth


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

    def wait(self, timeout: float | None = None, look: Callable[[], bool] | None = None) -> bool:
        """Wait to be notified; for ``look`` see :meth:`~bridge.lab.campaign.scheduler.Scheduler.block`."""
        task = self._scheduler.enter()
        depth = self._lock.leave()
        self._waiting.append(task)
        woken = False
        try:
            woken = self._scheduler.block(timeout, look)
        finally:
            if task in self._waiting:
                self._waiting.remove(task)
        self._lock.take(task, depth)
        return woken

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until the predicate holds."""
        result = predicate()
        if result:
            return result
        scheduler = self._scheduler
        # Rounded up: a wait for less than the clock's step must move the clock.
        deadline_ns = None if timeout is None else scheduler.monotonic_ns() + math.ceil(timeout * 1e9)
        task = scheduler.current

        def left_s() -> float | None:
            return None if deadline_ns is None else (deadline_ns - scheduler.monotonic_ns()) / 1e9

        def look() -> bool:
            if not scheduler.may_look_for(task) or not self._lock.is_free or predicate():
                return True
            left = left_s()
            if left is not None and left <= 0:
                return True
            scheduler.step_of(task)
            self._wait_again(task, left)
            return False

        while not result:
            left = left_s()
            if left is not None and left <= 0:
                break
            self.wait(left, look)
            result = predicate()
        return result

    def _wait_again(self, task: Task, timeout: float | None) -> None:
        """As if a task had taken the free lock and called :meth:`wait`."""
        if task in self._waiting:
            self._waiting.remove(task)
        self._lock.pass_on()
        self._waiting.append(task)
        self._scheduler.wait_on(task, timeout)

    def notify(self, n: int = 1) -> None:
        """Wake some who wait."""
        self._scheduler.enter()
        if self._waiting:
            for _ in range(min(n, len(self._waiting))):
                self._scheduler.wake(self._waiting.popleft())

    def notify_all(self) -> None:
        """Wake all who wait."""
        self._scheduler.enter()
        while self._waiting:
            self._scheduler.wake(self._waiting.popleft())


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
