"""Simulated time for whole programs: threads that take turns, and a clock that jumps when all of them wait.

One thread runs at a time; it hands over when it waits. Time stands still while anybody can run, and jumps to the next deadline
when nobody can. Which of several threads goes on is drawn from a seed, so a run is the same every time, and other seeds try
other interleavings. Programs live in processes that can be killed at any moment in which they touch something shared: none
of their threads has an effect on the world from then on.
"""

import functools
import heapq
import itertools
import math
import random
import threading
from collections.abc import Callable
from typing import Final

from bridge.lab.campaign.task import Carrier, KilledError, Process, Task
from bridge.lab.campaign.whereabouts import whereabouts

NS_PER_S: Final = 1_000_000_000
_START_NS: Final = 1_000 * NS_PER_S
_NEVER: Final = 1 << 62
_LONGEST_STANDSTILL: Final = 500_000
"""So many steps without time going on are a loop that never ends."""


class StuckError(Exception):
    """The simulated world does not get on: everybody waits for ever, or time is up."""


class Scheduler:
    """Who runs, and what time it is. The thread that makes it takes part as ``main``.

    Args:
        seed: Decides who goes on where several could, and all random numbers.
        limit_s: How much simulated time there is.

    Attributes:
        failures: What threads died of, other than being killed.
    """

    def __init__(self, seed: int = 0, *, limit_s: float = 7 * 24 * 3600) -> None:
        self.failures: list[tuple[str, BaseException]] = []
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._now_ns = _START_NS
        self._limit_ns = _START_NS + int(limit_s * NS_PER_S)
        self._ready: list[Task] = []
        self._timers: list[tuple[int, int, Task, int]] = []
        self._order = itertools.count()
        self._standstill = 0
        self._stuck: str | None = None
        self._processes: list[Process] = []
        self._idle: list[Carrier] = []
        self._main = Task("main", self.process("main"), threading.Lock())
        self._main.baton.acquire()
        self._current = self._main

    def monotonic_ns(self) -> int:
        """Simulated time."""
        return self._now_ns

    def uniform(self) -> float:
        """A random number from 0 to 1."""
        return self._random.random()

    @property
    def elapsed_s(self) -> float:
        """Simulated seconds since the world began."""
        return (self._now_ns - _START_NS) / NS_PER_S

    # --- processes ------------------------------------------------------------------------------------------

    def process(self, name: str, kill_at_step: int | None = None) -> Process:
        """A new process without threads."""
        process = Process(name, kill_at_step)
        self._processes.append(process)
        return process

    def spawn(self, process: Process, name: str, target: Callable[[], object]) -> Task:
        """Begin a thread; it runs when whoever asks waits."""
        carrier = self._idle.pop() if self._idle else Carrier()
        task = Task(name, process, carrier.baton)
        process.tasks[task] = None
        carrier.life = functools.partial(self._live, carrier, task, target)
        task.waiting = True
        self.wake(task)
        return task

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does, and wait until its threads are gone."""
        self._die(process)
        self.wait_end(process)

    def kill_all(self) -> None:
        """End every process but the main thread's."""
        for process in self._processes:
            if process is not self._main.process:
                self.kill(process)

    def wait_end(self, process: Process) -> None:
        """Wait until a process has no thread any more; called by others.

        Raises:
            StuckError: The world does not get on.
        """
        while process.tasks:
            self.join(next(iter(process.tasks)))

    def sleep(self, seconds: float) -> None:
        """Let the running thread do nothing for a while."""
        self.enter()
        self.block(seconds)

    def join(self, task: Task, timeout: float | None = None) -> None:
        """Wait for the end of a thread."""
        if not task.done:
            waiting = self.enter()
            task.joining.append(waiting)
            self.block(timeout)
            if waiting in task.joining:
                task.joining.remove(waiting)

    def _die(self, process: Process) -> None:
        process.dead = True
        for task in process.tasks:
            if task is not self._current:
                self.wake(task)

    def dismiss(self) -> None:
        """Let go of the threads that nobody needs any more."""
        while self._idle:
            self._idle.pop().dismiss()

    def _live(self, carrier: Carrier, task: Task, target: Callable[[], object]) -> None:
        task.thread_id = threading.get_ident()
        try:
            target()
        except KilledError:
            pass
        except BaseException as error:  # noqa: BLE001 - reported by whoever runs the world
            if not task.process.dead:  # what a dying thread stumbles over is nobody's fault
                self.failures.append((task.name, error))
        task.done = True
        del task.process.tasks[task]
        for waiting in task.joining:
            self.wake(waiting)
        self._idle.append(carrier)
        following = self._next()
        self._current = following
        following.baton.release()

    def whereabouts(self) -> list[str]:
        """Where each thread waits, innermost call first; for a world that does not get on."""
        return whereabouts(self._processes)

    @property
    def current(self) -> Task:
        """The running thread."""
        return self._current

    # --- taking turns ---------------------------------------------------------------------------------------

    def enter(self) -> Task:
        """The running thread is about to touch something shared.

        Raises:
            KilledError: Its process is dead.
        """
        task = self._current
        process = task.process
        process.steps += 1
        if process.steps == process.kill_at_step:
            self._die(process)
        if process.dead:
            raise KilledError
        self._standstill += 1
        if self._standstill > _LONGEST_STANDSTILL:
            self._standstill = 0
            raise StuckError(f"{task.name} runs for ever without waiting for anything")
        return task

    def block(self, timeout: float | None, look: Callable[[], bool] | None = None) -> bool:
        """Let others run until somebody wakes the running thread, or for so many seconds.

        Args:
            timeout: Seconds; None for as long as it takes.
            look: What the thread does first of all when it goes on, done for it by whichever thread runs then: that saves the
                way there and back of one that only looks and waits again. Tells whether it has more to do; if not, it has
                called :meth:`wait_on`. It must not wait.

        Returns:
            Whether it was woken.

        Raises:
            KilledError: Its process died meanwhile.
            StuckError: In the main thread: nobody can go on, or time is up.
        """
        task = self._current
        if timeout is not None and not self._ready and self._jump(timeout):
            task.waits += 2  # as if it had begun and ended
            return False
        task.look = look
        self.wait_on(task, timeout)
        following = self._next()
        if following is not task:
            self._current = following
            following.baton.release()
            task.baton.acquire()
        task.waiting = False
        if task is self._main and self._stuck is not None:
            reason, self._stuck = self._stuck, None
            raise StuckError(reason)
        if task.process.dead:
            raise KilledError
        return task.woken

    def _jump(self, timeout: float) -> bool:
        """Let time go on to the end of the running thread's wait, if nothing comes before that."""
        until_ns = self._end_ns(timeout)
        timers = self._timers
        while timers and timers[0][2].waits != timers[0][3]:
            heapq.heappop(timers)
        if until_ns > self._limit_ns or (timers and timers[0][0] <= until_ns):
            return False
        if until_ns > self._now_ns:
            self._now_ns = until_ns
            self._standstill = 0
        return True

    def _end_ns(self, timeout: float) -> int:
        """When a wait ends; rounded up, so that a deadline that was waited for has passed."""
        return self._now_ns + max(0, math.ceil(timeout * NS_PER_S))

    def wait_on(self, task: Task, timeout: float | None) -> None:
        """Note that a thread waits."""
        task.waits += 1
        task.waiting = True
        task.woken = False
        if timeout is not None:
            heapq.heappush(self._timers, (self._end_ns(timeout), next(self._order), task, task.waits))

    def may_look_for(self, task: Task) -> bool:
        """Whether another thread may do for one what it does first when it goes on, were it its next step."""
        process = task.process
        return not (
            process.dead
            or task is self._main
            or process.steps + 1 == process.kill_at_step
            or self._standstill >= _LONGEST_STANDSTILL
        )

    def step_of(self, task: Task) -> None:
        """A thread touches something shared, for which :meth:`may_look_for` it."""
        task.process.steps += 1
        self._standstill += 1

    def wake(self, task: Task) -> None:
        """End a thread's wait."""
        if task.waiting and not task.woken:
            task.woken = True
            task.waits += 1
            self._ready.append(task)

    def _next(self) -> Task:
        ready = self._ready
        while True:
            task = self._one_of(ready) if ready else self._first_due()
            if task.look is None or task.look():
                task.look = None
                return task

    def _one_of(self, ready: list[Task]) -> Task:
        return ready.pop(self._random.randrange(len(ready)) if len(ready) > 1 else 0)

    def _first_due(self) -> Task:
        timers = self._timers
        while timers:
            at_ns, _, task, waits = heapq.heappop(timers)
            if task.waits != waits:
                continue
            if at_ns > self._now_ns:
                if at_ns > self._limit_ns:
                    return self._give_up("time is up")
                self._now_ns = at_ns
                self._standstill = 0
            task.waits += 1
            return task
        return self._give_up("everybody waits, and nothing will come")

    def _give_up(self, reason: str) -> Task:
        self._limit_ns = _NEVER  # what is cleaned up now may take its time
        self._stuck = reason
        return self._main
