"""What a job and a job execution are: values and their states.

Source: AWS IoT Developer Guide, "Jobs and job execution states", and the service models ``iot`` and
``iot-jobs-data`` shipped with botocore.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from bridge.errors import CloudError


class ExecutionStatus(StrEnum):
    """Status of one job on one thing."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    REJECTED = "REJECTED"
    REMOVED = "REMOVED"
    CANCELED = "CANCELED"

    @property
    def terminal(self) -> bool:
        """Whether nothing can follow."""
        return self not in {ExecutionStatus.QUEUED, ExecutionStatus.IN_PROGRESS}


DEVICE_STATUSES: Final = frozenset(
    {ExecutionStatus.IN_PROGRESS, ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED, ExecutionStatus.REJECTED}
)
"""What a device may set; all else belongs to the service."""


class JobStatus(StrEnum):
    """Status of a job over all its things."""

    IN_PROGRESS = "IN_PROGRESS"
    CANCELED = "CANCELED"
    COMPLETED = "COMPLETED"


class RejectionCode(StrEnum):
    """Error codes; the first nine are what a device reads in a ``rejected`` message."""

    INVALID_TOPIC = "InvalidTopic"
    INVALID_JSON = "InvalidJson"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_STATE_TRANSITION = "InvalidStateTransition"
    RESOURCE_NOT_FOUND = "ResourceNotFound"
    VERSION_MISMATCH = "VersionMismatch"
    INTERNAL_ERROR = "InternalError"
    REQUEST_THROTTLED = "RequestThrottled"
    TERMINAL_STATE_REACHED = "TerminalStateReached"
    RESOURCE_ALREADY_EXISTS = "ResourceAlreadyExists"


@dataclass(frozen=True)
class Execution:
    """One run of a job on one thing. Times are epoch seconds.

    Attributes:
        sequence: Place in the order of creation over all executions; the queue follows it. step_deadline:
            When the step timer runs out, if the device started one. job_deadline: When the job's in-progress
            timer runs out, if the job has one and the execution has started.
    """

    job_id: str
    thing_name: str
    execution_number: int
    sequence: int
    queued_at: float
    last_updated_at: float
    status: ExecutionStatus = ExecutionStatus.QUEUED
    version_number: int = 1
    status_details: Mapping[str, str] = field(default_factory=dict)
    started_at: float | None = None
    step_deadline: float | None = None
    job_deadline: float | None = None
    force_canceled: bool = False
    retry_attempt: int = 0

    @property
    def deadline(self) -> float | None:
        """When it times out: the earlier of both timers, only while in progress."""
        if self.status is not ExecutionStatus.IN_PROGRESS:
            return None
        return min((at for at in (self.step_deadline, self.job_deadline) if at is not None), default=None)


@dataclass(frozen=True)
class RetryCriterion:
    """How often an execution that ended so is queued again."""

    failure_type: Literal["FAILED", "TIMED_OUT", "ALL"]
    number_of_retries: int


@dataclass(frozen=True)
class Job:
    """A document and the things it is for. Times are epoch seconds."""

    job_id: str
    targets: tuple[str, ...]
    document_text: str
    created_at: float
    last_updated_at: float
    status: JobStatus = JobStatus.IN_PROGRESS
    description: str = ""
    in_progress_timeout_minutes: int | None = None
    retry_criteria: tuple[RetryCriterion, ...] = ()
    presigned_expires_in_s: int | None = None
    completed_at: float | None = None
    force_canceled: bool = False
    reason_code: str | None = None
    comment: str | None = None


@dataclass(frozen=True)
class Notification:
    """Something a thing must hear.

    Attributes:
        kind: ``notify`` (the set of pending executions changed) or ``notify-next`` (its head changed).
        pending: The pending executions at that moment, in queue order.
    """

    kind: Literal["notify", "notify-next"]
    thing_name: str
    pending: tuple[Execution, ...]


class JobsRejectedError(CloudError):
    """The Jobs service refused a request.

    Attributes:
        code: The service's error code.
        execution: The execution as it stands, for VersionMismatch and InvalidStateTransition.
    """

    default_reason = "jobs-rejected"

    def __init__(self, code: RejectionCode, message: str, *, execution: Execution | None = None) -> None:
        super().__init__(message, reason=_kebab(code.value))
        self.code = code
        self.execution = execution


def _kebab(camel: str) -> str:
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in camel).lstrip("-")
