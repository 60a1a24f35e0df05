"""One MQTT 3.1.1 connection that stays: connects in the background, comes back, subscribes again.

Facts about paho-mqtt 2 that shaped this (measured, and read in its ``client.py``): it never subscribes
again by itself; an exception in a callback ends its network thread silently; its reconnect waits have no
jitter; it does not tell why a connection failed, but calls ``on_connect_fail`` while handling the
exception; ``wait_for_publish`` cannot be trusted after an offline publish, so PUBACKs are followed by
message id; ``disconnect`` forgets what is not sent yet; it resends an unconfirmed message after every
reconnect.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Protocol, Self, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from bridge.cloud.backoff import Backoff
from bridge.cloud.diagnosis import UNREACHABLE_REASON, ConnectionDoctor
from bridge.cloud.endpoint import Endpoint, make_tls_context
from bridge.cloud.outbox import Ledger, check_message
from bridge.errors import CloudError

_log = logging.getLogger(__name__)
_P = ParamSpec("_P")

MAX_FILTERS_PER_SUBSCRIBE: Final = 8
CONNECT_TIMEOUT_S: Final = 30.0
DRAIN_TIMEOUT_S: Final = 5.0
_MAX_QUEUED_MESSAGES: Final = 100
_QOS: Final = 1


class Listener(Protocol):
    """Gets the messages of a connection. All methods are called on the network thread and must not block."""

    @property
    def filters(self) -> Sequence[str]:
        """What to subscribe to, on every connect."""
        ...

    def on_message(self, topic: str, payload: bytes) -> None:
        """A message came in, subscribed or not."""
        ...

    def on_connection_change(self) -> None:
        """The subscriptions are in place (again), the connection is lost, or has failed for good."""
        ...


def _guarded(
    callback: Callable[Concatenate["Connection", _P], None],
) -> Callable[Concatenate["Connection", _P], None]:
    """Keep exceptions of a callback from ending the network thread."""

    def guarded(self: "Connection", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            callback(self, *args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, the network thread must live on
            _log.exception("bug in the MQTT callback %s", callback.__name__)

    return guarded


class Connection:
    """A connection to a broker, kept alive by a thread of its own from :meth:`open` to :meth:`close`.

    Thread-safe. A broker that is away is waited for with growing pauses; what can never succeed
    (certificates, a client id that another client uses, a refusal) stops the attempts and is raised by every
    later call.

    Args:
        endpoint: Broker and identity.
        backoff: Pauses between attempts; for tests.
    """

    def __init__(self, endpoint: Endpoint, *, backoff: Backoff | None = None) -> None:
        self._endpoint = endpoint
        self._backoff = backoff or Backoff()
        self._doctor = ConnectionDoctor(str(endpoint), endpoint.client_id)
        self._changed = threading.Condition()
        self._client: paho.Client | None = None
        self._listeners: list[Listener] = []
        self._connected = False
        self._ready_announced = False
        self._closing = False
        self._failure: CloudError | None = None
        self._connects = 0
        self._subscribes = Ledger()
        self._publishes = Ledger()
        self._refused_filters: list[str] = []

    def open(self) -> Self:
        """Begin to connect; returns at once.

        Raises:
            UsageError: A certificate file cannot be used.
        """
        if self._client is not None:
            return self
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._endpoint.client_id,
            clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        client.tls_set_context(make_tls_context(self._endpoint, self._doctor.tls_error))
        client.max_queued_messages_set(_MAX_QUEUED_MESSAGES)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        self._client = client
        client.connect_async(self._endpoint.host, self._endpoint.port, keepalive=self._endpoint.keep_alive_s)
        client.loop_start()
        return self

    def close(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Wait for the PUBACKs of what was published, then disconnect."""
        client = self._client
        if client is None or self._closing:
            return
        with self._changed:
            self._changed.wait_for(
                lambda: not self._publishes.pending or not self._connected or self._failure is not None,
                timeout=drain_timeout_s,
            )
            self._closing = True
            self._changed.notify_all()
        client.disconnect()
        client.loop_stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def failure(self) -> CloudError | None:
        """Why there will never be a connection; None while there is hope."""
        return self._failure

    @property
    def connects(self) -> int:
        """How many times the subscriptions were put in place; a change means that messages may be missing."""
        return self._connects

    def add_listener(self, listener: Listener) -> None:
        """Deliver messages to a listener from now on; subscribe its filters now and after every reconnect."""
        with self._changed:
            self._listeners.append(listener)
            connected = self._connected
        if connected:
            self._subscribe([listener])

    def remove_listener(self, listener: Listener) -> None:
        """Deliver no more messages to a listener; its subscriptions end with the connection."""
        with self._changed, suppress(ValueError):
            self._listeners.remove(listener)

    def wait_ready(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Block until connected with all subscriptions in place.

        Raises:
            CloudError: That cannot be (``tls``, ``client-id-taken``, ``connection-refused-by-broker``), is
                refused (``subscription-refused``), or takes too long (``broker-unreachable``).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ready() or self._ended(), timeout=timeout_s)
            if self._failure is not None:
                raise self._failure
            if self._closing or self._client is None:
                raise CloudError("the connection is closed", reason="connection-closed")
            if self._refused_filters:
                raise CloudError(
                    f"broker {self._endpoint} refuses the subscription to {self._refused_filters[0]}",
                    reason="subscription-refused",
                    hint="Check the policy of our certificate and the thing name.",
                )
            if not self._ready():
                raise CloudError(
                    f"no connection to broker {self._endpoint}: {self._doctor.last_problem}",
                    reason=UNREACHABLE_REASON,
                )

    def send(self, topic: str, payload: bytes) -> int:
        """Publish at QoS 1 without waiting for the broker.

        Returns:
            The message id, for :meth:`wait_sent`.

        Raises:
            CloudError: Topic or size are not possible (``bad-topic``, ``message-too-large``), or nothing more
                fits into the queue (``queue-full``).
        """
        check_message(topic, payload)
        client = self._client
        if client is None or self._closing:
            raise CloudError("the connection is closed", reason="connection-closed")
        info = client.publish(topic, payload, qos=_QOS)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise CloudError("too many messages wait for the broker", reason="queue-full")
        with self._changed:
            self._publishes.sent(info.mid)
        return info.mid

    def wait_sent(self, message_id: int, timeout_s: float) -> bool:
        """Block until the broker has confirmed a message, also across a reconnect; False when time is up."""
        with self._changed:
            self._changed.wait_for(
                lambda: message_id not in self._publishes.pending or self._ended(), timeout=timeout_s
            )
            return message_id not in self._publishes.pending

    def publish(self, topic: str, payload: bytes, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Publish at QoS 1 and wait for the broker's PUBACK.

        Raises:
            CloudError: As :meth:`wait_ready` and :meth:`send`; ``no-answer`` when no PUBACK comes in time, in
                which case the message may or may not have arrived.
        """
        deadline_s = time.monotonic() + timeout_s
        self.wait_ready(timeout_s)
        message_id = self.send(topic, payload)
        if not self.wait_sent(message_id, max(0.0, deadline_s - time.monotonic())):
            raise self._failure or CloudError(
                f"broker {self._endpoint} did not confirm a message on {topic} in {timeout_s:g} s",
                reason="no-answer",
            )

    @_guarded
    def _on_connect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if code.is_failure:
            _log.warning("broker %s refuses the connection: %s", self._endpoint, code)
            self._fail(self._doctor.refused(code.getName()))
            return
        _log.info("connected to broker %s as %s", self._endpoint, self._endpoint.client_id)
        self._doctor.connected(time.monotonic())
        with self._changed:
            listeners = list(self._listeners)
            self._refused_filters = []
        self._subscribe(listeners)
        with self._changed:
            self._connected = True
        self._announce_if_ready()

    @_guarded
    def _on_connect_fail(self, _client: paho.Client, _data: Any) -> None:
        failure = self._doctor.attempt_failed(sys.exception())
        _log.warning("no connection to broker %s: %s", self._endpoint, self._doctor.last_problem)
        self._schedule_reconnect()
        self._fail(failure)

    @_guarded
    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any
    ) -> None:
        if self._closing:
            return
        now_s = time.monotonic()
        if self._doctor.stable(now_s):
            self._backoff.reset()
        with self._changed:
            busy = bool(self._subscribes.pending or self._publishes.pending)
            self._connected = self._ready_announced = False
            self._subscribes = Ledger()
        failure = self._doctor.lost(now_s, code.getName(), busy=busy)
        _log.warning("broker %s: %s", self._endpoint, self._doctor.last_problem)
        self._schedule_reconnect()
        self._fail(failure)
        self._announce()

    @_guarded
    def _on_subscribe(
        self, _client: paho.Client, _data: Any, message_id: int, codes: list[ReasonCode], _properties: Any
    ) -> None:
        with self._changed:
            group = self._subscribes.confirmed(message_id)
            names = group or ("the jobs topics",) * len(codes)
            self._refused_filters += [
                name for name, code in zip(names, codes, strict=False) if code.is_failure
            ]
        self._announce_if_ready()

    @_guarded
    def _on_publish(
        self, _client: paho.Client, _data: Any, message_id: int, _code: Any, _properties: Any
    ) -> None:
        # paho-mqtt holds its own lock here, so nobody may publish while holding ours.
        with self._changed:
            self._publishes.confirmed(message_id)
            self._changed.notify_all()

    @_guarded
    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        topic, payload = message.topic, bytes(message.payload)
        with self._changed:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.on_message(topic, payload)

    def _subscribe(self, listeners: Sequence[Listener]) -> None:
        client = self._client
        filters = [name for listener in listeners for name in listener.filters]
        for start in range(0, len(filters), MAX_FILTERS_PER_SUBSCRIBE):
            group = filters[start : start + MAX_FILTERS_PER_SUBSCRIBE]
            assert client is not None
            code, message_id = client.subscribe([(name, _QOS) for name in group])
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS or message_id is None:
                return  # The connection is lost again; the next connect subscribes everything.
            with self._changed:
                self._subscribes.sent(message_id, group)

    def _schedule_reconnect(self) -> None:
        assert self._client is not None
        # paho-mqtt declares whole seconds and takes fractions; equal bounds make it wait just this long.
        delay_s = cast("int", self._backoff.next_s())
        self._client.reconnect_delay_set(delay_s, delay_s)

    def _fail(self, failure: CloudError | None) -> None:
        if failure is None or self._client is None:
            return
        _log.error("%s", failure.message)
        with self._changed:
            self._failure = failure
        # disconnect() alone does not end the thread from on_disconnect: paho-mqtt overwrites the state it
        # sets.
        self._client.disconnect()
        self._client.loop_stop()
        self._announce()

    def _announce_if_ready(self) -> None:
        with self._changed:
            if not self._ready() or self._ready_announced:
                self._changed.notify_all()
                return
            self._ready_announced = True
            self._connects += 1
        self._announce()

    def _announce(self) -> None:
        with self._changed:
            listeners = list(self._listeners)
            self._changed.notify_all()
        for listener in listeners:
            listener.on_connection_change()

    def _ready(self) -> bool:
        return self._connected and not self._subscribes.pending

    def _ended(self) -> bool:
        return self._failure is not None or self._closing
