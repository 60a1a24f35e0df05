"""A job execution as a value: one job on one thing, as the Jobs service described it last.

Source: AWS IoT Jobs, ``JobExecution`` and ``JobExecutionState`` of the ``iot-jobs-data`` service model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bridge.errors import CloudError


class JobStatus(StrEnum):
    """Status of a job execution; a device sets IN_PROGRESS, SUCCEEDED, FAILED and REJECTED only."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    REJECTED = "REJECTED"
    TIMED_OUT = "TIMED_OUT"
    REMOVED = "REMOVED"
    CANCELED = "CANCELED"

    @property
    def terminal(self) -> bool:
        """Whether the execution can never change again."""
        return self not in {JobStatus.QUEUED, JobStatus.IN_PROGRESS}


@dataclass(frozen=True)
class JobExecution:
    """One job on one thing.

    Attributes:
        job_id: Name of the job.
        execution_number: Tells a repeated execution of the same job on the same thing from the earlier ones.
        version_number: Goes up by one with each change; sent back as ``expectedVersion``.
        status: Where the execution stands.
        status_details: What was reported last.
        document: The job document as decoded JSON; text that is no JSON stays text; None when it was not
            sent.
        queued_at: Epoch second at which it was queued, if the service told; a job that is deleted and made again under
            its name has another one.
    """

    job_id: str
    execution_number: int
    version_number: int
    status: JobStatus
    status_details: dict[str, str] = field(default_factory=dict)
    document: object = field(default=None, repr=False)  # its URLs may be presigned
    queued_at: int | None = None


@dataclass(frozen=True)
class JobExecutionState:
    """The part of an execution that replies to an update carry."""

    status: JobStatus
    status_details: Mapping[str, str]
    version_number: int


TAKEN_OVER: Final = "taken-over"
"""Reason of a :class:`JobGoneError` when another client works the job now."""


class JobGoneError(CloudError):
    """The job execution is not ours to report on any more: cancelled, deleted, timed out, or ended.

    Attributes:
        execution: Its final state, when the service told; None when the execution does not exist (any more).
    """

    default_reason = "job-gone"

    def __init__(
        self,
        message: str,
        *,
        execution: JobExecution | None = None,
        reason: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.execution = execution
