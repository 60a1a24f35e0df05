"""The Jobs service's store as an operator sees it: things, jobs, cancel, delete, and the clock's turn.

No I/O but to the database, if it has one: the clock is injected, notifications wait until somebody takes them. Source:
botocore's ``iot`` model and its documentation texts (CreateJob, UpdateJob, AssociateTargetsWithJob, CancelJob, DeleteJob,
CancelJobExecution).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge.lab import jobs_lifecycle
from bridge.lab.aws_shapes import service
from bridge.lab.jobs_creation import JobOrder, check_targets, create
from bridge.lab.jobs_database import JobsDatabase
from bridge.lab.jobs_device import DevicePlane
from bridge.lab.jobs_document import Presigner
from bridge.lab.jobs_executions import ExecutionsPlane
from bridge.lab.jobs_faults import JobsFaults
from bridge.lab.jobs_groups import GroupsPlane
from bridge.lab.jobs_limits import (
    check_document,
    check_job_id,
    check_settings,
    check_thing_name,
    invalid,
)
from bridge.lab.jobs_membership import offer, withdraw
from bridge.lab.jobs_model import (
    GROUP_PREFIX,
    ExecutionStatus,
    Job,
    JobsRejectedError,
    JobStatus,
    Notification,
    RejectionCode,
)
from bridge.lab.jobs_settings import JobSettings, RetryCriterion
from bridge.lab.jobs_state import Clock, JobsState
from bridge.lab.jobs_tags import TagsPlane


class JobsStore(ExecutionsPlane):
    """Jobs and executions, for one thing or many; thread-safe.

    Args:
        clock: Gives epoch seconds.
        presigner: Turns the URL of a ``${aws:iot:s3-presigned-url:…}`` placeholder into one that opens;
            without it the placeholders stay.
        notify_on_start: Whether ``notify`` also fires on QUEUED to IN_PROGRESS (AWS's guide says both).

    Attributes:
        device: What a device may do.
        groups: Thing groups.
        tags: Tags of jobs and groups.
        faults: What goes wrong on purpose.
    """

    def __init__(
        self, *, clock: Clock = time.time, presigner: Presigner | None = None, notify_on_start: bool = True
    ) -> None:
        super().__init__(JobsState(clock, notify_on_start=notify_on_start))
        self.faults: Final = JobsFaults()
        self.device: Final = DevicePlane(self._state, presigner)
        self.groups: Final = GroupsPlane(self._state)
        self.tags: Final = TagsPlane(self._state)

    @contextmanager
    def kept_in(self, file: Path) -> Iterator[None]:
        """Take up what a file holds, and write every change to it until the end of the block.

        Raises:
            UsageError: Another process has the file, or it cannot be used (``jobs-database``).
        """
        with JobsDatabase(file) as database:
            with self._state.lock:
                database.load(self._tables)
                self._state.ledger = database
            try:
                yield
            finally:
                with self._state.lock:
                    self._state.ledger = None

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
            if check_thing_name(thing_name) not in self._tables.things:
                self._tables.put_thing(thing_name, now)

    def remove_thing(self, thing_name: str) -> None:
        """Unregister a thing; its pending executions become REMOVED."""
        with self._state.transaction() as now:
            self._tables.require_thing(thing_name)
            self._tables.drop_thing(thing_name)
            for job in list(self._tables.jobs.values()):
                withdraw(self._state, job, thing_name, now)
            for execution in self._state.pending(thing_name):
                self._state.change(execution, ExecutionStatus.REMOVED, now)

    def require_thing(self, thing_name: str) -> None:
        """Raise ResourceNotFound for a thing that is not registered."""
        with self._state.transaction():
            self._tables.require_thing(thing_name)

    @property
    def things(self) -> tuple[str, ...]:
        """Names of all registered things."""
        with self._state.transaction():
            return tuple(self._tables.things)

    def create_job(
        self,
        job_id: str,
        things: str | Iterable[str],
        document: object,
        *,
        groups: Iterable[str] = (),
        continuous: bool = False,
        description: str = "",
        in_progress_timeout_minutes: int | None = None,
        retry_criteria: Iterable[RetryCriterion] = (),
        presigned_expires_in_s: int | None = None,
        settings: JobSettings | None = None,
        document_source: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Job:
        """Create a job and queue it on each thing, as fast as its rollout rate allows.

        Args:
            job_id: 1 to 64 letters, digits, ``-`` or ``_``.
            things: Name(s) of registered things.
            document: What devices get: JSON-able data, or its JSON text; at most 32768 characters.
            groups: Names of thing groups, whose things get the job, too.
            continuous: Things that come into the groups later also get it.
            description: Free text.
            in_progress_timeout_minutes: Time from start to TIMED_OUT.
            retry_criteria: When an execution that ended badly is queued again.
            presigned_expires_in_s: Life of minted URLs, 60 to 3600.
            settings: The last three and more: rollout, abort criteria, schedule; instead of them.
            document_source: Where the document came from.
            tags: Tags of the job.

        Raises:
            JobsRejectedError: InvalidRequest, ResourceNotFound (a thing or group), ResourceAlreadyExists (the id) or
                LimitExceeded (targets).
        """
        names = (things,) if isinstance(things, str) else tuple(things)
        own = JobSettings(
            in_progress_timeout_minutes, presigned_expires_in_s, retry_criteria=tuple(retry_criteria)
        )
        order = JobOrder(
            job_id=check_job_id(job_id),
            targets=check_targets([*map(check_thing_name, names), *(GROUP_PREFIX + one for one in groups)]),
            document_text=check_document(document),
            description=description,
            continuous=continuous,
            settings=check_settings(settings or own),
            document_source=document_source,
            tags=tags or {},
        )
        with self._state.transaction() as now:
            return create(self._state, order, self.groups.resolve(order.targets), now)

    def update_job(
        self, job_id: str, *, description: str | None = None, settings: JobSettings | None = None
    ) -> Job:
        """Change what may be changed of a job that has not ended; executions that run keep their timers.

        Raises:
            JobsRejectedError: ResourceNotFound or InvalidRequest.
        """
        new = None if settings is None else check_settings(settings)
        with self._state.transaction() as now:
            job = self._tables.job(job_id)
            if job.status in {JobStatus.COMPLETED, JobStatus.CANCELED}:
                raise invalid(f"job {job_id} is {job.status} and cannot be changed")
            retries = () if new is None else new.retry_criteria
            if retries != job.settings.retry_criteria and any(one.number_of_retries for one in retries):
                raise invalid("the number of retries of a job can only be set to 0")
            return self._tables.put_job(
                replace(
                    job,
                    description=job.description if description is None else description,
                    settings=new or job.settings,
                    last_updated_at=now,
                )
            )

    def associate_targets(self, job_id: str, groups: Iterable[str], *, comment: str | None = None) -> Job:
        """Give a continuous job to more groups.

        Raises:
            JobsRejectedError: ResourceNotFound, InvalidRequest (not continuous, not in progress) or LimitExceeded.
        """
        with self._state.transaction() as now:
            job = self._tables.job(job_id)
            if not job.continuous or job.status is not JobStatus.IN_PROGRESS:
                raise invalid(
                    f"job {job_id} is {job.status} and {'' if job.continuous else 'not '}continuous"
                )
            added = tuple(GROUP_PREFIX + one for one in groups)
            reached = self.groups.resolve(added)
            targets = tuple(dict.fromkeys([*job.targets, *added]))
            check_targets(targets)
            job = replace(job, targets=targets, comment=comment or job.comment, last_updated_at=now)
            self._tables.put_job(job)
            for thing in reached:
                offer(self._state, self._tables.job(job_id), thing, now)
            return self._tables.job(job_id)

    def describe_job(self, job_id: str) -> Job:
        """Give a job as it stands."""
        with self._state.transaction():
            return self._tables.job(job_id)

    def list_jobs(self, *, status: JobStatus | None = None) -> list[Job]:
        """Give all jobs, newest first."""
        with self._state.transaction():
            return [job for job in reversed(self._tables.jobs.values()) if status in {None, job.status}]

    def cancel_job(
        self, job_id: str, *, force: bool = False, reason_code: str | None = None, comment: str | None = None
    ) -> Job:
        """Cancel a job: its queued executions become CANCELED, with ``force`` also those in progress."""
        service("iot").check(
            "CancelJobRequest", {"jobId": job_id, "reasonCode": reason_code, "comment": comment}, ""
        )
        with self._state.transaction() as now:
            job = self._tables.job(job_id)
            if job.status is JobStatus.COMPLETED:
                raise invalid(f"job {job_id} is COMPLETED and cannot be cancelled")
            return jobs_lifecycle.cancel(
                self._state, job, now, force=force, reason_code=reason_code, comment=comment
            )

    def delete_job(self, job_id: str, *, force: bool = False) -> None:
        """Delete a job and its executions; one that has not ended only with ``force``."""
        with self._state.transaction():
            job = self._tables.job(job_id)
            if job.status in {JobStatus.IN_PROGRESS, JobStatus.SCHEDULED} and not force:
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION,
                    f"job {job_id} is {job.status}; deleting it needs force",
                )
            for execution in self._tables.executions_of_job(job_id):
                self._state.forget_execution(execution)
            self._tables.drop_job(job_id)
