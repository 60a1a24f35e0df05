"""The Jobs device API over HTTPS, in terms of the one over MQTT: requests and answers translated; no I/O.

Source: botocore's ``iot-jobs-data`` model (paths, members, exceptions) and AWS IoT Developer Guide, "Jobs device HTTP
API". Only what names itself as the service's error is taken for its word: a proxy's or a portal's page is none.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

from bridge.errors import CloudError

_REQUEST_TOPIC: Final = re.compile(
    r"\$aws/things/([a-zA-Z0-9:_-]+)/jobs/(\$next|[a-zA-Z0-9_-]+)/(get|update)"
)
_CODES: Final = {
    "InvalidRequestException": "InvalidRequest",
    "ResourceNotFoundException": "ResourceNotFound",
    "TerminalStateException": "TerminalStateReached",
    "InvalidStateTransitionException": "InvalidStateTransition",
    # The model names no exception for a version mismatch; both names are in use elsewhere in AWS IoT.
    "VersionMismatchException": "VersionMismatch",
    "VersionConflictException": "VersionMismatch",
    "ThrottlingException": "RequestThrottled",
    "ServiceUnavailableException": "ServiceUnavailable",
    "InternalFailureException": "InternalError",
    "InternalServerException": "InternalError",
    "ForbiddenException": "Forbidden",
    "UnauthorizedException": "Forbidden",
    "CertificateValidationException": "Forbidden",
}
FORBIDDEN: Final = "Forbidden"


@dataclass(frozen=True)
class HttpsRequest:
    """What is sent.

    Attributes:
        thing_name: The thing that it is about.
        method: HTTP's.
        target: Path and query.
        body: JSON, or nothing.
        token: The request's ``clientToken``, which HTTPS has no place for.
    """

    thing_name: str
    method: str
    target: str
    body: bytes | None = None
    token: str = ""


@dataclass(frozen=True)
class HttpsAnswer:
    """What came back.

    Attributes:
        status: HTTP's.
        error_type: The header ``x-amzn-ErrorType``, or nothing.
        content: The body.
    """

    status: int
    error_type: str
    content: bytes


def to_https(topic: str, payload: bytes) -> HttpsRequest:
    """Translate a request.

    Raises:
        CloudError: It is none that the Jobs service knows (``bad-topic``).
    """
    match = _REQUEST_TOPIC.fullmatch(topic)
    if match is None:
        raise CloudError(f"{topic[:80]!r} is no request to the Jobs service", reason="bad-topic")
    thing, job, verb = match.groups()
    members = json.loads(payload)
    token = str(members.pop("clientToken", ""))
    path = f"{_jobs_path(thing)}/{quote(job, safe='$')}"
    if verb == "update":
        return HttpsRequest(thing, "POST", path, json.dumps(members).encode(), token)
    names = ("executionNumber", "includeJobDocument")
    query = {name: json.dumps(members[name]) for name in names if name in members}
    return HttpsRequest(thing, "GET", f"{path}?{urlencode(query)}", None, token)


def pending_request(thing_name: str) -> HttpsRequest:
    """GetPendingJobExecutions: ids and versions of what waits."""
    return HttpsRequest(thing_name, "GET", _jobs_path(thing_name))


def read_answer(answer: HttpsAnswer) -> tuple[bool, dict[str, object]]:
    """Translate an answer.

    Returns:
        Whether the request was accepted; and the body that the answer would have over MQTT, where a rejection has a
        ``code``.

    Raises:
        CloudError: What answered is not the Jobs service (``bad-reply``).
    """
    body = _object(answer.content)
    if 200 <= answer.status < 300:
        if body is None:
            raise _not_the_service(answer)
        return True, body
    code = _code(answer, body or {})
    if code is None:
        raise _not_the_service(answer)
    message = (body or {}).get("message")
    return False, {
        **(body or {}),
        "code": code,
        "message": message if isinstance(message, str) else f"HTTP {answer.status}",
    }


def _code(answer: HttpsAnswer, body: Mapping[str, object]) -> str | None:
    name = answer.error_type or str(body.get("__type") or "")
    # The header may carry a namespace in front and a URL behind.
    name = name.partition(":")[0].rpartition("#")[2]
    if name in _CODES:
        return _CODES[name]
    if answer.status == 429:
        return "RequestThrottled"
    if answer.status >= 500:
        return "ServiceUnavailable"
    if answer.status in {401, 403}:
        return FORBIDDEN
    return name or None


def _jobs_path(thing_name: str) -> str:
    return f"/things/{quote(thing_name, safe='')}/jobs"


def _object(content: bytes) -> dict[str, object] | None:
    if not content:
        return {}
    try:
        decoded = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _not_the_service(answer: HttpsAnswer) -> CloudError:
    return CloudError(
        f"what answered is not the Jobs service (HTTP {answer.status})",
        reason="bad-reply",
        hint="Is there a proxy or a portal in between, and is --jobs-https the right host and port?",
    )
