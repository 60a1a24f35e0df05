"""Transactions over the tables, and what every change of an execution drags along.

A change can free the thing's queue head (notifications), end or abort a job, start a retry, and set or stop timers. All of it
happens here, inside one transaction under one lock; rules of who may ask for which change live in :mod:`bridge.lab.jobs_store`
(operators) and :mod:`bridge.lab.jobs_device` (devices). Source: AWS IoT Developer Guide, "Jobs and job execution states" and
"Jobs notifications".
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from bridge.lab import jobs_lifecycle
from bridge.lab.jobs_limits import CANCEL_STEP_TIMER
from bridge.lab.jobs_model import Execution, ExecutionStatus, Notification
from bridge.lab.jobs_tables import JobsTables

Clock = Callable[[], float]


class Ledger(Protocol):
    """Where changes survive."""

    def save(self, tables: JobsTables) -> None:
        """Write what ``tables.changed`` names, all of it or nothing, and clear it."""
        ...


class JobsState:
    """Everything under one lock; every access goes through :meth:`transaction`.

    Args:
        clock: Gives epoch seconds.
        notify_on_start: Whether ``notify`` also fires when an execution goes from QUEUED to IN_PROGRESS.
            AWS's guide contradicts itself there, so clients must bear both.
    """

    def __init__(self, clock: Clock, *, notify_on_start: bool) -> None:
        self.clock = clock
        self.tables = JobsTables()
        self.ledger: Ledger | None = None
        self.lock = threading.RLock()
        self._notify_on_start = notify_on_start
        self._pending_before: dict[str, tuple[Execution, ...]] = {}
        self._notifications: deque[Notification] = deque()
        self.listener: Callable[[], None] = lambda: None

    @contextmanager
    def transaction(self) -> Iterator[float]:
        """Hold the lock, let due timers run out first, keep the changes, tell the listener; gives the time.

        Callers validate before they change anything, so that a rejection leaves no trace.
        """
        try:
            with self.lock:
                now = self.clock()
                self._let_time_pass(now)
                try:
                    yield now
                finally:
                    self._collect_notifications()
                    self._keep()
        finally:
            if self._notifications:
                self.listener()

    def _keep(self) -> None:
        if self.ledger is None:
            self.tables.changed.clear()
        elif self.tables.changed:
            self.ledger.save(self.tables)

    def take_notifications(self) -> list[Notification]:
        """Give and forget the notifications collected so far, in order."""
        with self.lock:
            taken = list(self._notifications)
            self._notifications.clear()
            return taken

    def next_deadline(self) -> float | None:
        """Epoch second of the earliest timer, or None when none runs."""
        with self.lock:
            return self.tables.timers.next()

    def pending(self, thing_name: str) -> tuple[Execution, ...]:
        """Executions that are not terminal, in the order in which a device gets them."""
        waiting = [one for one in self.tables.executions_of_thing(thing_name) if not one.status.terminal]
        return tuple(sorted(waiting, key=lambda one: (one.status is ExecutionStatus.QUEUED, one.sequence)))

    def enqueue(self, thing_name: str, job_id: str, now: float, *, retry_attempt: int = 0) -> Execution:
        """Queue a job on a thing."""
        self._touch(thing_name)
        many = self.tables.runs(thing_name, job_id)
        number = many[-1].execution_number + 1 if many else 1
        sequence = self.tables.next_number()
        new = Execution(job_id, thing_name, number, sequence, now, now, retry_attempt=retry_attempt)
        self.tables.put_execution(new)
        return new

    def change(
        self,
        old: Execution,
        status: ExecutionStatus,
        now: float,
        *,
        details: Mapping[str, str] | None = None,
        step_timeout_minutes: int | None = None,
        forced: bool = False,
    ) -> Execution:
        """Change an execution, with everything that follows from it."""
        self._touch(old.thing_name)
        new = replace(
            old,
            status=status,
            version_number=old.version_number + 1,
            last_updated_at=now,
            force_canceled=forced,
            status_details=old.status_details if details is None else dict(details),
        )
        if status is ExecutionStatus.IN_PROGRESS:
            new = self._run_timers(new, now, step_timeout_minutes)
        self.tables.put_execution(new)
        if status.terminal and not old.status.terminal:
            jobs_lifecycle.after_end(self, new, now)
        return new

    def forget_execution(self, execution: Execution) -> None:
        """Remove an execution without a trace."""
        self._touch(execution.thing_name)
        self.tables.drop_execution(execution)

    def _run_timers(self, new: Execution, now: float, step_timeout_minutes: int | None) -> Execution:
        if new.started_at is None:
            limit = self.tables.jobs[new.job_id].settings.in_progress_timeout_minutes
            new = replace(new, started_at=now, job_deadline=now + limit * 60 if limit else None)
        if step_timeout_minutes == CANCEL_STEP_TIMER:
            return replace(new, step_deadline=None)
        if step_timeout_minutes is not None:
            return replace(new, step_deadline=now + step_timeout_minutes * 60)
        return new

    def _let_time_pass(self, now: float) -> None:
        due = []
        while (key := self.tables.timers.pop_due(now)) is not None:
            due.append(key)
        for one in due:
            if isinstance(one, str):
                jobs_lifecycle.take_turn(self, self.tables.job(one), now)
                continue
            execution = self.tables.execution(*one)
            if not execution.status.terminal:  # an abort by another one's timeout may have ended it
                self.change(execution, ExecutionStatus.TIMED_OUT, now)

    def _touch(self, thing_name: str) -> None:
        if thing_name not in self._pending_before:
            self._pending_before[thing_name] = self.pending(thing_name)

    def _collect_notifications(self) -> None:
        for thing_name, before in self._pending_before.items():
            after = self.pending(thing_name)
            if set(map(self._listed_as, before)) != set(map(self._listed_as, after)):
                self._notifications.append(Notification("notify", thing_name, after))
            if [*map(_key, before[:1])] != [*map(_key, after[:1])]:
                self._notifications.append(Notification("notify-next", thing_name, after))
        self._pending_before.clear()

    def _listed_as(self, execution: Execution) -> tuple[object, ...]:
        return (*_key(execution), execution.status if self._notify_on_start else None)


def _key(execution: Execution) -> tuple[str, int]:
    return execution.job_id, execution.execution_number
