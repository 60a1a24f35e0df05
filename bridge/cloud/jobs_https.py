"""The Jobs service over HTTPS, for networks that let no MQTT through: looks like a broker that answers at once.

Source: AWS IoT Developer Guide, "Devices and jobs": HTTP over TLS with the device's certificate on port 8443, or on 443
with ALPN (:mod:`bridge.cloud.endpoint`). HTTPS has no notifications: the queue is looked at every now and then.
"""

import logging
from collections import Counter
from typing import Final, Self

from bridge import clock
from bridge.cloud.backoff import Backoff
from bridge.cloud.channel import CONNECT_TIMEOUT_S, Listener
from bridge.cloud.diagnosis import MAX_REFUSALS, REFUSED_REASON, UNREACHABLE_REASON, ConnectionDoctor
from bridge.cloud.endpoint import Endpoint
from bridge.cloud.jobs_https_codec import (
    FORBIDDEN,
    HttpsRequest,
    pending_request,
    read_answer,
    to_https,
)
from bridge.cloud.jobs_https_things import encode_reply, notification_topic, pending_state, thing_of
from bridge.cloud.jobs_https_web import HttpsWeb
from bridge.errors import CloudError

_log = logging.getLogger(__name__)

HTTPS_JOBS_PORT: Final = 8443
POLL_S: Final = 30.0
"""How often the queue is looked at, in seconds; up to a quarter more, so that a bench does not ask in step."""


