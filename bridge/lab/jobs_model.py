"""What a job and a job execution are: values and their states.

Source: AWS IoT Developer Guide, "Jobs and job execution states", and the service models ``iot`` and
``iot-jobs-data`` shipped with botocore.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from bridge.errors import CloudError
from bridge.lab.jobs_settings import JobSettings, Schedule

GROUP_PREFIX: Final = "thinggroup/"
"""Begins the target that is a group; no thing's name has a slash."""


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

    SCHEDULED = "SCHEDULED"
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
    VERSION_CONFLICT = "VersionConflict"
    LIMIT_EXCEEDED = "LimitExceeded"


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
class Job:
    """A document and the things it is for. Times are epoch seconds.

    Attributes:
        serial: Place in the order of creation over all jobs.
        targets: Names of things, and groups as ``thinggroup/NAME``.
        continuous: Things that come into a target group later get the job, too.
        document_source: Where the document came from, if not from the request.
        waiting: Things that do not have their execution yet, in the order in which they get it.
        notified: How many things got it by the rollout.
        window_ends_at: When the next things get it.
        ended: The schedule's end is past: no more things get the job.
    """

    job_id: str
    serial: int
    targets: tuple[str, ...]
    document_text: str
    created_at: float
    last_updated_at: float
    status: JobStatus = JobStatus.IN_PROGRESS
    description: str = ""
    continuous: bool = False
    settings: JobSettings = field(default_factory=JobSettings)
    document_source: str | None = None
    completed_at: float | None = None
    force_canceled: bool = False
    reason_code: str | None = None
    comment: str | None = None
    waiting: tuple[str, ...] = ()
    notified: int = 0
    window_ends_at: float | None = None
    ended: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups among the targets."""
        return tuple(one.removeprefix(GROUP_PREFIX) for one in self.targets if one.startswith(GROUP_PREFIX))

    @property
    def next_turn(self) -> float | None:
        """When time alone changes the job: its schedule begins or ends, or the next things get it."""
        schedule = self.settings.schedule or Schedule()
        if self.status is JobStatus.SCHEDULED:
            return schedule.start_at
        if self.status is not JobStatus.IN_PROGRESS or self.ended:
            return None
        window = self.window_ends_at if self.waiting else None
        return min((at for at in (window, schedule.end_at) if at is not None), default=None)


@dataclass(frozen=True)
class ThingGroup:
    """A static thing group. Times are epoch seconds."""

    name: str
    group_id: str
    created_at: float
    parent: str | None = None
    description: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


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
