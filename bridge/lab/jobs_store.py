"""The Jobs service's store as an operator sees it: things, jobs, cancel, delete, and the clock's turn.

No I/O: the clock is injected, notifications wait until somebody takes them. Jobs live in memory only. Source:
botocore's ``iot`` model and its documentation texts (CreateJob, CancelJob, DeleteJob, CancelJobExecution).
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from bridge.lab.jobs_device import DevicePlane
from bridge.lab.jobs_document import Presigner
from bridge.lab.jobs_limits import (
    check_details,
    check_document,
    check_job_id,
    check_job_timeout,
    check_thing_name,
    invalid,
)
from bridge.lab.jobs_model import (
    Execution,
    ExecutionStatus,
    Job,
    JobsRejectedError,
    JobStatus,
    Notification,
    RejectionCode,
    RetryCriterion,
)
from bridge.lab.jobs_state import Clock, JobsState

_REASON_CODE: Final = re.compile(r"[A-Z0-9_]{1,128}")


class JobsStore:
    """Jobs and executions, for one thing or many; thread-safe.

    Args:
        clock: Gives epoch seconds.
        presigner: Turns the URL of a ``${aws:iot:s3-presigned-url:…}`` placeholder into one that opens;
            without it the placeholders stay.
        notify_on_start: Whether ``notify`` also fires on QUEUED to IN_PROGRESS (AWS's guide says both).
    """

    def __init__(
        self, *, clock: Clock = time.time, presigner: Presigner | None = None, notify_on_start: bool = True
    ) -> None:
        self._state = JobsState(clock, notify_on_start=notify_on_start)
        self.device: Final = DevicePlane(self._state, presigner)

    def set_listener(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each change that left notifications to take; it must not block."""
        self._state.listener = listener

    def take_notifications(self) -> list[Notification]:
        """Give and forget what things must hear, in order."""
        return self._state.take_notifications()

    def next_deadline(self) -> float | None:
        """Epoch second at which :meth:`advance` has something to do, or None."""
        return self._state.next_deadline()

    def advance(self) -> None:
        """Let timers that are due run out: those executions become TIMED_OUT."""
        with self._state.transaction():
            pass

    def add_thing(self, thing_name: str) -> None:
        """Register a thing; one that is there already stays as it is."""
        with self._state.transaction() as now:
            self._state.things.setdefault(check_thing_name(thing_name), now)

    def remove_thing(self, thing_name: str) -> None:
        """Unregister a thing; its pending executions become REMOVED."""
        with self._state.transaction() as now:
            self._state.require_thing(thing_name)
            for execution in self._state.pending(thing_name):
                self._state.change(execution, ExecutionStatus.REMOVED, now)
            del self._state.things[thing_name]

    @property
    def things(self) -> tuple[str, ...]:
        """Names of all registered things."""
        with self._state.transaction():
            return tuple(self._state.things)

    def create_job(
        self,
        job_id: str,
        things: str | Iterable[str],
        document: object,
        *,
        description: str = "",
        in_progress_timeout_minutes: int | None = None,
        retry_criteria: Iterable[RetryCriterion] = (),
        presigned_expires_in_s: int | None = None,
    ) -> Job:
        """Create a job and queue it on each thing.

        Args:
            job_id: 1 to 64 letters, digits, ``-`` or ``_``.
            things: Name(s) of registered things.
            document: What devices get: JSON-able data, or its JSON text; at most 32768 characters.
            description: Free text.
            in_progress_timeout_minutes: Time from start to TIMED_OUT.
            retry_criteria: When an execution that ended badly is queued again.
            presigned_expires_in_s: Life of minted URLs, 60 to 3600.

        Raises:
            JobsRejectedError: InvalidRequest, ResourceNotFound (a thing) or ResourceAlreadyExists (the id).
        """
        targets = (things,) if isinstance(things, str) else tuple(dict.fromkeys(things))
        text, criteria = check_document(document), tuple(retry_criteria)
        check_job_timeout(in_progress_timeout_minutes)
        if presigned_expires_in_s is not None and not 60 <= presigned_expires_in_s <= 3600:
            raise invalid("a presigned URL lives 60 to 3600 seconds")
        if len(criteria) > 2 or any(not 0 <= one.number_of_retries <= 10 for one in criteria):
            raise invalid("at most two retry criteria with 0 to 10 retries each")
        if not targets:
            raise invalid("a job needs at least one target")
        with self._state.transaction() as now:
            for target in targets:
                self._state.require_thing(check_thing_name(target))
            if check_job_id(job_id) in self._state.jobs:
                raise JobsRejectedError(RejectionCode.RESOURCE_ALREADY_EXISTS, f"job {job_id} exists already")
            job = Job(
                job_id=job_id,
                targets=targets,
                document_text=text,
                created_at=now,
                last_updated_at=now,
                description=description,
                in_progress_timeout_minutes=in_progress_timeout_minutes,
                retry_criteria=criteria,
                presigned_expires_in_s=presigned_expires_in_s,
            )
            self._state.jobs[job_id] = job
            for target in targets:
                self._state.enqueue(target, job_id, now)
            return job

    def describe_job(self, job_id: str) -> Job:
        """Give a job as it stands."""
        with self._state.transaction():
            return self._state.job(job_id)

    def list_jobs(self, *, status: JobStatus | None = None) -> list[Job]:
        """Give all jobs, newest first."""
        with self._state.transaction():
            return [job for job in reversed(self._state.jobs.values()) if status in {None, job.status}]

    def cancel_job(
        self, job_id: str, *, force: bool = False, reason_code: str | None = None, comment: str | None = None
    ) -> Job:
        """Cancel a job: its queued executions become CANCELED, with ``force`` also those in progress."""
        if reason_code is not None and not _REASON_CODE.fullmatch(reason_code):
            raise invalid("a reason code is 1 to 128 capitals, digits or _")
        with self._state.transaction() as now:
            job = self._state.job(job_id)
            if job.status is JobStatus.COMPLETED:
                raise invalid(f"job {job_id} is COMPLETED and cannot be cancelled")
            self._state.jobs[job_id] = job = replace(
                job,
                status=JobStatus.CANCELED,
                force_canceled=force,
                reason_code=reason_code,
                comment=comment,
                last_updated_at=now,
                completed_at=now,
            )
            for execution in self._state.executions_of_job(job_id):
                if execution.status is ExecutionStatus.QUEUED or (force and not execution.status.terminal):
                    self._state.change(execution, ExecutionStatus.CANCELED, now, forced=force)
            return job

    def delete_job(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job and its executions; one that still runs only with ``force``."""
        with self._state.transaction():
            job = self._state.job(job_id)
            if job.status is JobStatus.IN_PROGRESS and not force:
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION,
                    f"job {job_id} is IN_PROGRESS; deleting it needs force",
                )
            del self._state.jobs[job_id]
            for execution in self._state.executions_of_job(job_id):
                self._state.forget_execution(execution)

    def describe_execution(self, job_id: str, thing_name: str, *, number: int | None = None) -> Execution:
        """Give an execution as it stands, terminal or not (the latest unless numbered)."""
        with self._state.transaction():
            return self._state.execution(thing_name, job_id, number)

    def list_executions(self, job_id: str, *, status: ExecutionStatus | None = None) -> list[Execution]:
        """Give all executions of a job, retries included."""
        with self._state.transaction():
            self._state.job(job_id)
            found = self._state.executions_of_job(job_id)
        return [execution for execution in found if status in {None, execution.status}]

    def list_thing_executions(self, thing_name: str) -> list[Execution]:
        """Give all executions on a thing, retries included."""
        with self._state.transaction():
            self._state.require_thing(thing_name)
            return self._state.executions_of_thing(thing_name)

    def cancel_execution(
        self,
        job_id: str,
        thing_name: str,
        *,
        force: bool = False,
        expected_version: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Execution:
        """Cancel one execution; one in progress only with ``force``."""
        new_details = check_details(details)
        with self._state.transaction() as now:
            execution = self._state.execution(thing_name, job_id)
            if expected_version not in {None, execution.version_number}:
                raise JobsRejectedError(
                    RejectionCode.VERSION_MISMATCH,
                    f"expected version {expected_version}, not {execution.version_number}",
                    execution=execution,
                )
            if execution.status.terminal or (execution.status is ExecutionStatus.IN_PROGRESS and not force):
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION,
                    f"job {job_id} is {execution.status} on {thing_name}",
                    execution=execution,
                )
            return self._state.change(
                execution, ExecutionStatus.CANCELED, now, details=new_details, forced=force
            )

    def delete_execution(self, job_id: str, thing_name: str, number: int, *, force: bool = False) -> None:
        """Delete one execution; one that is not terminal only with ``force``."""
        with self._state.transaction() as now:
            execution = self._state.execution(thing_name, job_id, number)
            if not execution.status.terminal and not force:
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION, f"job {job_id} is {execution.status}; needs force"
                )
            self._state.forget_execution(execution)
            self._state.complete_if_done(job_id, now)
