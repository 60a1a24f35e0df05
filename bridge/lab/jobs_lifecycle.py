"""A job from its first execution to its end: rollout, retries, abort, schedule, cancel, completion.

Source: AWS IoT Developer Guide, "How job configurations work", "Specify job configurations by using the API" and "Jobs and job
execution states"; documentation texts of botocore's ``iot`` model. What they leave open is decided so: things a minute are
counted in windows of a minute that begin with the rollout; executions that were cancelled or removed have not been completed;
and what the guide calls an automated comment and reason code of an aborted job is in our words.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bridge.lab.jobs_model import Execution, ExecutionStatus, Job, JobStatus
from bridge.lab.jobs_settings import Rollout

if TYPE_CHECKING:
    from bridge.lab.jobs_state import JobsState

_log = logging.getLogger(__name__)

WINDOW_S: Final = 60.0
ABORTED: Final = "ABORT_CRITERIA_MET"
"""Reason code of a job that was cancelled by its abort criteria; AWS has one, too, but does not document it."""
_FAILURES: Final = {
    "FAILED": frozenset({ExecutionStatus.FAILED}),
    "REJECTED": frozenset({ExecutionStatus.REJECTED}),
    "TIMED_OUT": frozenset({ExecutionStatus.TIMED_OUT}),
    "ALL": frozenset({ExecutionStatus.FAILED, ExecutionStatus.REJECTED, ExecutionStatus.TIMED_OUT}),
}
_COMPLETED: Final = _FAILURES["ALL"] | {ExecutionStatus.SUCCEEDED}
_RETRYABLE: Final = frozenset({ExecutionStatus.FAILED, ExecutionStatus.TIMED_OUT})


def start(state: JobsState, job: Job, things: tuple[str, ...], now: float) -> Job:
    """Begin to give a job to things, at its rate."""
    job = replace(job, status=JobStatus.IN_PROGRESS, waiting=things, window_ends_at=now, last_updated_at=now)
    state.tables.put_job(job)
    return roll_out(state, job, now)


def take_turn(state: JobsState, job: Job, now: float) -> None:
    """Do what time alone makes due: begin, give the job to the next things, or end."""
    schedule = job.settings.schedule
    if job.status is JobStatus.SCHEDULED:
        start(state, job, job.waiting, now)
    elif schedule is not None and schedule.end_at is not None and schedule.end_at <= now:
        _end_by_schedule(state, job, schedule.end_behavior, now)
    else:
        roll_out(state, job, now)
    if (again := state.tables.jobs.get(job.job_id)) is not None:
        state.tables.timers.set(again.job_id, again.next_turn)


def roll_out(state: JobsState, job: Job, now: float) -> Job:
    """Give the job to the next things, if a minute has passed since the last ones got it."""
    if job.status is not JobStatus.IN_PROGRESS or (job.window_ends_at or 0) > now:
        return job
    rate = (job.settings.rollout or Rollout()).rate(
        job.notified, _count(state, job, ExecutionStatus.SUCCEEDED)
    )
    things, rest = job.waiting[:rate], job.waiting[rate:]
    job = replace(job, waiting=rest, notified=job.notified + len(things), window_ends_at=now + WINDOW_S)
    state.tables.put_job(job)
    for thing in things:
        state.enqueue(thing, job.job_id, now)
    return complete_if_done(state, job.job_id, now) or job


def after_end(state: JobsState, ended: Execution, now: float) -> None:
    """Follow up on an execution that has just become terminal: abort the job, retry, or complete the job."""
    job = state.tables.jobs.get(ended.job_id)
    if job is None or job.status is not JobStatus.IN_PROGRESS:
        return
    if ended.status in _COMPLETED and (comment := _abort_comment(state, job)) is not None:
        _log.info("job %s: %s", job.job_id, comment)
        cancel(state, job, now, reason_code=ABORTED, comment=comment)
    elif may_retry(state, job, ended):
        state.enqueue(ended.thing_name, ended.job_id, now, retry_attempt=ended.retry_attempt + 1)
    complete_if_done(state, ended.job_id, now)


def cancel(
    state: JobsState,
    job: Job,
    now: float,
    *,
    force: bool = False,
    reason_code: str | None = None,
    comment: str | None = None,
) -> Job:
    """Make a job CANCELED: its queued executions end, with ``force`` also those in progress."""
    job = state.tables.put_job(
        replace(
            job,
            status=JobStatus.CANCELED,
            waiting=(),
            force_canceled=force,
            reason_code=reason_code,
            comment=comment,
            last_updated_at=now,
            completed_at=now,
        )
    )
    for execution in state.tables.executions_of_job(job.job_id):
        if execution.status is ExecutionStatus.QUEUED or (force and not execution.status.terminal):
            state.change(execution, ExecutionStatus.CANCELED, now, forced=force)
    return job


def complete_if_done(state: JobsState, job_id: str, now: float) -> Job | None:
    """Make a running job COMPLETED when nothing of it is pending any more; a continuous one only after its schedule's end."""
    job = state.tables.jobs.get(job_id)
    if job is None or job.status is not JobStatus.IN_PROGRESS or job.waiting:
        return job
    if job.continuous and not job.ended:
        return job
    if any(not one.status.terminal for many in state.tables.things_of_job(job_id) for one in many):
        return job
    return state.tables.put_job(
        replace(job, status=JobStatus.COMPLETED, completed_at=now, last_updated_at=now)
    )


def may_retry(state: JobsState, job: Job, ended: Execution) -> bool:
    """Whether a criterion of the job has a retry left; runs before the thing came into the group again do not count."""
    if ended.status not in _RETRYABLE:
        return False
    for criterion in job.settings.retry_criteria:
        counted = _FAILURES[criterion.failure_type] & _RETRYABLE
        if ended.status in counted:
            runs = state.tables.runs(ended.thing_name, ended.job_id)[-(ended.retry_attempt + 1) :]
            return sum(run.status in counted for run in runs) <= criterion.number_of_retries
    return False


def _abort_comment(state: JobsState, job: Job) -> str | None:
    """Why the job is to be aborted, if it is: completed executions are counted, retries included."""
    if not job.settings.abort_criteria:
        return None
    ends = [
        run.status
        for many in state.tables.things_of_job(job.job_id)
        for run in many
        if run.status in _COMPLETED
    ]
    for criterion in job.settings.abort_criteria:
        failed = sum(end in _FAILURES[criterion.failure_type] for end in ends)
        enough = len(ends) >= criterion.min_executed_things
        if enough and failed and failed * 100 >= criterion.threshold_percentage * len(ends):
            kind = "failed in any way" if criterion.failure_type == "ALL" else criterion.failure_type
            return (
                f"Aborted: {failed} of {len(ends)} completed executions {kind}, "
                f"the threshold is {criterion.threshold_percentage:g} %"
            )
    return None


def _count(state: JobsState, job: Job, status: ExecutionStatus) -> int:
    return sum(many[-1].status is status for many in state.tables.things_of_job(job.job_id))


def _end_by_schedule(state: JobsState, job: Job, behavior: str, now: float) -> None:
    job = state.tables.put_job(replace(job, ended=True, waiting=(), last_updated_at=now))
    if behavior == "STOP_ROLLOUT":
        complete_if_done(state, job.job_id, now)
    else:
        cancel(state, job, now, force=behavior == "FORCE_CANCEL")
