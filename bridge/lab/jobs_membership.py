"""What it means to a job that a thing has come into its target, or has left it.

Source: AWS IoT Developer Guide, "How job configurations work" and "Jobs and job execution states".
"""

from dataclasses import replace

from bridge.lab import jobs_lifecycle
from bridge.lab.jobs_model import ExecutionStatus, Job, JobStatus
from bridge.lab.jobs_state import JobsState


def offer(state: JobsState, job: Job, thing_name: str, now: float) -> None:
    """Queue a continuous job on a thing that has come into its target, unless it has it or has worked it."""
    runs = state.tables.runs(thing_name, job.job_id)
    if thing_name in job.waiting or (runs and runs[-1].status is not ExecutionStatus.REMOVED):
        return
    if job.status is JobStatus.SCHEDULED:
        state.tables.put_job(replace(job, waiting=(*job.waiting, thing_name)))
        return
    state.tables.put_job(replace(job, notified=job.notified + 1))
    state.enqueue(thing_name, job.job_id, now)


def withdraw(state: JobsState, job: Job, thing_name: str, now: float) -> None:
    """Take a job back from a thing that is no target any more; one in progress goes on."""
    if thing_name in job.waiting:
        state.tables.put_job(replace(job, waiting=tuple(one for one in job.waiting if one != thing_name)))
        jobs_lifecycle.complete_if_done(state, job.job_id, now)
    runs = state.tables.runs(thing_name, job.job_id)
    if runs and runs[-1].status is ExecutionStatus.QUEUED:
        state.change(runs[-1], ExecutionStatus.REMOVED, now)
