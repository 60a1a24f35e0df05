"""The limits of AWS IoT Jobs on what a request may say; each violation is an InvalidRequest.

Source: constraints in botocore's service models ``iot`` and ``iot-jobs-data`` (patterns, lengths, ranges) and
the API reference (1024 characters in a detail's value, step timeout -1 to cancel the timer).
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from bridge.lab.jobs_model import ExecutionStatus, JobsRejectedError, RejectionCode

MAX_DOCUMENT_CHARS: Final = 32768
MAX_DETAIL_PAIRS: Final = 10
MAX_DETAIL_VALUE_CHARS: Final = 1024
MAX_TIMEOUT_MINUTES: Final = 10080
MAX_CLIENT_TOKEN_CHARS: Final = 64
CANCEL_STEP_TIMER: Final = -1

_JOB_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


def invalid(message: str) -> JobsRejectedError:
    """Build an InvalidRequest."""
    return JobsRejectedError(RejectionCode.INVALID_REQUEST, message)


def check_job_id(job_id: str) -> str:
    """Return the id if it is one."""
    if not _JOB_ID.fullmatch(job_id):
        raise invalid(f"job id {job_id!r} must be 1 to 64 letters, digits, - or _")
    return job_id


def check_thing_name(thing_name: str) -> str:
    """Return the name if it is one."""
    if not _NAME.fullmatch(thing_name):
        raise invalid(f"thing name {thing_name!r} must be 1 to 128 letters, digits, :, - or _")
    return thing_name


def check_details(details: object) -> dict[str, str] | None:
    """Return status details as a new dict; None (JSON null or absent) means: leave them as they are."""
    if details is None:
        return None
    if not isinstance(details, Mapping):
        raise invalid("statusDetails must be a map of strings")
    if len(details) > MAX_DETAIL_PAIRS:
        raise invalid(f"statusDetails has {len(details)} pairs, at most {MAX_DETAIL_PAIRS} are allowed")
    for key, value in details.items():
        if not isinstance(key, str) or not _NAME.fullmatch(key):
            raise invalid(f"statusDetails key {key!r} must be 1 to 128 letters, digits, :, - or _")
        if not isinstance(value, str) or not 1 <= len(value) <= MAX_DETAIL_VALUE_CHARS:
            raise invalid(f"statusDetails value of {key!r} must be a string of 1 to 1024 characters")
        if any(unicodedata.category(character).startswith("C") for character in value):
            raise invalid(f"statusDetails value of {key!r} holds a control character")
    return dict(details)


def check_step_timeout(minutes: object) -> int | None:
    """Return the step timeout in minutes, or :data:`CANCEL_STEP_TIMER`, or None when absent."""
    number = check_integer("stepTimeoutInMinutes", minutes)
    if number is not None and number != CANCEL_STEP_TIMER and not 1 <= number <= MAX_TIMEOUT_MINUTES:
        raise invalid(f"stepTimeoutInMinutes must be 1 to {MAX_TIMEOUT_MINUTES} or -1, not {number}")
    return number


def check_job_timeout(minutes: object) -> int | None:
    """Return a job's in-progress timeout in minutes, or None when absent."""
    number = check_integer("inProgressTimeoutInMinutes", minutes)
    if number is not None and not 1 <= number <= MAX_TIMEOUT_MINUTES:
        raise invalid(f"inProgressTimeoutInMinutes must be 1 to {MAX_TIMEOUT_MINUTES}, not {number}")
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
    if len(text) > MAX_DOCUMENT_CHARS:
        raise invalid(
            f"the job document has {len(text)} characters, at most {MAX_DOCUMENT_CHARS} are allowed"
        )
    return text
