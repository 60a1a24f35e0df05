"""JSON shapes of the control plane, both ways: requests read, jobs and executions written.

Source: botocore's ``iot`` model; times are epoch seconds, as REST-JSON writes timestamps.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from starlette.requests import Request

from bridge.lab.jobs_limits import check_integer, check_status, invalid
from bridge.lab.jobs_model import (
    Execution,
    ExecutionStatus,
    Job,
    JobsRejectedError,
    RejectionCode,
    RetryCriterion,
)

ARN_PREFIX: Final = "arn:aws:iot:us-east-1:000000000000"
_THING_ARN: Final = re.compile(r"arn:[^:]+:iot:[^:]*:[^:]*:thing/(.+)")
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


async def read_object(request: Request) -> dict[str, Any]:
    """Read a JSON object; an empty body is an empty object."""
    text = await request.body()
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise JobsRejectedError(RejectionCode.INVALID_JSON, "the request is no JSON object")
    return body


def query_flag(request: Request, name: str, *, default: bool = False) -> bool:
    """Read a boolean from the query."""
    value = request.query_params.get(name)
    return default if value is None else value.lower() == "true"


def wanted_status(request: Request) -> ExecutionStatus | None:
    """Read the ``status`` filter of a list call."""
    value = request.query_params.get("status")
    return None if value is None else check_status(value)


def targets(arns: object) -> list[str]:
    """Read thing names out of target ARNs; thing groups are not emulated."""
    if not isinstance(arns, list) or not arns:
        raise invalid("targets must be a list of thing ARNs")
    names = []
    for arn in arns:
        match = _THING_ARN.fullmatch(str(arn))
        if match is None:
            raise invalid(f"target {arn!r} is no thing ARN; the local cloud does not emulate thing groups")
        names.append(match.group(1))
    return names


def nested_integer(body: Mapping[str, Any], member: str, key: str) -> int | None:
    """Read an integer inside an optional object."""
    inner = body.get(member)
    if inner is not None and not isinstance(inner, dict):
        raise invalid(f"{member} must be an object")
    return check_integer(key, (inner or {}).get(key))


def retry_criteria(body: Mapping[str, Any]) -> list[RetryCriterion]:
    """Read ``jobExecutionsRetryConfig``."""
    criteria = []
    for one in (body.get("jobExecutionsRetryConfig") or {}).get("criteriaList", ()):
        failure_type, retries = (
            one.get("failureType"),
            check_integer("numberOfRetries", one.get("numberOfRetries")),
        )
        if failure_type not in {"FAILED", "TIMED_OUT", "ALL"} or retries is None:
            raise invalid("a retry criterion needs failureType FAILED, TIMED_OUT or ALL, and numberOfRetries")
        criteria.append(RetryCriterion(failure_type, retries))
    return criteria


def thing_arn(thing_name: str) -> str:
    """ARN of a thing."""
    return f"{ARN_PREFIX}:thing/{thing_name}"


def thing_body(thing_name: str) -> dict[str, object]:
    """Name and ARN of a thing."""
    return {"thingName": thing_name, "thingArn": thing_arn(thing_name), "thingId": thing_name}


def job_reference(job: Job) -> dict[str, object]:
    """What CreateJob and CancelJob answer."""
    return {"jobArn": f"{ARN_PREFIX}:job/{job.job_id}", "jobId": job.job_id, "description": job.description}


def job_summary(job: Job) -> dict[str, object]:
    """``JobSummary``."""
    body: dict[str, object] = {
        "jobArn": f"{ARN_PREFIX}:job/{job.job_id}",
        "jobId": job.job_id,
        "targetSelection": "SNAPSHOT",
        "status": job.status.value,
        "createdAt": job.created_at,
        "lastUpdatedAt": job.last_updated_at,
    }
    if job.completed_at is not None:
        body["completedAt"] = job.completed_at
    return body


def job_body(job: Job, executions: Iterable[Execution]) -> dict[str, object]:
    """``Job`` with its counters; a thing counts by its latest execution."""
    latest = {one.thing_name: one.status for one in executions}
    counters = {name: [*latest.values()].count(status) for status, name in _COUNTERS.items()}
    body = job_reference(job) | job_summary(job)
    body |= {
        "targets": [thing_arn(target) for target in job.targets],
        "forceCanceled": job.force_canceled,
        "jobProcessDetails": {"processingTargets": [], **counters},
    }
    optional = {
        "reasonCode": job.reason_code,
        "comment": job.comment,
        "timeoutConfig": job.in_progress_timeout_minutes
        and {"inProgressTimeoutInMinutes": job.in_progress_timeout_minutes},
        "presignedUrlConfig": job.presigned_expires_in_s and {"expiresInSec": job.presigned_expires_in_s},
        "jobExecutionsRetryConfig": job.retry_criteria
        and {
            "criteriaList": [
                {"failureType": one.failure_type, "numberOfRetries": one.number_of_retries}
                for one in job.retry_criteria
            ]
        },
    }
    return body | {name: value for name, value in optional.items() if value}


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
