"""JSON shapes of the control plane, both ways: ARNs, jobs and executions.

Source: botocore's ``iot`` model; times are epoch seconds, as REST-JSON writes timestamps.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_model import GROUP_PREFIX, Execution, ExecutionStatus, Job
from bridge.lab.jobs_settings import settings_body

ARN_PREFIX: Final = "arn:aws:iot:us-east-1:000000000000"
_ARN: Final = re.compile(r"arn:[^:]+:iot:[^:]*:[^:]*:([^/:]+/.+)")
_COUNTERS: Final = {
    ExecutionStatus.QUEUED: "numberOfQueuedThings",
    ExecutionStatus.IN_PROGRESS: "numberOfInProgressThings",
    ExecutionStatus.SUCCEEDED: "numberOfSucceededThings",
    ExecutionStatus.FAILED: "numberOfFailedThings",
    ExecutionStatus.REJECTED: "numberOfRejectedThings",
    ExecutionStatus.REMOVED: "numberOfRemovedThings",
    ExecutionStatus.CANCELED: "numberOfCanceledThings",
    ExecutionStatus.TIMED_OUT: "numberOfTimedOutThings",
}


def resource_of_arn(arn: str) -> str:
    """The last part of an AWS IoT ARN, such as ``job/job-1``; region and account may be any."""
    if (match := _ARN.fullmatch(arn)) is None:
        raise invalid(f"{arn[:100]!r} is no ARN of AWS IoT")
    return match.group(1)


def thing_of_arn(arn: str) -> str | None:
    """The name of the thing that an ARN means, or None."""
    kind, _, name = resource_of_arn(arn).partition("/")
    return name if kind == "thing" else None


def group_of_arn(arn: str) -> str | None:
    """The name of the thing group that an ARN means, or None."""
    resource = resource_of_arn(arn)
    return resource.removeprefix(GROUP_PREFIX) if resource.startswith(GROUP_PREFIX) else None


def read_targets(arns: Iterable[str]) -> tuple[list[str], list[str]]:
    """Read the names of things and of thing groups out of target ARNs."""
    things, groups = [], []
    for arn in arns:
        if (thing := thing_of_arn(arn)) is not None:
            things.append(thing)
        elif (group := group_of_arn(arn)) is not None:
            groups.append(group)
        else:
            raise invalid(f"target {arn[:100]!r} is neither a thing nor a thing group")
    return things, groups


def read_tags(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Read a ``TagList``."""
    return {tag["Key"]: tag.get("Value") or "" for tag in tags}


def thing_arn(thing_name: str) -> str:
    """ARN of a thing."""
    return f"{ARN_PREFIX}:thing/{thing_name}"


def group_arn(name: str) -> str:
    """ARN of a thing group."""
    return f"{ARN_PREFIX}:{GROUP_PREFIX}{name}"


def target_arn(target: str) -> str:
    """ARN of a job's target."""
    return f"{ARN_PREFIX}:{target}" if target.startswith(GROUP_PREFIX) else thing_arn(target)


def thing_body(thing_name: str) -> dict[str, object]:
    """Name and ARN of a thing."""
    return {"thingName": thing_name, "thingArn": thing_arn(thing_name), "thingId": thing_name}


def job_reference(job: Job) -> dict[str, object]:
    """What CreateJob and CancelJob answer."""
    body: dict[str, object] = {"jobArn": f"{ARN_PREFIX}:job/{job.job_id}", "jobId": job.job_id}
    return body | {"description": job.description} if job.description else body


def job_summary(job: Job) -> dict[str, object]:
    """``JobSummary``."""
    body: dict[str, object] = {
        "jobArn": f"{ARN_PREFIX}:job/{job.job_id}",
        "jobId": job.job_id,
        "targetSelection": "CONTINUOUS" if job.continuous else "SNAPSHOT",
        "status": job.status.value,
        "createdAt": job.created_at,
        "lastUpdatedAt": job.last_updated_at,
        "isConcurrent": bool(job.waiting) and job.status == "IN_PROGRESS",
    }
    if job.completed_at is not None:
        body["completedAt"] = job.completed_at
    return body


def job_body(job: Job, executions: Iterable[Execution]) -> dict[str, Any]:
    """``Job`` with its counters; a thing counts by its latest execution."""
    latest = {one.thing_name: one.status for one in executions}
    counters = {name: [*latest.values()].count(status) for status, name in _COUNTERS.items()}
    targets = [target_arn(target) for target in job.targets]
    processing = {"processingTargets": targets} if job.waiting else {}
    body: dict[str, Any] = job_reference(job) | job_summary(job) | settings_body(job.settings)
    body |= {
        "targets": targets,
        "forceCanceled": job.force_canceled,
        "jobProcessDetails": {**processing, **counters},
    }
    optional = {"reasonCode": job.reason_code, "comment": job.comment}
    return body | {name: value for name, value in optional.items() if value is not None}


def execution_summary(execution: Execution) -> dict[str, object]:
    """``JobExecutionSummary`` of the control plane."""
    body: dict[str, object] = {
        "status": execution.status.value,
        "queuedAt": execution.queued_at,
        "lastUpdatedAt": execution.last_updated_at,
        "executionNumber": execution.execution_number,
        "retryAttempt": execution.retry_attempt,
    }
    if execution.started_at is not None:
        body["startedAt"] = execution.started_at
    return body
