"""The running Jobs service: requests to the store, replies and notifications back, timers on time.

Two fronts carry the same service: :class:`BrokerFront` sits inside the built-in broker and answers the
requester alone, as AWS does; :class:`MqttClientFront` (in :mod:`bridge.lab.jobs_mqtt_front`) is a client of
any broker.
"""

import logging
import threading
import time
from typing import Protocol, Self

from bridge.errors import BridgeError
from bridge.lab.broker import Broker
from bridge.lab.jobs_api import ALL_JOBS_FILTER, JobsApi
from bridge.lab.jobs_model import JobsRejectedError, Notification
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.mqtt_packets import Publish

_log = logging.getLogger(__name__)


class Front(Protocol):
    """Where requests come from and messages go to."""

    def start(self, api: JobsApi) -> None:
        """Begin to answer requests."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish a notification to whoever subscribed; must not block."""
        ...

    def close(self) -> None:
        """Stop answering."""
        ...


class BrokerFront:
    """The service inside the built-in broker: no socket, replies to the requester subscribed or not."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def start(self, api: JobsApi) -> None:
        """Take over the Jobs topics of the broker."""

        def answer(client_id: str, request: Publish) -> None:
            reply = api.handle(request.topic, request.payload)
            if reply is not None:
                self._broker.deliver_to(client_id, reply.topic, reply.payload, qos=1)

        self._broker.add_service(ALL_JOBS_FILTER, answer)

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish to the subscribers, QoS 1."""
        self._broker.publish(topic, payload, qos=1)

    def close(self) -> None:
        """Nothing to release: the broker ends by itself."""


class JobsService:
    """One thread that sends notifications and lets timers run out; requests run on the front's thread.

    Args:
        store: The jobs.
        front: Its connection to the devices.
        clock: The store's clock.
    """

    def __init__(self, store: JobsStore, front: Front, *, clock: Clock = time.time) -> None:
        self._store = store
        self._front = front
        self._clock = clock
        self._api = JobsApi(store, clock)
        self._wake = threading.Condition()
        self._news = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="jobs-service", daemon=True)

    def start(self) -> Self:
        """Begin to serve."""
        self._front.start(self._api)
        self._store.set_listener(self.wake)
        self._thread.start()
        return self

    def close(self) -> None:
        """Stop serving; the store stays as it is."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join()
        self._store.set_listener(_ignore)
        self._front.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def wake(self) -> None:
        """Look at the store again now: something changed, or the clock was moved."""
        with self._wake:
            self._news = True
            self._wake.notify()

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._store.advance()
            except BridgeError as error:  # the disk is full, say; what happened is told all the same
                _log.error("%s", error.message)
            for notification in self._store.take_notifications():
                self._announce(notification)

    def _announce(self, notification: Notification) -> None:
        try:
            message = self._api.notification(notification)
            self._front.publish(message.topic, message.payload)
        except JobsRejectedError as rejection:
            # The job was deleted meanwhile; its deletion has a notification of its own.
            _log.info("no %s for %s: %s", notification.kind, notification.thing_name, rejection.message)
        except Exception:  # noqa: BLE001 - this thread must outlive a failing presigner
            _log.exception("bug while notifying %s", notification.thing_name)

    def _wait_for_work(self) -> bool:
        deadline = self._store.next_deadline()
        with self._wake:
            if not self._news and not self._stopping:
                self._wake.wait(None if deadline is None else max(0.0, deadline - self._clock()))
            self._news = False
            return not self._stopping


def _ignore() -> None:
    """Hear nothing any more."""
