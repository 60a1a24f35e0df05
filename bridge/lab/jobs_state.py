"""The tables behind the Jobs service, and what every change of an execution drags along.

A change can free the thing's queue head (notifications), end a job (COMPLETED), start a retry, and set or
stop timers. All of it happens here, inside one transaction under one lock; rules of who may ask for which
change live in :mod:`bridge.lab.jobs_store` (operators) and :mod:`bridge.lab.jobs_device` (devices). Source:
AWS IoT Developer Guide, "Jobs and job execution states" and "Jobs notifications".
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from bridge.lab.jobs_limits import CANCEL_STEP_TIMER
from bridge.lab.jobs_model import (
    Execution,
    ExecutionStatus,
    Job,
    JobsRejectedError,
    JobStatus,
    Notification,
    RejectionCode,
)

Clock = Callable[[], float]


class JobsState:
    """Things, jobs and executions; every access goes through :meth:`transaction`.

    Args:
        clock: Gives epoch seconds.
        notify_on_start: Whether ``notify`` also fires when an execution goes from QUEUED to IN_PROGRESS.
            AWS's guide contradicts itself there, so clients must bear both.
    """

    def __init__(self, clock: Clock, *, notify_on_start: bool) -> None:
        self.clock = clock
        self.things: dict[str, float] = {}
        self.jobs: dict[str, Job] = {}
        self._executions: dict[tuple[str, str], list[Execution]] = {}
        self._notify_on_start = notify_on_start
        self._lock = threading.RLock()
        self._sequence = 0
        self._pending_before: dict[str, tuple[Execution, ...]] = {}
        self._notifications: deque[Notification] = deque()
        self.listener: Callable[[], None] = lambda: None

    @contextmanager
    def transaction(self) -> Iterator[float]:
        """Hold the lock, let due timers run out first, and tell the listener afterwards; gives the time.

        Callers validate before they change anything, so that a rejection leaves no trace.
        """
        try:
            with self._lock:
                now = self.clock()
                self._expire(now)
                try:
                    yield now
                finally:
                    self._collect_notifications()
        finally:
            if self._notifications:
                self.listener()

    def take_notifications(self) -> list[Notification]:
        """Give and forget the notifications collected so far, in order."""
        with self._lock:
            taken = list(self._notifications)
            self._notifications.clear()
            return taken

    def next_deadline(self) -> float | None:
        """Epoch second of the earliest timer, or None when none runs."""
        with self._lock:
            deadlines = (execution.deadline for execution in self.all_current())
            return min((at for at in deadlines if at is not None), default=None)

    def job(self, job_id: str) -> Job:
        """Find a job or raise ResourceNotFound."""
        if (job := self.jobs.get(job_id)) is None:
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no job {job_id}")
        return job

    def require_thing(self, thing_name: str) -> None:
        """Raise ResourceNotFound for a thing that is not registered."""
        if thing_name not in self.things:
            raise JobsRejectedError(RejectionCode.RESOURCE_NOT_FOUND, f"there is no thing {thing_name}")

    def execution(self, thing_name: str, job_id: str, number: int | None = None) -> Execution:
        """Find an execution (the latest unless numbered) or raise ResourceNotFound."""
        for execution in reversed(self._executions.get((thing_name, job_id), ())):
            if number in {None, execution.execution_number}:
                return execution
        raise JobsRejectedError(
            RejectionCode.RESOURCE_NOT_FOUND, f"there is no execution of job {job_id} on thing {thing_name}"
        )

    def executions_of_job(self, job_id: str) -> list[Execution]:
        """All executions of a job, retries included, in order of creation."""
        found = [one for (_, owner), many in self._executions.items() if owner == job_id for one in many]
        return sorted(found, key=lambda execution: execution.sequence)

    def executions_of_thing(self, thing_name: str) -> list[Execution]:
        """All executions on a thing, retries included, in order of creation."""
        found = [one for (owner, _), many in self._executions.items() if owner == thing_name for one in many]
        return sorted(found, key=lambda execution: execution.sequence)

    def all_current(self) -> list[Execution]:
        """The latest execution of every job on every thing."""
        return [many[-1] for many in self._executions.values()]

    def pending(self, thing_name: str) -> tuple[Execution, ...]:
        """Executions that are not terminal, in the order in which a device gets them."""
        waiting = [one for one in self.executions_of_thing(thing_name) if not one.status.terminal]
        return tuple(sorted(waiting, key=lambda one: (one.status is ExecutionStatus.QUEUED, one.sequence)))

    def enqueue(self, thing_name: str, job_id: str, now: float, *, retry_attempt: int = 0) -> Execution:
        """Queue a job on a thing."""
        self._touch(thing_name)
        self._sequence += 1
        many = self._executions.setdefault((thing_name, job_id), [])
        number = many[-1].execution_number + 1 if many else 1
        many.append(
            Execution(job_id, thing_name, number, self._sequence, now, now, retry_attempt=retry_attempt)
        )
        return many[-1]

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
        many = self._executions[old.thing_name, old.job_id]
        many[many.index(old)] = new
        if status.terminal and not old.status.terminal:
            self._after_end(new, now)
        return new

    def forget_execution(self, execution: Execution) -> None:
        """Remove an execution without a trace."""
        self._touch(execution.thing_name)
        key = (execution.thing_name, execution.job_id)
        self._executions[key].remove(execution)
        if not self._executions[key]:
            del self._executions[key]

    def complete_if_done(self, job_id: str, now: float) -> None:
        """Make a running job COMPLETED when nothing of it is pending any more."""
        job = self.jobs.get(job_id)
        if job is None or job.status is not JobStatus.IN_PROGRESS:
            return
        if all(execution.status.terminal for execution in self.executions_of_job(job_id)):
            self.jobs[job_id] = replace(
                job, status=JobStatus.COMPLETED, completed_at=now, last_updated_at=now
            )

    def _run_timers(self, new: Execution, now: float, step_timeout_minutes: int | None) -> Execution:
        if new.started_at is None:
            limit = self.jobs[new.job_id].in_progress_timeout_minutes
            new = replace(new, started_at=now, job_deadline=now + limit * 60 if limit else None)
        if step_timeout_minutes == CANCEL_STEP_TIMER:
            return replace(new, step_deadline=None)
        if step_timeout_minutes is not None:
            return replace(new, step_deadline=now + step_timeout_minutes * 60)
        return new

    def _after_end(self, ended: Execution, now: float) -> None:
        job = self.jobs.get(ended.job_id)
        if job is not None and job.status is JobStatus.IN_PROGRESS and self._may_retry(job, ended):
            self.enqueue(ended.thing_name, ended.job_id, now, retry_attempt=ended.retry_attempt + 1)
        self.complete_if_done(ended.job_id, now)

    def _may_retry(self, job: Job, ended: Execution) -> bool:
        retryable = {ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT}
        if ended.status not in retryable:
            return False
        for criterion in job.retry_criteria:
            counted = (
                retryable if criterion.failure_type == "ALL" else {ExecutionStatus(criterion.failure_type)}
            )
            runs = self._executions[ended.thing_name, ended.job_id]
            if ended.status in counted:
                return sum(run.status in counted for run in runs) <= criterion.number_of_retries
        return False

    def _expire(self, now: float) -> None:
        for execution in self.all_current():
            if execution.deadline is not None and execution.deadline <= now:
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
