"""The Jobs device API as topics and JSON: a request in, a reply out, notifications as messages.

Source: AWS IoT Developer Guide, "Jobs device MQTT API" (topics, members, error codes); times are whole epoch
seconds and ``jobDocument`` is an object, as on MQTT. ``clientToken`` is echoed on both kinds of reply.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from bridge.lab.jobs_limits import MAX_CLIENT_TOKEN_CHARS, invalid
from bridge.lab.jobs_model import Execution, ExecutionStatus, JobsRejectedError, Notification, RejectionCode
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore

_log = logging.getLogger(__name__)

REQUEST_FILTERS: Final = tuple(
    f"$aws/things/+/jobs/{request}" for request in ("get", "start-next", "+/get", "+/update")
)
"""What a Jobs service subscribes to when it is an MQTT client itself."""
ALL_JOBS_FILTER: Final = "$aws/things/+/jobs/#"
"""What a Jobs service inside the broker owns."""
MAX_LISTED: Final = 10

_OUTGOING: Final = frozenset({"accepted", "rejected", "notify", "notify-next"})


@dataclass(frozen=True)
class Message:
    """A topic and a JSON body."""

    topic: str
    payload: bytes


class JobsApi:
    """Answers devices' requests from a store."""

    def __init__(self, store: JobsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def handle(self, topic: str, payload: bytes) -> Message | None:
        """Answer a request.

        Returns:
            The reply on ``…/accepted`` or ``…/rejected``; None when the topic is one that only the service
            publishes to.
        """
        levels = topic.split("/")
        if levels[-1] in _OUTGOING:
            return None
        token: str | None = None
        try:
            request = _parse(payload)
            token = _client_token(request)
            self._store.faults.check(topic)
            body = self._answer(levels[2], levels[4:], request)
        except JobsRejectedError as rejection:
            _log.info("%s rejected: %s", topic, rejection.message)
            return self._message(f"{topic}/rejected", _rejection_body(rejection), token)
        except Exception:  # noqa: BLE001 - the device must get an answer whatever happens
            _log.exception("bug while answering %s", topic)
            bug = JobsRejectedError(RejectionCode.INTERNAL_ERROR, "the Jobs service failed; see its log")
            return self._message(f"{topic}/rejected", _rejection_body(bug), token)
        return self._message(f"{topic}/accepted", body, token)

    def notification(self, notification: Notification) -> Message:
        """Build the message of a notification."""
        topic = f"$aws/things/{notification.thing_name}/jobs/{notification.kind}"
        if notification.kind == "notify":
            listed: dict[str, list[dict[str, object]]] = {}
            for execution in notification.pending[:MAX_LISTED]:
                listed.setdefault(execution.status, []).append(summary_body(execution))
            return self._message(topic, {"jobs": listed}, None)
        body: dict[str, object] = {}
        if notification.pending:
            execution = notification.pending[0]
            body["execution"] = self._execution_body(execution, with_document=True)
        return self._message(topic, body, None)

    def _answer(self, thing: str, call: list[str], request: Mapping[str, object]) -> dict[str, object]:
        match call:
            case ["get"]:
                return self._pending(thing)
            case ["start-next"]:
                started = self._store.device.start_next(
                    thing,
                    details=request.get("statusDetails"),
                    step_timeout_minutes=request.get("stepTimeoutInMinutes"),
                )
                return (
                    {}
                    if started is None
                    else {"execution": self._execution_body(started, with_document=True)}
                )
            case [job_id, "get"]:
                with_document = _flag(request, "includeJobDocument", default=True)
                found = self._store.device.describe(thing, job_id, number=request.get("executionNumber"))
                return (
                    {}
                    if found is None
                    else {"execution": self._execution_body(found, with_document=with_document)}
                )
            case [job_id, "update"]:
                return self._update(thing, job_id, request)
            case _:
                raise JobsRejectedError(RejectionCode.INVALID_TOPIC, f"no call behind {'/'.join(call)!r}")

    def _pending(self, thing: str) -> dict[str, object]:
        return pending_body(self._store.device.pending(thing))

    def _update(self, thing: str, job_id: str, request: Mapping[str, object]) -> dict[str, object]:
        with_state = _flag(request, "includeJobExecutionState", default=False)
        with_document = _flag(request, "includeJobDocument", default=False)
        if "status" not in request:
            raise invalid("status is missing")
        updated = self._store.device.update(
            thing,
            job_id,
            request["status"],
            details=request.get("statusDetails"),
            expected_version=request.get("expectedVersion"),
            number=request.get("executionNumber"),
            step_timeout_minutes=request.get("stepTimeoutInMinutes"),
        )
        body: dict[str, object] = {}
        if with_state:
            body["executionState"] = state_body(updated)
        if with_document:
            body["jobDocument"] = self._store.device.document(job_id)
        return body

    def _execution_body(self, execution: Execution, *, with_document: bool) -> dict[str, object]:
        body = execution_body(execution, self._clock())
        if with_document:
            body["jobDocument"] = self._store.device.document(execution.job_id)
        return body

    def _message(self, topic: str, body: dict[str, object], token: str | None) -> Message:
        full = {**body, "timestamp": int(self._clock())}
        if token is not None:
            full["clientToken"] = token
        return Message(topic, json.dumps(full).encode())


def pending_body(pending: Iterable[Execution]) -> dict[str, object]:
    """``GetPendingJobExecutionsResponse``: two lists of at most ten."""
    running: list[dict[str, object]] = []
    queued: list[dict[str, object]] = []
    for execution in pending:
        (queued if execution.status is ExecutionStatus.QUEUED else running).append(summary_body(execution))
    return {"inProgressJobs": running[:MAX_LISTED], "queuedJobs": queued[:MAX_LISTED]}


def execution_body(execution: Execution, now: float) -> dict[str, object]:
    """``JobExecution`` without its document; members without a value are absent."""
    body: dict[str, object] = {
        "jobId": execution.job_id,
        "thingName": execution.thing_name,
        "status": execution.status.value,
    }
    if execution.status_details:
        body["statusDetails"] = dict(execution.status_details)
    body |= summary_body(execution)
    if execution.deadline is not None:
        body["approximateSecondsBeforeTimedOut"] = max(0, int(execution.deadline - now))
    return body


def summary_body(execution: Execution) -> dict[str, object]:
    """``JobExecutionSummary``."""
    body: dict[str, object] = {
        "jobId": execution.job_id,
        "queuedAt": int(execution.queued_at),
        "lastUpdatedAt": int(execution.last_updated_at),
        "executionNumber": execution.execution_number,
        "versionNumber": execution.version_number,
    }
    if execution.started_at is not None:
        body["startedAt"] = int(execution.started_at)
    return body


def state_body(execution: Execution) -> dict[str, object]:
    """``JobExecutionState``."""
    return {
        "status": execution.status.value,
        "statusDetails": dict(execution.status_details),
        "versionNumber": execution.version_number,
    }


def _rejection_body(rejection: JobsRejectedError) -> dict[str, object]:
    body: dict[str, object] = {"code": rejection.code.value, "message": rejection.message}
    if rejection.execution is not None:
        body["executionState"] = state_body(rejection.execution)
    return body


def _parse(payload: bytes) -> Mapping[str, object]:
    try:
        request = json.loads(payload.decode()) if payload.strip() else {}
    except ValueError:
        raise JobsRejectedError(RejectionCode.INVALID_JSON, "the request is no UTF-8 JSON") from None
    if not isinstance(request, dict):
        raise JobsRejectedError(RejectionCode.INVALID_JSON, "the request is no JSON object")
    return request


def _client_token(request: Mapping[str, object]) -> str | None:
    token = request.get("clientToken")
    if token is not None and (not isinstance(token, str) or len(token) > MAX_CLIENT_TOKEN_CHARS):
        raise invalid(f"clientToken must be a string of at most {MAX_CLIENT_TOKEN_CHARS} characters")
    return token


def _flag(request: Mapping[str, object], member: str, *, default: bool) -> bool:
    value = request.get(member, default)
    if not isinstance(value, bool):
        raise invalid(f"{member} must be true or false")
    return value