class HttpsChannel:
    """A way to the Jobs service that needs no broker; see :class:`~bridge.cloud.channel.Channel`.

    Requests are sent by the thread that asks. Thread-safe.

    Args:
        endpoint: The HTTPS host, and our certificate. The client id is not used.
        poll_s: How often the queue is looked at.
        backoff: Pauses after failures; for tests.
    """

    def __init__(self, endpoint: Endpoint, *, poll_s: float = POLL_S, backoff: Backoff | None = None) -> None:
        self._endpoint = endpoint
        self._poll_s = poll_s
        self._backoff = backoff or Backoff()
        self._doctor = ConnectionDoctor(f"{endpoint} (HTTPS)", endpoint.client_id)
        self._changed = clock.condition()
        self._listeners: list[Listener] = []
        self._pending: dict[str, object] = {}
        self._active = True
        self._closing = False
        self._not_before_s = 0.0
        self._next_poll_s = 0.0
        self._answered_once = False
        self._served = False
        self._refusals: Counter[str] = Counter()
        self._failure: CloudError | None = None
        self._sent = 0
        self._web: HttpsWeb | None = None
        self._thread = clock.thread(self._poll_forever, "jobs-https")

    def open(self) -> Self:
        """Begin to look at the queue.

        Raises:
            UsageError: A certificate file cannot be used.
        """
        if self._web is None:
            self._web = HttpsWeb(self._endpoint, self._doctor.tls_error)
            self._thread.start()
        return self

    def close(self) -> None:
        """Stop looking."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        if self._web is not None:
            self._web.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> CloudError | None:
        """Why there will never be an answer, as a new error to raise; None while there is hope."""
        failure = self._failure
        return failure and CloudError(failure.message, reason=failure.reason, hint=failure.hint)

    def set_active(self, active: bool) -> None:
        """Whether to look at the queue; requests are sent in any case."""
        with self._changed:
            self._active = active
            self._next_poll_s = 0.0
            self._changed.notify_all()

    def add_listener(self, listener: Listener) -> None:
        """Look at the queue of a listener's thing from now on, and tell it to ask now."""
        with self._changed:
            self._listeners.append(listener)
            self._next_poll_s = 0.0
            self._changed.notify_all()
        listener.on_ready()

    def remove_listener(self, listener: Listener) -> None:
        """Tell a listener no more."""
        with self._changed:
            if listener in self._listeners:
                self._listeners.remove(listener)

    def wait_ready(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Block until it is time for the next attempt; at once unless the last one failed.

        Raises:
            CloudError: There will never be an answer; or the pause is longer than that (``broker-unreachable``).
        """
        deadline_s = clock.monotonic() + timeout_s
        with self._changed:
            while (wait_s := self._not_before_s - clock.monotonic()) > 0 and not self._ended:
                left_s = deadline_s - clock.monotonic()
                if left_s <= 0:
                    raise CloudError(
                        f"no answer from {self._endpoint} over HTTPS: {self._doctor.last_problem}",
                        reason=UNREACHABLE_REASON,
                    )
                self._changed.wait(min(wait_s, left_s))
            if (failure := self.failure) is not None:
                raise failure
            if self._closing or self._web is None:
                raise CloudError("the connection is closed", reason="connection-closed")

    def send(self, topic: str, payload: bytes) -> int:
        """Ask, and hand the answer to the listeners before this returns; if there is none, they hear that it was lost.

        Raises:
            CloudError: It is no request to the Jobs service (``bad-topic``), or what answers is not that service
                (``bad-reply``).
        """
        request = to_https(topic, payload)
        answer = self._ask(request)
        if answer is not None:
            accepted, body = answer
            message = encode_reply(body, request.token)
            for listener in self._heard_by():
                listener.on_message(f"{topic}/{'accepted' if accepted else 'rejected'}", message)
        with self._changed:
            self._sent += 1
            return self._sent

    def _ask(self, request: HttpsRequest) -> tuple[bool, dict[str, object]] | None:
        """The answer; None when there was none, which everybody has been told then."""
        assert self._web is not None
        try:
            raw = self._web.ask(request)
        except OSError as error:
            self._failed(error)
            return None
        answer = read_answer(raw)
        self._answered(request.thing_name, forbidden=answer[1].get("code") == FORBIDDEN)
        return answer

    def _failed(self, error: OSError) -> None:
        if isinstance(error, ConnectionResetError | BrokenPipeError) and not self._answered_once:
            # With TLS 1.3 a server judges our certificate after the handshake, and often just hangs up then.
            failure = self._doctor.lost(clock.monotonic(), str(error))
        else:
            failure = self._doctor.attempt_failed(error)
        _log.warning("no answer from %s over HTTPS: %s", self._endpoint, self._doctor.last_problem)
        with self._changed:
            self._not_before_s = clock.monotonic() + self._backoff.next_s()
            self._failure = self._failure or failure
        for listener in self._heard_by():
            listener.on_lost()

    def _answered(self, thing: str, *, forbidden: bool) -> None:
        with self._changed:
            self._answered_once = True
            was_lost, self._not_before_s = self._not_before_s > 0, 0.0
            self._backoff.reset()
            self._refusals[thing] += forbidden
            self._served = self._served or not forbidden
            things = {name for name in map(thing_of, self._listeners) if name} or {thing}
            if not self._served and all(self._refusals[name] >= MAX_REFUSALS for name in things):
                self._failure = CloudError(
                    f"{self._endpoint} refuses our certificate over HTTPS ({MAX_REFUSALS} times in a row)",
                    reason=REFUSED_REASON,
                    hint="Its policy must allow iotjobsdata:GetPendingJobExecutions, DescribeJobExecution and"
                    " UpdateJobExecution on the thing, and it must be active.",
                )
        if was_lost or self._failure is not None:
            for listener in self._heard_by():
                listener.on_lost() if self._failure else listener.on_ready()

    def _poll_forever(self) -> None:
        while self._wait_for_poll():
            try:
                for listener in self._heard_by():
                    self._poll(listener)
            except CloudError as error:
                _log.warning("cannot look for jobs: %s", error.message)
            except Exception:  # noqa: BLE001 - whatever it is, the queue must be looked at again
                _log.exception("bug while looking for jobs")

    def _wait_for_poll(self) -> bool:
        with self._changed:
            while not self._ended:
                due_s = max(self._next_poll_s, self._not_before_s) - clock.monotonic()
                if due_s <= 0 and self._active and self._listeners:
                    self._next_poll_s = clock.monotonic() + self._poll_s * (1 + clock.uniform() / 4)
                    return True
                self._changed.wait(due_s if self._active and self._listeners else None)
        return False

    def _poll(self, listener: Listener) -> None:
        thing = thing_of(listener)
        answer = self._ask(pending_request(thing)) if thing else None
        if thing is None or answer is None or not answer[0]:
            return
        seen = pending_state(answer[1])
        with self._changed:
            changed = self._pending.get(thing) != seen
            self._pending[thing] = seen
        if changed:
            listener.on_message(notification_topic(thing), b"{}")

    def _heard_by(self) -> list[Listener]:
        with self._changed:
            self._changed.notify_all()
            return list(self._listeners)

    @property
    def _ended(self) -> bool:
        return self._closing or self._failure is not None
