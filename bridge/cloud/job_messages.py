"""Topics and JSON of the AWS IoT Jobs device API: requests built, replies read; no I/O.

Source: AWS IoT Developer Guide, "Jobs device MQTT API" and "Jobs notifications"; members and limits as in
botocore's ``iot-jobs-data`` model. Over MQTT ``jobDocument`` is an object, over HTTP it is text; both are
read.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.cloud.job_execution import JobExecution, JobExecutionState, JobStatus
from bridge.errors import CloudError, UsageError

NEXT_JOB: Final = "$next"
MAX_DETAIL_PAIRS: Final = 10
MAX_DETAIL_VALUE_CHARS: Final = 1024
STEP_TIMEOUT_MINUTES: Final = range(1, 10081)

_THING_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_JOB_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_DETAIL_KEY: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
_ELLIPSIS: Final = "\N{HORIZONTAL ELLIPSIS}"
_NO_VALUE: Final = "-"
_MAX_INTEGER: Final = 2**62
"""``long`` in the service model; the journal could not hold much more."""


def check_job_id(job_id: str) -> str:
    """Return a job id that may become part of a topic.

    Raises:
        UsageError: It is none (1 to 64 letters, digits, ``_`` or ``-``).
    """
    if not _JOB_ID.fullmatch(job_id):
        raise UsageError(
            f"{job_id[:80]!r} is no job id: 1 to 64 letters, digits, _ or - are allowed", reason="bad-job-id"
        )
    return job_id


@dataclass(frozen=True)
class JobTopics:
    """The topics of one thing."""

    thing_name: str

    def __post_init__(self) -> None:
        """Refuse a name that is none."""
        if not _THING_NAME.fullmatch(self.thing_name):
            raise UsageError(
                f"{self.thing_name[:140]!r} is no thing name: 1 to 128 letters, digits, :, _ or -",
                reason="bad-thing-name",
            )

    @property
    def prefix(self) -> str:
        """What all topics of the thing's jobs begin with."""
        return f"$aws/things/{self.thing_name}/jobs/"

    @property
    def filters(self) -> tuple[str, ...]:
        """What to subscribe to: both notifications, and the replies to ``get`` and ``update``."""
        return tuple(
            self.prefix + tail for tail in ("notify", "notify-next", "$next/get/+", "+/get/+", "+/update/+")
        )

    def get(self, job_id: str) -> str:
        """Topic of DescribeJobExecution; ``$next`` asks for the next job."""
        return f"{self.prefix}{job_id}/get"

    def update(self, job_id: str) -> str:
        """Topic of UpdateJobExecution."""
        return f"{self.prefix}{job_id}/update"

    def is_notification(self, topic: str) -> bool:
        """Whether a message says that the queue changed."""
        return topic in {f"{self.prefix}notify", f"{self.prefix}notify-next"}


@dataclass(frozen=True)
class Reply:
    """An answer of the service to a request.

    Attributes:
        request_topic: Topic of the request it answers.
        accepted: Whether the request was accepted.
        token: The request's ``clientToken``; None when the service did not echo one.
        body: The decoded JSON object.
    """

    request_topic: str
    accepted: bool
    token: str | None
    body: Mapping[str, object]

    @property
    def code(self) -> str:
        """Error code of a rejection."""
        code = self.body.get("code")
        return code if isinstance(code, str) else "unknown"

    @property
    def message(self) -> str:
        """The service's own words in a rejection, made fit for a log line."""
        message = self.body.get("message")
        return clean_text(message, 300) if isinstance(message, str) else "no message"


def read_reply(topic: str, payload: bytes) -> Reply | None:
    """Read a message on a reply topic.

    Returns:
        The reply, or None when the topic is not a reply's.

    Raises:
        CloudError: It is a reply, and not a JSON object (reason ``bad-reply``).
    """
    request_topic, _, verdict = topic.rpartition("/")
    if verdict not in {"accepted", "rejected"}:
        return None
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise CloudError(f"the reply on {topic} is no JSON object", reason="bad-reply")
    token = body.get("clientToken")
    return Reply(request_topic, verdict == "accepted", token if isinstance(token, str) else None, body)


def build_get(token: str, *, execution_number: int | None = None) -> bytes:
    """Body of DescribeJobExecution, also for ``$next``; the document comes with the answer."""
    return _encode({"executionNumber": execution_number, "includeJobDocument": True, "clientToken": token})


