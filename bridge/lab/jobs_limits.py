"""The limits of AWS IoT Jobs on what a request may say; each violation is an InvalidRequest.

Patterns, lengths, ranges and enumerations come from :mod:`bridge.lab.aws_shapes`. Those that the models state in prose only are
typed here, each with its source; a test looks for the prose in botocore's documentation texts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from bridge.lab.aws_shapes import service
from bridge.lab.jobs_model import ExecutionStatus, JobsRejectedError, RejectionCode
from bridge.lab.jobs_settings import (
    JobSettings,
    Schedule,
    read_abort,
    read_retry,
    read_rollout,
    settings_body,
)

MAX_DETAIL_PAIRS: Final = 10
"""CancelJobExecution: "You can specify at most 10 name/value pairs"."""
MAX_DETAIL_VALUE_CHARS: Final = 1024
"""JobExecution of the data plane: "The maximum length of the value in the name/value pair is 1,024 characters"."""
MAX_TIMEOUT_MINUTES: Final = 10080
"""TimeoutConfig: "between 1 minute and 7 days (1 to 10080 minutes)"."""
MAX_CLIENT_TOKEN_CHARS: Final = 64
"""Developer Guide, "Jobs device MQTT API data types"."""
CANCEL_STEP_TIMER: Final = -1
"""API reference of UpdateJobExecution: -1 cancels the timer."""
MAX_RATE_PER_MINUTE: Final = 1000
"""Developer Guide, "Specify job configurations by using the API": maximumPerMinute "ranges from 1 to 1000"."""
MAX_RETRIES: Final = 10
"""Developer Guide, "How job configurations work": at most 10 retries for both failure types together."""
MAX_TARGETS: Final = 100
"""AssociateTargetsWithJob: "The total number of targets associated with a job must not exceed 100"."""
MIN_LEAD_S: Final = 30 * 60.0
"""SchedulingConfig: a start or end is "a minimum of thirty minutes from the current time", and thirty minutes lie between."""
MAX_START_AHEAD_S: Final = 366 * 86400.0
"""SchedulingConfig: "up to a year in advance"."""
MAX_END_AHEAD_S: Final = 2 * 366 * 86400.0
"""SchedulingConfig: "no later than two years from the current time"."""


def invalid(message: str) -> JobsRejectedError:
    """Build an InvalidRequest."""
    return JobsRejectedError(RejectionCode.INVALID_REQUEST, message)


def check_job_id(job_id: str) -> str:
    """Return the id if it is one."""
    service("iot").check("JobId", job_id, "jobId")
    return job_id


def check_thing_name(thing_name: str) -> str:
    """Return the name if it is one."""
    service("iot").check("ThingName", thing_name, "thingName")
    return thing_name


def check_details(details: object) -> dict[str, str] | None:
    """Return status details as a new dict; None (JSON null or absent) means: leave them as they are."""
    if details is None:
        return None
    service("iot-jobs-data").check("DetailsMap", details, "statusDetails")
    assert isinstance(details, Mapping)
    if len(details) > MAX_DETAIL_PAIRS:
        raise invalid(f"statusDetails has {len(details)} pairs, at most {MAX_DETAIL_PAIRS} are allowed")
    for key, value in details.items():
        if len(value) > MAX_DETAIL_VALUE_CHARS:
            raise invalid(f"statusDetails value of {key!r} has more than {MAX_DETAIL_VALUE_CHARS} characters")
    return dict(details)


def check_step_timeout(minutes: object) -> int | None:
    """Return the step timeout in minutes, or :data:`CANCEL_STEP_TIMER`, or None when absent."""
    number = check_integer("stepTimeoutInMinutes", minutes)
    if number is not None and number != CANCEL_STEP_TIMER and not 1 <= number <= MAX_TIMEOUT_MINUTES:
        raise invalid(f"stepTimeoutInMinutes must be 1 to {MAX_TIMEOUT_MINUTES} or -1, not {number}")
    return number


def check_integer(member: str, value: object) -> int | None:
    """Return an integer or None; a decimal string passes too, as some devices send expectedVersion so."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    raise invalid(f"{member} must be an integer")


def check_status(status: object) -> ExecutionStatus:
    """Return an execution status by its name."""
    try:
        return ExecutionStatus(str(status))
    except ValueError:
        raise invalid(f"status {status!r} does not exist") from None


