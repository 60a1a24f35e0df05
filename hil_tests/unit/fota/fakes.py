"""A Jobs service reduced to what the reporter and the agent ask of it; scripted, in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bridge.cloud import JobExecution, JobGoneError, JobStatus
from bridge.errors import CloudError


def job_execution(
    job_id: str = "job-1",
    *,
    status: JobStatus = JobStatus.QUEUED,
    details: Mapping[str, str] | None = None,
    document: object = None,
) -> JobExecution:
    """An execution as the service would describe it."""
    return JobExecution(
        job_id=job_id,
        execution_number=1,
        version_number=1,
        status=status,
        status_details=dict(details or {}),
        document=document,
    )


@dataclass
class FakeJobs:
    """Keeps one execution, records every update, and fails on request.

    Attributes:
        execution: The execution at the head of the queue; None for an empty queue.
        updates: Every status and its details that were accepted.
        outages: So many of the next requests fail with a CloudError.
        cancel_on: Status details' stage at whose report the job turns out to be cancelled.
    """

    execution: JobExecution | None
    updates: list[tuple[JobStatus, dict[str, str]]] = field(default_factory=list)
    outages: int = 0
    cancel_on: str | None = None
    reported: threading.Condition = field(default_factory=threading.Condition)
    _changing: threading.RLock = field(default_factory=threading.RLock)

    def end(self, status: JobStatus) -> None:
        """Somebody else ends the job."""
        with self._changing:
            assert self.execution is not None
            self.execution = replace(self.execution, status=status)

    def next_job(self) -> JobExecution | None:
        self._maybe_fail()
        return self.execution

    def wait_for_job_change(self, timeout_s: float) -> bool:
        return True

    def wake(self) -> None:
        pass

    def describe(self, job_id: str) -> JobExecution:
        self._maybe_fail()
        assert self.execution is not None
        return self.execution

    def update(
        self,
        execution: JobExecution,
        status: JobStatus,
        details: Mapping[str, str],
        *,
        step_timeout_minutes: int | None = None,
        exclusive: bool = False,
    ) -> JobExecution:
        self._maybe_fail()
        with self._changing:
            return self._update(status, details)

    def _update(self, status: JobStatus, details: Mapping[str, str]) -> JobExecution:
        assert self.execution is not None
        if self.cancel_on is not None and details.get("stage") == self.cancel_on:
            self.execution = replace(self.execution, status=JobStatus.CANCELED)
        if self.execution.status not in {JobStatus.QUEUED, JobStatus.IN_PROGRESS}:
            raise JobGoneError(f"the job is {self.execution.status}", execution=self.execution)
        self.execution = replace(
            self.execution,
            status=status,
            status_details=dict(details),
            version_number=self.execution.version_number + 1,
        )
        with self.reported:
            self.updates.append((status, dict(details)))
            self.reported.notify_all()
        taken = self.execution
        if status is not JobStatus.IN_PROGRESS:
            self.execution = None
        return taken

    def has_taken(
        self, job_id: str, execution_number: int, status: JobStatus, details: Mapping[str, str]
    ) -> bool:
        self._maybe_fail()
        return bool(self.updates) and self.updates[-1] == (status, dict(details))

    def _maybe_fail(self) -> None:
        if self.outages:
            self.outages -= 1
            raise CloudError("the broker cannot be reached")
