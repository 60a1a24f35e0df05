"""Time and waiting, in one place: the operating system's, or those of a simulated world.

Everything in this package that looks at a clock, waits for something or starts a thread asks this module, so that host and
virtual board can live together in one simulated time, which stands still while anybody works and jumps when everybody
waits (:mod:`bridge.lab.campaign.scheduler`). Nobody else sees a difference: without a simulation these are the standard
library's own clock, locks and threads.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Protocol, TypeVar, cast

_T = TypeVar("_T")


class Lock(Protocol):
    """A mutual exclusion lock, as :class:`threading.Lock`."""

    def acquire(self) -> bool:
        """Wait for it and take it."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Condition(Protocol):
    """As :class:`threading.Condition`."""

    def __enter__(self) -> bool: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait to be notified, at most ``timeout`` seconds; False when they are over."""
        ...

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Wait until the predicate holds, at most ``timeout`` seconds; its last value."""
        ...

    def notify(self, n: int = 1) -> None:
        """Wake one who waits, or more."""
        ...

    def notify_all(self) -> None:
        """Wake all who wait."""
        ...


class Event(Protocol):
    """As :class:`threading.Event`."""

    def is_set(self) -> bool:
        """Whether it has happened."""
        ...

    def set(self) -> None:
        """Let it happen."""
        ...

    def clear(self) -> None:
        """Take it back."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most ``timeout`` seconds; whether it has happened."""
        ...


class Thread(Protocol):
    """As :class:`threading.Thread`."""

    def start(self) -> None:
        """Begin."""
        ...

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, at most ``timeout`` seconds."""
        ...

    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        ...


class World(Protocol):
    """What tells the time, and makes what one waits on."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes back."""
        ...

    def uniform(self) -> float:
        """A random number from 0 to 1, for pauses that must not be in step with those of others."""
        ...

    def lock(self) -> Lock:
        """A lock."""
        ...

    def rlock(self) -> Lock:
        """A lock that its owner may take again."""
        ...

    def condition(self, lock: Lock | None) -> Condition:
        """A condition, with a lock of its own or a shared one."""
        ...

    def event(self) -> Event:
        """An event that has not happened."""
        ...

    def thread(self, target: Callable[..., object], name: str, args: tuple[Any, ...]) -> Thread:
        """A thread that has not begun; it does not keep the process alive."""
        ...


class _RealWorld:
    """The standard library."""

    monotonic_ns: Final = staticmethod(time.monotonic_ns)
    uniform: Final = staticmethod(random.SystemRandom().random)
    lock: Final = staticmethod(threading.Lock)
    rlock: Final = staticmethod(threading.RLock)
    event: Final = staticmethod(threading.Event)

    def condition(self, lock: Lock | None) -> Condition:
        return threading.Condition(cast("threading.Lock | None", lock))

    def thread(self, target: Callable[..., object], name: str, args: tuple[Any, ...]) -> Thread:
        return threading.Thread(target=target, name=name, args=args, daemon=True)


_world: Final[ContextVar[World]] = ContextVar("world", default=_RealWorld())  # noqa: B039 - it has no state


@contextmanager
def living_in(world: World) -> Iterator[None]:
    """Have this thread live in a world as long as the block lasts; the threads that it starts are that world's."""
    token = _world.set(world)
    try:
        yield
    finally:
        _world.reset(token)


def monotonic() -> float:
    """Seconds on a clock that never goes back."""
    return _world.get().monotonic_ns() / 1e9


def monotonic_ns() -> int:
    """Nanoseconds on the same clock."""
    return _world.get().monotonic_ns()


def nanosecond_clock() -> Callable[[], int]:
    """The same clock for whoever looks very often and stays in this world: a function that tells the nanoseconds."""
    return _world.get().monotonic_ns


def uniform() -> float:
    """A random number from 0 to 1, for pauses that must not be in step with those of others."""
    return _world.get().uniform()


def lock() -> Lock:
    """A lock."""
    return _world.get().lock()


def rlock() -> Lock:
    """A lock that its owner may take again."""
    return _world.get().rlock()


def condition(lock: Lock | None = None) -> Condition:
    """A condition, with a lock of its own or one from :func:`lock`."""
    return _world.get().condition(lock)


def event() -> Event:
    """An event that has not happened."""
    return _world.get().event()


def thread(target: Callable[..., object], name: str, args: tuple[Any, ...] = ()) -> Thread:
    """A thread that has not begun; it does not keep the process alive."""
    return _world.get().thread(target, name, args)
