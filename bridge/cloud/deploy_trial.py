"""One connection to a broker for one trial: no second attempts, and every answer seen as it comes."""

import queue
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

from bridge.cloud.diagnosis import UNREACHABLE_REASON
from bridge.cloud.endpoint import Endpoint, make_tls_context
from bridge.cloud.job_execution import JobExecution, JobStatus
from bridge.cloud.job_messages import NEXT_JOB, JobTopics, Reply, build_get, build_update, read_reply
from bridge.cloud.mqtt_client import MAX_FILTERS_PER_SUBSCRIBE, MqttClient
from bridge.errors import CloudError

_BUSY_CODES: Final = frozenset({"RequestThrottled", "InternalError", "ServiceUnavailable"})
_BUSY_PAUSE_S: Final = 0.5
_NO_SECOND_TRY_S: Final = 3600.0
_NEVER: Final = JobExecution("nrf91-bridge-check", 1, 2**31 - 1, JobStatus.IN_PROGRESS)
"""No job: an update of it changes nothing, and its rejection proves that updates get through."""


@dataclass(frozen=True)
class ServiceAnswer:
    """What the Jobs service answered.

    Attributes:
        text: In words.
        refusal: Its error code, if it is not what it should be.
    """

    text: str
    refusal: str | None = None


class Trial:
    """A connection, as a context manager; the MQTT client's events go into a queue.

    Args:
        endpoint: Broker and identity.
        timeout_s: How long to wait for each answer.
    """

    def __init__(self, endpoint: Endpoint, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._events: queue.Queue[tuple[str, object]] = queue.Queue()
        context = make_tls_context(endpoint, lambda error: self._note("tls", error.reason or str(error)))
        self._client = MqttClient(endpoint, context, self, lambda: _NO_SECOND_TRY_S)

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.stop()

    def connect(self) -> str | None:
        """Connect; None, or why that was not possible."""
        self._client.start()
        tls = ""
        deadline_s = time.monotonic() + self._timeout_s
        while (event := self._next(deadline_s)) is not None:
            match event:
                case "accepted", _:
                    return None
                case "refused", why:
                    return f"it answers {why}"
                case "tls", why:
                    tls = f" ({why})"
                case (("failed" | "lost"), why):
                    return f"it drops the connection{tls or f' ({why})'}"
        return "it does not answer"

    def subscribe(self, filters: Sequence[str]) -> list[str]:
        """Subscribe; the filters that were refused."""
        refused: list[str] = []
        for start in range(0, len(filters), MAX_FILTERS_PER_SUBSCRIBE):
            group = filters[start : start + MAX_FILTERS_PER_SUBSCRIBE]
            answer = ("lost", None) if self._client.subscribe(group) is None else self._wait("subscribed")
            if answer is None or answer[0] == "lost":
                return [*refused, *group]  # AWS IoT may also end the connection
            assert isinstance(answer[1], list)
            refused += [name for name, no in zip(group, answer[1], strict=False) if no]
        return refused

    def ask_next(self, topics: JobTopics) -> ServiceAnswer:
        """Ask for the next job, without taking it.

        Raises:
            CloudError: The broker ends the connection (``publish-refused``), the connection is lost while the service is
                busy (``broker-unreachable``), no answer comes (``no-answer``), or it is none (``bad-reply``).
        """
        code, body = self._ask(topics.get(NEXT_JOB), build_get)
        if code is not None:
            return ServiceAnswer(str(body.get("message", "")), code)
        execution = body.get("execution")
        waits = execution.get("jobId") if isinstance(execution, dict) else None
        return ServiceAnswer(
            "the Jobs service answers: " + (f"job {waits} waits" if waits else "no job waits")
        )

    def ask_update(self, topics: JobTopics) -> ServiceAnswer:
        """Report on a job that does not exist: it changes nothing.

        Raises:
            CloudError: As :meth:`ask_next`.
        """
        build = partial(build_update, execution=_NEVER, status=JobStatus.IN_PROGRESS, details={})
        code, body = self._ask(topics.update(_NEVER.job_id), build)
        if code == "ResourceNotFound":
            return ServiceAnswer("reports on jobs get through")
        return ServiceAnswer(str(body.get("message", "")), code or "accepted")

    # Called by the MQTT client, on its network thread.

    def accepted(self) -> None:
        """The broker let us in."""
        self._note("accepted", None)

    def refused(self, code_name: str) -> None:
        """The broker does not let us in."""
        self._note("refused", code_name)

    def attempt_failed(self, error: BaseException | None) -> None:
        """No connection came about."""
        self._note("failed", error or "no reason given")

    def lost(self, reason_name: str) -> None:
        """The connection ended."""
        self._note("lost", reason_name)

    def subscribed(self, message_id: int, refused: Sequence[bool]) -> None:
        """A SUBACK."""
        self._note("subscribed", list(refused))

    def confirmed(self, message_id: int) -> None:
        """A PUBACK."""

    def not_taken(self, message_id: int, reason_name: str) -> None:
        """A refusal in MQTT 5, which is not spoken here."""

    def message(self, topic: str, payload: bytes) -> None:
        """A message."""
        self._note("message", (topic, payload))

    def _ask(self, topic: str, build: Callable[[str], bytes]) -> tuple[str | None, dict[str, object]]:
        """Ask until the service is not busy: the code of its refusal, if it is one, and the answer."""
        deadline_s = time.monotonic() + self._timeout_s
        while True:
            token = uuid.uuid4().hex
            self._client.publish(topic, build(token))
            reply = self._reply(topic, token, deadline_s)
            if reply is None:
                raise CloudError(
                    f"no answer to what we published on {topic} in {self._timeout_s:g} s", reason="no-answer"
                )
            again_s = time.monotonic() + _BUSY_PAUSE_S
            while reply is not None:
                if reply.accepted or reply.code not in _BUSY_CODES or again_s > deadline_s:
                    return (None if reply.accepted else reply.code), dict(reply.body)
                reply = self._reply(topic, token, again_s, busy=True)

    def _reply(self, topic: str, token: str, deadline_s: float, *, busy: bool = False) -> Reply | None:
        """The next answer to a request, which may have been told before that the service is busy; None when time is up."""
        while (event := self._next(deadline_s)) is not None:
            kind, what = event
            if kind == "lost" and busy:
                raise CloudError(
                    f"the connection was lost while the Jobs service was busy: {what}",
                    reason=UNREACHABLE_REASON,
                )
            if kind == "lost":
                raise CloudError(
                    f"the broker ends the connection when we publish on {topic}", reason="publish-refused"
                )
            if kind == "message" and isinstance(what, tuple):
                reply = read_reply(*what)
                if reply is not None and reply.request_topic == topic and reply.token in {None, token}:
                    return reply
        return None

    def _wait(self, kind: str) -> tuple[str, object] | None:
        deadline_s = time.monotonic() + self._timeout_s
        while (event := self._next(deadline_s)) is not None:
            if event[0] in {kind, "lost"}:
                return event
        return None

    def _next(self, deadline_s: float) -> tuple[str, object] | None:
        try:
            return self._events.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            return None

    def _note(self, kind: str, what: object) -> None:
        self._events.put((kind, what))
