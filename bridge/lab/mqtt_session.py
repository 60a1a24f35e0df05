"""What a broker remembers for one client id: subscriptions, messages waiting, messages not yet acknowledged.

Sources: OASIS MQTT 3.1.1, sections 3.1.2.4 (session state), 4.3.2 (QoS 1) and 4.4 (redelivery); MQTT 5.0, sections
3.1.2.11 (what a client limits) and 3.3.2.3.3 (message expiry). As on AWS IoT Core a message is redelivered under a new
packet id and without DUP, and what was stored while the client was away waits apart, to be replayed slowly.
Nothing here sends; every method returns the packets that may go out now.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Final, Self

from bridge.lab.broker_limits import MAX_IN_FLIGHT, MAX_MESSAGE_EXPIRY_S
from bridge.lab.broker_policy import Access
from bridge.lab.broker_subscriptions import Subscription
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import MQTT_3_1_1, Connect, Publish

MAX_QUEUED: Final = 10_000
MAX_QUEUED_BYTES: Final = 64 * 1024 * 1024
"""Payloads that wait for one client; more are lost."""


@dataclass(frozen=True, slots=True)
class Message:
    """An application message on its way through the broker.

    Attributes:
        publish: What was published, without anything that belongs to the sender's connection.
        sender: Client id, or "" for the broker's own process.
        expires_at_s: Time on the broker's clock after which nobody may get it any more.
    """

    publish: Publish
    sender: str = ""
    expires_at_s: float | None = None

    @classmethod
    def of(cls, publish: Publish, sender: str, now_s: float) -> Self:
        """Begin the life of a message; MQTT 5's expiry is between a second and AWS's seven days."""
        expiry_s = publish.properties.message_expiry_s
        if expiry_s is None:
            return cls(publish, sender)
        return cls(publish, sender, now_s + min(max(expiry_s, 1), MAX_MESSAGE_EXPIRY_S))

    def outgoing(self, qos: int, *, retain: bool, now_s: float) -> Publish | None:
        """The packet for one receiver, with the rest of its life; None when that is over."""
        properties = self.publish.properties
        if self.expires_at_s is not None:
            if now_s >= self.expires_at_s:
                return None
            properties = replace(properties, message_expiry_s=int(self.expires_at_s - now_s))
        return replace(self.publish, qos=qos, retain=retain, properties=properties)


@dataclass(frozen=True, slots=True)
class _Queued:
    message: Message
    retain: bool
    share_name: str


class Session:
    """State of one client id, alive as long as the client and ``expiry_s`` longer.

    Args:
        client_id: MQTT client identifier.
        access: Rights of the client that opened the session.
    """

    def __init__(self, client_id: str, access: Access) -> None:
        self.client_id = client_id
        self.access = access
        self.expiry_s = 0
        self.version = MQTT_3_1_1
        self.subscriptions: dict[str, Subscription] = {}
        self._max_packet_bytes: int | None = None
        self._window = MAX_IN_FLIGHT
        self._waiting: deque[_Queued] = deque()
        self._stored: deque[_Queued] = deque()
        self._in_flight: OrderedDict[int, _Queued] = OrderedDict()
        self._queued_bytes = 0
        self._last_packet_id = 0

    def connected(self, connect: Connect, access: Access) -> None:
        """Take what a new connection limits; what is not acknowledged yet becomes stored, to be sent again."""
        self.access = access
        self.version = connect.version
        self._max_packet_bytes = connect.properties.maximum_packet_bytes
        self._window = min(connect.properties.receive_maximum or MAX_IN_FLIGHT, MAX_IN_FLIGHT)
        self._stored = deque([*self._in_flight.values(), *self._stored, *self._waiting])
        self._waiting.clear()
        self._in_flight.clear()

    def accept(self, message: Message, *, retain: bool = False, share_name: str = "") -> bool:
        """Queue a QoS 1 message for delivery, perhaps by a shared subscription.

        Returns:
            False when the queue is full and the message is lost.
        """
        size = len(message.publish.payload)
        if (
            len(self._waiting) + len(self._stored) >= MAX_QUEUED
            or self._queued_bytes + size > MAX_QUEUED_BYTES
        ):
            return False
        self._queued_bytes += size
        self._waiting.append(_Queued(message, retain, share_name))
        return True

    def next_packet(self, now_s: float, *, stored: bool = False) -> Publish | None:
        """Move the oldest waiting (or stored) message that is still wanted into the in-flight window, if it has room."""
        queue = self._stored if stored else self._waiting
        while queue and len(self._in_flight) < self._window:
            queued = queue.popleft()
            publish = queued.message.outgoing(1, retain=queued.retain, now_s=now_s)
            if publish is None or not self.takes(publish, queued.share_name):
                self._queued_bytes -= len(queued.message.publish.payload)
                continue
            packet = replace(publish, packet_id=self._new_packet_id())
            self._in_flight[packet.packet_id] = queued
            return packet
        return None

    def takes(self, publish: Publish, share_name: str = "") -> bool:
        """Whether the client may receive this and takes packets of its size; others are not sent (MQTT 5, 3.1.2.11.4)."""
        return self.access.may_receive(publish.topic, share_name) and (
            self._max_packet_bytes is None
            or len(encode_packet(publish, self.version)) <= self._max_packet_bytes
        )

    def acknowledge(self, packet_id: int) -> bool:
        """Forget a message that the client has; False when that packet id was not in flight."""
        queued = self._in_flight.pop(packet_id, None)
        if queued is None:
            return False
        self._queued_bytes -= len(queued.message.publish.payload)
        return True

    @property
    def has_stored(self) -> bool:
        """Whether messages from before the last connection still wait."""
        return bool(self._stored)

    @property
    def pending_count(self) -> int:
        """Messages that the client has not acknowledged yet."""
        return len(self._waiting) + len(self._stored) + len(self._in_flight)

    def _new_packet_id(self) -> int:
        while True:
            self._last_packet_id = self._last_packet_id % 0xFFFF + 1
            if self._last_packet_id not in self._in_flight:
                return self._last_packet_id