def check_document(document: object) -> str:
    """Return a job document as JSON text; a string is taken as JSON text already."""
    if isinstance(document, str):
        text = document
        try:
            json.loads(text)
        except ValueError:
            raise invalid("the job document is no JSON") from None
    else:
        text = json.dumps(document)
    service("iot").check("JobDocument", text, "document")
    return text


def check_settings(settings: JobSettings) -> JobSettings:
    """Return settings that keep to all limits."""
    body = settings_body(settings)
    schedule = body.pop("schedulingConfig", None)
    service("iot").check("UpdateJobRequest", {"jobId": "x", **body}, "")
    if schedule is not None:
        service("iot").check("SchedulingConfig", schedule, "schedulingConfig")
    minutes = settings.in_progress_timeout_minutes
    if minutes is not None and not 1 <= minutes <= MAX_TIMEOUT_MINUTES:
        raise invalid(f"inProgressTimeoutInMinutes must be 1 to {MAX_TIMEOUT_MINUTES}, not {minutes}")
    if sum(one.number_of_retries for one in settings.retry_criteria) > MAX_RETRIES:
        raise invalid(f"at most {MAX_RETRIES} retries for all failure types together")
    _check_rollout(settings)
    for one in settings.abort_criteria:
        if one.threshold_percentage < 0 or round(one.threshold_percentage, 2) != one.threshold_percentage:
            raise invalid("thresholdPercentage is 0 to 100 with at most two digits after the decimal point")
    return settings


def _check_rollout(settings: JobSettings) -> None:
    rollout = settings.rollout
    if rollout is None:
        return
    if rollout.maximum_per_minute is not None and rollout.maximum_per_minute > MAX_RATE_PER_MINUTE:
        raise invalid(
            f"maximumPerMinute must be 1 to {MAX_RATE_PER_MINUTE}, not {rollout.maximum_per_minute}"
        )
    if (rate := rollout.exponential) is None:
        return
    if round(rate.increment_factor, 1) != rate.increment_factor:
        raise invalid("incrementFactor has at most one digit after the decimal point")
    if rate.notified_things is None and rate.succeeded_things is None:
        raise invalid("rateIncreaseCriteria needs numberOfNotifiedThings or numberOfSucceededThings")


def read_settings(members: Mapping[str, Any], now: float, base: JobSettings | None = None) -> JobSettings:
    """Read the settings in a CreateJob or UpdateJob request, over those that the job has; not yet checked for prose limits."""
    changes: dict[str, Any] = {}
    if (timeout := members.get("timeoutConfig")) is not None:
        changes["in_progress_timeout_minutes"] = timeout.get("inProgressTimeoutInMinutes")
    if (presign := members.get("presignedUrlConfig")) is not None:
        changes["presigned_expires_in_s"] = presign.get("expiresInSec")
        changes["presign_role_arn"] = presign.get("roleArn")
    if (retry := members.get("jobExecutionsRetryConfig")) is not None:
        changes["retry_criteria"] = read_retry(retry)
    if (abort := members.get("abortConfig")) is not None:
        changes["abort_criteria"] = read_abort(abort)
    if (rollout := members.get("jobExecutionsRolloutConfig")) is not None:
        changes["rollout"] = read_rollout(rollout)
    if (schedule := members.get("schedulingConfig")) is not None:
        changes["schedule"] = _schedule(schedule, now)
    return replace(base or JobSettings(), **changes)


def _schedule(body: Mapping[str, Any], now: float) -> Schedule:
    if body.get("maintenanceWindows"):
        raise invalid("not emulated by the local cloud: maintenanceWindows")
    start, end = body.get("startTime"), body.get("endTime")
    if end is None and body.get("endBehavior") is not None:
        raise invalid("endBehavior needs an endTime")
    start_at = None if start is None else parse_time("startTime", start)
    end_at = None if end is None else parse_time("endTime", end)
    if start_at is not None and not now + MIN_LEAD_S <= start_at <= now + MAX_START_AHEAD_S:
        raise invalid("startTime must be thirty minutes to one year ahead")
    if end_at is not None and not (start_at or now) + MIN_LEAD_S <= end_at <= now + MAX_END_AHEAD_S:
        raise invalid("endTime must be thirty minutes after the start, and no later than two years ahead")
    return Schedule(start_at, end_at, body.get("endBehavior") or "STOP_ROLLOUT", start or "", end or "")


def parse_time(member: str, text: str) -> float:
    """Read ``YYYY-MM-DDTHH:MM`` (a blank for the T, seconds and an offset are taken too; UTC without one) as epoch seconds."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"{member} {text!r} is no time such as 2026-11-26T21:30") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
