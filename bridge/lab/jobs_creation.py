"""A new job: its targets, and how it begins. Source: CreateJob of botocore's ``iot`` model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge.lab import jobs_lifecycle
from bridge.lab.jobs_limits import MAX_TARGETS, invalid
from bridge.lab.jobs_model import Job, JobsRejectedError, JobStatus, RejectionCode
from bridge.lab.jobs_settings import JobSettings
from bridge.lab.jobs_state import JobsState


@dataclass(frozen=True)
class JobOrder:
    """What an operator asks for, checked; see :class:`bridge.lab.jobs_model.Job`."""

    job_id: str
    targets: tuple[str, ...]
    document_text: str
    description: str
    continuous: bool
    settings: JobSettings
    document_source: str | None
    tags: Mapping[str, str]


def create(state: JobsState, order: JobOrder, things: tuple[str, ...], now: float) -> Job:
    """Make a job and begin to give it to things, or have it wait for its start; inside a transaction.

    Raises:
        JobsRejectedError: ResourceAlreadyExists.
    """
    if order.job_id in state.tables.jobs:
        raise JobsRejectedError(RejectionCode.RESOURCE_ALREADY_EXISTS, f"job {order.job_id} exists already")
    schedule = order.settings.schedule
    scheduled = schedule is not None and schedule.start_at is not None
    job = state.tables.put_job(
        Job(
            job_id=order.job_id,
            serial=state.tables.next_number(),
            targets=order.targets,
            document_text=order.document_text,
            created_at=now,
            last_updated_at=now,
            status=JobStatus.SCHEDULED if scheduled else JobStatus.IN_PROGRESS,
            description=order.description,
            continuous=order.continuous,
            settings=order.settings,
            document_source=order.document_source,
            waiting=things,
        )
    )
    state.tables.put_tags(f"job/{order.job_id}", order.tags)
    return job if scheduled else jobs_lifecycle.start(state, job, things, now)


def check_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """Give each target once.

    Raises:
        JobsRejectedError: InvalidRequest (none) or LimitExceeded.
    """
    found = tuple(dict.fromkeys(targets))
    if not found:
        raise invalid("a job needs at least one target")
    if len(found) > MAX_TARGETS:
        raise JobsRejectedError(
            RejectionCode.LIMIT_EXCEEDED, f"{len(found)} targets; a job has at most {MAX_TARGETS}"
        )
    return found
