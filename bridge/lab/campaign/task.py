"""What takes turns in a simulated world: its processes and their threads, and the real threads that carry those."""

import threading
from collections.abc import Callable


class KilledError(BaseException):
    """The process of the running thread is dead; unwinds the thread, and nothing may hold it up."""


class Process:
    """Threads that die together.

    Attributes:
        name: For people.
        dead: Its threads have no effect any more.
        steps: How often its threads have touched something shared.
        kill_at_step: The step at which it dies; None for never.
    """

    def __init__(self, name: str, kill_at_step: int | None = None) -> None:
        self.name = name
        self.dead = False
        self.steps = 0
        self.kill_at_step = kill_at_step
        self.tasks: dict[Task, None] = {}


class Carrier:
    """A thread of the real world that carries one of the simulated world, and another one after that."""

    def __init__(self) -> None:
        self.baton = threading.Lock()
        self.baton.acquire()
        self.life: Callable[[], None] | None = None
        self.thread = threading.Thread(target=self._run, name="simulated", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            self.baton.acquire()
            if self.life is None:
                return
            self.life()

    def dismiss(self) -> None:
        """End it, idle as it is."""
        self.life = None
        self.baton.release()
        self.thread.join()


class Task:
    """One thread of the simulated world; who has its baton runs."""

    def __init__(self, name: str, process: Process, baton: threading.Lock) -> None:
        self.name = name
        self.process = process
        self.baton = baton
        self.waits = 0
        self.waiting = False
        self.woken = False
        self.done = False
        self.joining: list[Task] = []
        self.thread_id: int | None = None
        self.look: Callable[[], bool] | None = None
