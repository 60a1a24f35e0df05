"""One MQTT connection that stays: connects in the background, comes back, subscribes again.

AWS IoT replies to requests without a subscription, so every message is offered to every listener; the
session is clean, so after each reconnect listeners must expect that they missed something.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Self

from bridge.cloud.backoff import Backoff
from bridge.cloud.channel import CONNECT_TIMEOUT_S, Listener
from bridge.cloud.diagnosis import NOT_AUTHORIZED, UNREACHABLE_REASON, ConnectionDoctor
from bridge.cloud.endpoint import Endpoint, make_tls_context
from bridge.cloud.mqtt_client import MAX_FILTERS_PER_SUBSCRIBE, MqttClient
from bridge.cloud.outbox import Ledger, Suspects, check_message, kind_of
from bridge.errors import CloudError

_log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S: Final = 5.0
_MESSAGE_IDS: Final = 1 << 16
"""Each MQTT client numbers its messages anew."""


class Connection:
    """A connection to a broker, kept alive by a thread of its own from :meth:`open` to :meth:`close`.

    Thread-safe. A broker that is away, or a line that breaks again and again, is waited for with growing pauses; what
    can never succeed (certificates, a client id that another client uses, a refusal) stops the attempts and is raised
    by every later call. MQTT 3.1.1 is spoken until a reason is wanted that only MQTT 5 gives.

    Args:
        endpoint: Broker and identity.
        backoff: Pauses between attempts; for tests.
    """

    def __init__(self, endpoint: Endpoint, *, backoff: Backoff | None = None) -> None:
        self._endpoint = endpoint
        self._backoff = backoff or Backoff()
        self._doctor = ConnectionDoctor(str(endpoint), endpoint.client_id)
        self._changed = threading.Condition()
        self._client: MqttClient | None = None
        self._listeners: list[Listener] = []
        self._connected = False
        self._announced = False
        self._subscribing = 0
        self._closing = False
        self._failure: CloudError | None = None
        self._subscribes = Ledger()
        self._publishes = Ledger()
        self._suspects = Suspects()
        self._granted: set[str] = set()
        self._generation = 0
        self._refused_filters: list[str] = []

    def open(self) -> Self:
        """Begin to connect; returns at once.

        Raises:
            UsageError: A certificate file cannot be used.
        """
        if self._client is None:
            self._client = self._make_client()
            self._client.start()
        return self

    def close(self, *, drain_timeout_s: float = DRAIN_TIMEOUT_S) -> None:
        """Wait until the broker has confirmed what was published, then disconnect."""
        with self._changed:
            if self._client is None or self._closing:
                return
            self._changed.wait_for(
                lambda: not self._publishes.pending or not self._connected, timeout=drain_timeout_s
            )
            self._closing = True
            self._changed.notify_all()
        self._client.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def failure(self) -> CloudError | None:
        """Why there will never be a connection, as a new error to raise; None while there is hope."""
        failure = self._failure
        return failure and CloudError(failure.message, reason=failure.reason, hint=failure.hint)

    def add_listener(self, listener: Listener) -> None:
        """Deliver messages to a listener from now on; subscribe its filters now and after every reconnect."""
        with self._changed:
            self._listeners.append(listener)
            if not self._connected:
                return
            self._subscribing += 1
            self._announced = False
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
            self._changed.wait_for(lambda: self._ready or self._ended, timeout=timeout_s)
            if (failure := self.failure) is not None:
                raise failure
            if self._ended:
                raise CloudError("the connection is closed", reason="connection-closed")
            if self._refused_filters and not any(map(self._is_served, self._listeners)):
                raise self._refused_subscription(self._refused_filters[0])
            if not self._ready:
                raise CloudError(
                    f"no connection to broker {self._endpoint}: {self._doctor.last_problem}",
                    reason=UNREACHABLE_REASON,
                )

    def send(self, topic: str, payload: bytes) -> int:
        """Publish at QoS 1 without waiting for the broker.

        Returns:
            The message id, for :meth:`wait_sent`.

        Raises:
            CloudError: Topic or size are not possible (``bad-topic``, ``message-too-large``), the broker does not
                take what we publish there (``publish-refused``, ``subscription-refused``), or nothing more fits into
                the queue (``queue-full``).
        """
        check_message(topic, payload)
        with self._changed:
            client, ledger, generation = self._client, self._publishes, self._generation
            self._suspects.check(topic, time.monotonic())
            self._check_subscriptions(topic)
            if client is None or self._closing:
                raise CloudError("the connection is closed", reason="connection-closed")
            ledger.begin([topic])
        try:
            message_id = client.publish(topic, payload)  # not under our lock, see MqttEvents.confirmed
        except CloudError:
            with self._changed:
                ledger.withdraw([topic])
            raise
        with self._changed:
            if ledger.sent(message_id, [topic]):
                self._note_taken([topic])
        return generation * _MESSAGE_IDS + message_id

    def wait_sent(self, message_id: int, timeout_s: float) -> bool:
        """Block until the broker has confirmed a message, also across a reconnect; False when time is up."""
        generation, message_id = divmod(message_id, _MESSAGE_IDS)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    message_id not in self._publishes.pending or self._ended or generation != self._generation
                ),
                timeout=timeout_s,
            )
            return generation == self._generation and message_id not in self._publishes.pending

    def publish(self, topic: str, payload: bytes, *, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Publish at QoS 1 and wait for the broker's confirmation.

        Raises:
            CloudError: As :meth:`wait_ready` and :meth:`send`; ``no-answer`` when no confirmation comes in
                time, in which case the message may or may not have arrived.
        """
        deadline_s = time.monotonic() + timeout_s
        self.wait_ready(timeout_s)
        message_id = self.send(topic, payload)
        if not self.wait_sent(message_id, max(0.0, deadline_s - time.monotonic())):
            raise self.failure or CloudError(
                f"broker {self._endpoint} did not confirm a message on {topic} in {timeout_s:g} s",
                reason="no-answer",
            )

    # The rest is called by the MQTT client, on its network thread.

    def accepted(self) -> None:
        """The broker let us in: subscribe everything again."""
        _log.info("connected to broker %s as %s", self._endpoint, self._endpoint.client_id)
        self._doctor.connected(time.monotonic())
        with self._changed:
            self._connected = True
            self._refused_filters = []
            self._subscribing += 1
            listeners = list(self._listeners)
        self._subscribe(listeners)

    def refused(self, code_name: str) -> None:
        """The broker does not let us in."""
        failure = self._doctor.refused(code_name)
        _log.warning("broker %s: %s", self._endpoint, self._doctor.last_problem)
        self._give_up_on(failure)

    def attempt_failed(self, error: BaseException | None) -> None:
        """No connection came about."""
        failure = self._doctor.attempt_failed(error)
        _log.warning("no connection to broker %s: %s", self._endpoint, self._doctor.last_problem)
        self._give_up_on(failure)

    def lost(self, reason_name: str) -> None:
        """The connection ended without our asking."""
        now_s = time.monotonic()
        if self._doctor.stable(now_s):
            self._backoff.reset()
        with self._changed:
            names = [*self._subscribes.names, *self._publishes.names]
            # An answer that was on its way can be lost too: what was granted before is not what the broker hung up on.
            asked = next((name for name in names if kind_of(name) not in self._granted), (names or [""])[0])
            granted = kind_of(asked) in self._granted
            shared = self._connected and self._is_shared
            self._connected = self._announced = False
            self._subscribes = Ledger()
            guilty = self._suspects.lost(self._publishes.names, now_s) if shared else None
            judging = shared and bool(
                self._publishes.names
            )  # The suspected message must be sent again for that.
        failure = self._doctor.lost(now_s, reason_name, asked=asked, granted=granted)
        _log.warning("broker %s: %s", self._endpoint, self._doctor.last_problem)
        if guilty is not None:
            self._go_on_without(guilty)
        elif failure is not None:
            self._give_up_on(failure)
        elif not judging:
            self._speak_as_wanted()
        for listener in self._notified_listeners():
            listener.on_lost()

    def subscribed(self, message_id: int, refused: Sequence[bool]) -> None:
        """The broker answered to a subscription."""
        with self._changed:
            self._note_subscribed(self._subscribes.confirmed(message_id), refused)
        self._announce_if_ready()

    def confirmed(self, message_id: int) -> None:
        """The broker has a message."""
        with self._changed:
            self._note_taken(self._publishes.confirmed(message_id))
            self._changed.notify_all()

    def _note_taken(self, topics: Sequence[str]) -> None:
        self._suspects.confirmed(topics)
        self._granted.update(map(kind_of, topics))

    def _note_subscribed(self, names: Sequence[str], refused: Sequence[bool]) -> None:
        for name, no in zip(names, refused, strict=False):
            if no:
                self._refused_filters.append(name)
            else:
                self._granted.add(kind_of(name))

    def not_taken(self, message_id: int, reason_name: str) -> None:
        """The broker has refused a message, and says why."""
        with self._changed:
            topic = next(iter(self._publishes.confirmed(message_id)), "a jobs topic")
            shared = self._is_shared
            denied = reason_name == NOT_AUTHORIZED
            if denied and shared:
                self._suspects.refuse(topic, time.monotonic())
            self._changed.notify_all()
        _log.error("broker %s does not take a message on %s: %s", self._endpoint, topic, reason_name)
        if denied and not shared:
            self._give_up_on(self._doctor.denial(topic))

    def message(self, topic: str, payload: bytes) -> None:
        """A message came in."""
        with self._changed:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.on_message(topic, payload)

    def _subscribe(self, listeners: Sequence[Listener]) -> None:
        assert self._client is not None
        names = [name for listener in listeners for name in listener.filters]
        for start in range(0, len(names), MAX_FILTERS_PER_SUBSCRIBE):
            group = names[start : start + MAX_FILTERS_PER_SUBSCRIBE]
            # The answer must not come before its names are noted; unlike publishing, subscribing waits for no lock.
            with self._changed:
                message_id = self._client.subscribe(group)
                if message_id is None:
                    break  # The connection is lost again; the next one subscribes everything.
                self._subscribes.begin(group)
                self._subscribes.sent(message_id, group)
        with self._changed:
            self._subscribing -= 1
        self._announce_if_ready()

    def _make_client(self) -> MqttClient:
        context = make_tls_context(self._endpoint, self._doctor.tls_error, on_tls_end=self._doctor.hung_up)
        return MqttClient(
            self._endpoint, context, self, self._backoff.next_s, reasons=self._doctor.wants_reasons
        )

    def _go_on_without(self, area: str) -> None:
        """Forget the refused message, which the MQTT client would send again after each reconnect."""
        _log.error(
            "broker %s ends the connection when we publish under %s: its policy must allow that; going on without",
            self._endpoint,
            area,
        )
        self._doctor.explained()
        self._renew()

    def _speak_as_wanted(self) -> None:
        if self._client is not None and self._client.reasons != self._doctor.wants_reasons:
            self._renew()

    def _renew(self) -> None:
        """Connect with a new MQTT client.

        Messages that the old one has not got rid of are dropped; who sent them hears that the connection was lost.
        """
        assert self._client is not None
        self._client.stop()
        with self._changed:
            self._client = self._make_client()
            self._publishes = Ledger()
            self._generation += 1
            client = self._client
            closing = self._closing
        if not closing:
            client.start(after_s=self._backoff.next_s())

    def _is_served(self, listener: Listener) -> bool:
        return not set(listener.filters) & set(self._refused_filters)

    def _check_subscriptions(self, topic: str) -> None:
        """Do not ask for a thing whose answers the broker refuses to let us hear, beside things that it serves."""
        for name in self._refused_filters:
            if topic.split("/")[:3] == name.split("/")[:3]:
                raise self._refused_subscription(name)

    def _refused_subscription(self, name: str) -> CloudError:
        return CloudError(
            f"broker {self._endpoint} refuses the subscription to {name}",
            reason="subscription-refused",
            hint="Check the policy of our certificate and the thing name.",
        )

    def _give_up_on(self, failure: CloudError | None) -> None:
        if failure is None or self._client is None:
            return
        _log.error("%s", failure.message)
        self._client.stop()
        with self._changed:
            self._failure = failure
            self._connected = False
        for listener in self._notified_listeners():
            listener.on_lost()

    def _announce_if_ready(self) -> None:
        with self._changed:
            if not self._ready or self._announced:
                return
            self._announced = True
        for listener in self._notified_listeners():
            listener.on_ready()

    def _notified_listeners(self) -> Sequence[Listener]:
        with self._changed:
            self._changed.notify_all()
            return list(self._listeners)

    @property
    def _is_shared(self) -> bool:
        """Whether several things use the connection; one who only watches it subscribes to nothing."""
        return sum(bool(listener.filters) for listener in self._listeners) > 1

    @property
    def _ready(self) -> bool:
        return self._connected and not self._subscribing and not self._subscribes.pending

    @property
    def _ended(self) -> bool:
        return self._failure is not None or self._closing or self._client is None