def build_update(
    token: str,
    execution: JobExecution,
    status: JobStatus,
    details: Mapping[str, str],
    *,
    step_timeout_minutes: int | None = None,
) -> bytes:
    """Body of UpdateJobExecution.

    ``expectedVersion`` is always sent, as the integer that the service model wants. Without details the
    member is left out, and the service keeps what was reported before.

    Raises:
        UsageError: A device must not set the status, or the step timeout is not 1 to 10080 minutes.
    """
    if status not in {JobStatus.IN_PROGRESS, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.REJECTED}:
        raise UsageError(f"only the service sets a job execution to {status}", reason="bad-job-status")
    if step_timeout_minutes is not None and step_timeout_minutes not in STEP_TIMEOUT_MINUTES:
        raise UsageError(
            f"a step timeout of {step_timeout_minutes} minutes is not possible", hint="Use 1 to 10080."
        )
    return _encode(
        {
            "status": status.value,
            "statusDetails": dict(details) or None,
            "expectedVersion": execution.version_number,
            "executionNumber": execution.execution_number,
            "includeJobExecutionState": True,
            "stepTimeoutInMinutes": step_timeout_minutes,
            "clientToken": token,
        }
    )


def clean_details(details: Mapping[str, str]) -> dict[str, str]:
    """Make status details that the service takes: shortened rather than refused, so that no report is lost.

    Values lose their control characters (line ends become spaces) and end in an ellipsis beyond 1024
    characters; an empty value becomes ``-``. Pairs beyond the tenth are dropped.

    Raises:
        UsageError: A key is not 1 to 128 letters, digits, ``:``, ``_`` or ``-``: keys are ours, so that is a
            bug.
    """
    cleaned: dict[str, str] = {}
    for key, value in list(details.items())[:MAX_DETAIL_PAIRS]:
        if not _DETAIL_KEY.fullmatch(key):
            raise UsageError(f"{key[:140]!r} cannot be a key of statusDetails", reason="bad-status-details")
        cleaned[key] = clean_text(value, MAX_DETAIL_VALUE_CHARS) or _NO_VALUE
    return cleaned


def clean_text(text: str, max_chars: int) -> str:
    """Drop what the service refuses (Unicode category C), and shorten.

    Characters outside the basic plane count twice: the service's limit is believed to count UTF-16 units.
    """
    one_line = " ".join(text.split()) if any(character in text for character in "\r\n\t") else text
    visible = "".join(
        character for character in one_line if unicodedata.category(character)[0] != "C"
    ).strip()
    if _utf16_units(visible) <= max_chars:
        return visible
    units = 1
    kept: list[str] = []
    for character in visible:
        units += _utf16_units(character)
        if units > max_chars:
            break
        kept.append(character)
    return "".join(kept) + _ELLIPSIS


def read_execution(body: Mapping[str, object]) -> JobExecution | None:
    """Read the ``execution`` member of a reply or notification.

    Returns:
        The execution; None for no job, which the service says by leaving the member out or empty.

    Raises:
        CloudError: The member makes no sense (reason ``bad-reply``).
    """
    execution = body.get("execution")
    if execution is None or execution == {}:
        return None
    if not isinstance(execution, Mapping):
        raise _bad_reply("execution is no object")
    job_id = execution.get("jobId")
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        raise _bad_reply("execution has no valid jobId")
    return JobExecution(
        job_id=job_id,
        execution_number=_integer(execution, "executionNumber", default=1),
        version_number=_integer(execution, "versionNumber"),
        status=_status(execution),
        status_details=_details(execution),
        document=_document(execution.get("jobDocument")),
        queued_at=_epoch_s(execution.get("queuedAt")),
    )


def read_state(body: Mapping[str, object]) -> JobExecutionState | None:
    """Read the ``executionState`` member of a reply to an update; None when it is absent.

    Raises:
        CloudError: The member makes no sense (reason ``bad-reply``).
    """
    state = body.get("executionState")
    if state is None or state == {}:
        return None
    if not isinstance(state, Mapping):
        raise _bad_reply("executionState is no object")
    return JobExecutionState(_status(state), _details(state), _integer(state, "versionNumber"))


def _encode(members: Mapping[str, object]) -> bytes:
    present = {name: value for name, value in members.items() if value is not None}
    return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode()


def _utf16_units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _bad_reply(what: str) -> CloudError:
    return CloudError(f"the Jobs service sent a reply that makes no sense: {what}", reason="bad-reply")


def _integer(members: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = members.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_INTEGER:
        raise _bad_reply(f"{name} is no integer, or none that a job has")
    return value


def _epoch_s(value: object) -> int | None:
    """Seconds over MQTT; a fraction does no harm, and nothing depends on it alone.

    What is no time at all counts as none: Python's JSON also knows infinity and NaN.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MAX_INTEGER:
        return None
    return int(value)


def _status(members: Mapping[str, object]) -> JobStatus:
    try:
        return JobStatus(str(members.get("status")))
    except ValueError:
        raise _bad_reply(f"status {str(members.get('status'))[:40]!r} is unknown") from None


def _details(members: Mapping[str, object]) -> dict[str, str]:
    details = members.get("statusDetails")
    if not isinstance(details, Mapping):
        return {}
    return {str(key): str(value) for key, value in details.items()}


def _document(document: object) -> object:
    """The HTTP form is text; what does not decode stays text and is refused where documents are read."""
    if not isinstance(document, str):
        return document
    try:
        decoded: object = json.loads(document)
    except (ValueError, RecursionError):
        return document
    return decoded
