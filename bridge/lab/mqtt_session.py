"""What a broker remembers for one client id: subscriptions, messages waiting, messages not yet acknowledged.

Source: OASIS MQTT 3.1.1, sections 3.1.2.4 (session state), 4.3.2 (QoS 1), 4.4 (redelivery) and 4.6 (order).
In-flight window as AWS IoT Core's quota: 100. Nothing here sends; every method returns the packets that may
go out now.
"""

from collections import OrderedDict, deque
from dataclasses import replace
from typing import Final

from bridge.lab.mqtt_packets import Publish
from bridge.lab.mqtt_topics import topic_matches

MAX_IN_FLIGHT: Final = 100
MAX_QUEUED: Final = 10_000


class Session:
    """State of one client id, alive as long as the client or, unless clean, longer.

    Args:
        client_id: MQTT client identifier.
        identity: Common name of the certificate that opened the session; nobody else inherits it.
        clean: Whether the state ends with the connection.
    """

    def __init__(self, client_id: str, identity: str, *, clean: bool) -> None:
        self.client_id = client_id
        self.identity = identity
        self.clean = clean
        self.subscriptions: dict[str, int] = {}
        self._waiting: deque[Publish] = deque()
        self._in_flight: OrderedDict[int, Publish] = OrderedDict()
        self._last_packet_id = 0

    def granted_qos(self, topic: str) -> int | None:
        """Highest QoS that a subscription grants for this topic, or None when none matches."""
        matching = [qos for wanted, qos in self.subscriptions.items() if topic_matches(wanted, topic)]
        return max(matching, default=None)

    def accept(self, message: Publish) -> bool:
        """Queue a QoS 1 message for delivery.

        Returns:
            False when the queue is full and the message is lost.
        """
        if len(self._waiting) >= MAX_QUEUED:
            return False
        self._waiting.append(message)
        return True

    def next_packet(self) -> Publish | None:
        """Move the oldest waiting message into the in-flight window, if that has room."""
        if not self._waiting or len(self._in_flight) >= MAX_IN_FLIGHT:
            return None
        packet = replace(self._waiting.popleft(), packet_id=self._new_packet_id(), dup=False)
        self._in_flight[packet.packet_id] = packet
        return packet

    def acknowledge(self, packet_id: int) -> bool:
        """Forget a message that the client has; False when that packet id was not in flight."""
        return self._in_flight.pop(packet_id, None) is not None

    def redeliver(self) -> list[Publish]:
        """Packets that were sent before and never acknowledged, oldest first, marked as duplicates."""
        return [replace(packet, dup=True) for packet in self._in_flight.values()]

    @property
    def pending_count(self) -> int:
        """Messages that the client has not acknowledged yet."""
        return len(self._waiting) + len(self._in_flight)

    def _new_packet_id(self) -> int:
        while True:
            self._last_packet_id = self._last_packet_id % 0xFFFF + 1
            if self._last_packet_id not in self._in_flight:
                return self._last_packet_id
