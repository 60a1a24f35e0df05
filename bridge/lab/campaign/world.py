"""A simulated world for :mod:`bridge.clock`: whoever enters it lives in its time, with all threads that are started there."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Self

from bridge import clock
from bridge.clock import Condition, Event, Lock, Thread
from bridge.lab.campaign.scheduler import Scheduler
from bridge.lab.campaign.task import Process, Task
from bridge.lab.campaign.waiting import SimulatedCondition, SimulatedEvent, SimulatedLock, SimulatedThread


class SimulatedWorld(Scheduler):
    """Implements :class:`bridge.clock.World`; what still runs in it when it is left is killed."""

    _living: AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        self._living = clock.living_in(self)
        self._living.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._living is not None
        try:
            self.kill_all()
            self.dismiss()
        finally:
            self._living.__exit__(None, None, None)

    def spawn(self, process: Process, name: str, target: Callable[[], object]) -> Task:
        """Begin a thread that lives here."""

        def live() -> None:
            with clock.living_in(self):
                target()

        return super().spawn(process, name, live)

    def lock(self) -> Lock:
        """A lock."""
        return SimulatedLock(self)

    def rlock(self) -> Lock:
        """A lock that its owner may take again."""
        return SimulatedLock(self)

    def condition(self, lock: Lock | None) -> Condition:
        """A condition."""
        return SimulatedCondition(self, lock if isinstance(lock, SimulatedLock) else SimulatedLock(self))

    def event(self) -> Event:
        """An event."""
        return SimulatedEvent(self)

    def thread(self, target: Callable[..., object], name: str, args: tuple[Any, ...]) -> Thread:
        """A thread of the process that asks."""
        return SimulatedThread(self, lambda: target(*args), name)
