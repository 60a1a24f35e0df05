"""Faults that a test asks of the broker: lose, repeat or cut exactly the messages that it names."""

import threading
from dataclasses import dataclass
from enum import StrEnum

from bridge.lab.mqtt_topics import topic_matches


class Fault(StrEnum):
    """What shall go wrong with the next message on a matching topic."""

    DROP_DELIVERY = "drop-delivery"
    """The broker's message to a client is lost for good, such as a reply of the Jobs service."""
    DUPLICATE_DELIVERY = "duplicate-delivery"
    """The client gets the message twice, under two packet ids (AWS IoT Core allows itself that)."""
    DROP_PUBACK = "drop-puback"
    """The client's message is processed, but its acknowledgement is lost."""
    CUT_ON_PUBLISH = "cut-on-publish"
    """The connection breaks when the client's message arrives; it is not processed."""
    CUT_ON_DELIVERY = "cut-on-delivery"
    """The connection breaks instead of delivering; a QoS 1 message stays in a persistent session."""

    THROTTLE_PUBLISH = "throttle-publish"
    """The client's message is over the quota of publishes: discarded, without an acknowledgement in MQTT 3.1.1."""


@dataclass
class _Armed:
    fault: Fault
    topic_filter: str
    times: int


class BrokerFaults:
    """Faults waiting for their message; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._armed: list[_Armed] = []
        self._fired: list[tuple[Fault, str]] = []
        self._refusals: dict[str, int] = {}

    def arm(self, fault: Fault, topic_filter: str, *, times: int = 1) -> None:
        """Let the next ``times`` messages whose topic matches suffer this fault."""
        with self._lock:
            self._armed.append(_Armed(fault, topic_filter, times))

    def throttle_connects(self, client_id: str, *, times: int = 1) -> None:
        """Refuse the next CONNECTs with this client id, as if they were over the quota."""
        with self._lock:
            self._refusals[client_id] = times

    def take_refusal(self, client_id: str) -> bool:
        """Whether this CONNECT shall be refused; counts it if so."""
        with self._lock:
            left = self._refusals.pop(client_id, 0)
            if left > 1:
                self._refusals[client_id] = left - 1
            return left > 0

    def clear(self) -> None:
        """Forget what has not fired yet."""
        with self._lock:
            self._armed.clear()
            self._refusals.clear()

    @property
    def fired(self) -> list[tuple[Fault, str]]:
        """Faults that happened, with their topics, in order."""
        with self._lock:
            return list(self._fired)

    def take(self, fault: Fault, topic: str) -> bool:
        """Whether this fault shall happen to a message on this topic now; counts it if so."""
        with self._lock:
            for armed in self._armed:
                if armed.fault is fault and topic_matches(armed.topic_filter, topic):
                    armed.times -= 1
                    if not armed.times:
                        self._armed.remove(armed)
                    self._fired.append((fault, topic))
                    return True
        return False
