"""The heart of the broker, without sockets: sessions, routing, retained messages, wills, replies.

Sources: OASIS MQTT 3.1.1, chapters 3 and 4; AWS IoT Developer Guide for what differs: replies of a service go
to the requester alone, subscribed or not; a wildcard subscription gets no retained message.
"""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from bridge.lab.broker_faults import BrokerFaults, Fault
from bridge.lab.mqtt_packets import Connect, Packet, Publish
from bridge.lab.mqtt_session import Session
from bridge.lab.mqtt_topics import has_wildcard, topic_matches

_log = logging.getLogger(__name__)

ServiceHandler = Callable[[str, Publish], None]
"""Takes (requester's client id, message) for topics that a service owns; runs on the broker's thread."""


class ClientLink(Protocol):
    """The router's view of one connected client."""

    @property
    def writable(self) -> bool:
        """Whether the outgoing buffer has room; a slow reader only ever blocks itself."""
        ...

    def send(self, packet: Packet) -> None:
        """Queue a packet for sending."""
        ...

    def close(self) -> None:
        """Send what is queued, then close."""
        ...

    def cut(self) -> None:
        """Break the connection at once."""
        ...


class Router:
    """All state of the broker that outlives one packet. Not thread-safe: the broker's thread owns it."""

    def __init__(self, faults: BrokerFaults | None = None) -> None:
        self.faults: Final = faults or BrokerFaults()
        self._sessions: dict[str, Session] = {}
        self._links: dict[str, ClientLink] = {}
        self._wills: dict[str, Publish] = {}
        self._retained: dict[str, Publish] = {}
        self._services: list[tuple[str, ServiceHandler]] = []

    @property
    def connected(self) -> frozenset[str]:
        """Client ids that are connected now."""
        return frozenset(self._links)

    def add_service(self, topic_filter: str, handler: ServiceHandler) -> None:
        """Hand every client's message on matching topics to ``handler`` instead of routing it."""
        self._services.append((topic_filter, handler))

    def attach(self, link: ClientLink, connect: Connect, identity: str) -> bool:
        """Bind a link to its session; an older connection of the same client id is thrown out first.

        Returns:
            Whether a session was there already. Call :meth:`resume` after CONNACK went out.
        """
        client_id = connect.client_id
        if (old_link := self._links.get(client_id)) is not None:
            _log.info("client id %s connects again; the older connection is closed", client_id)
            self.detach(client_id, old_link, graceful=False)
            old_link.close()
        session = self._sessions.get(client_id)
        present = session is not None and not connect.clean_session and session.identity == identity
        if not present:
            self._sessions[client_id] = Session(client_id, identity, clean=connect.clean_session)
        self._links[client_id] = link
        if (will := connect.will) is not None:
            self._wills[client_id] = Publish(will.topic, will.payload, will.qos, will.retain)
        return present

    def detach(self, client_id: str, link: ClientLink, *, graceful: bool) -> None:
        """Unbind a link that is gone; publishes its will unless the client left in good order."""
        if self._links.get(client_id) is not link:
            return
        del self._links[client_id]
        will = self._wills.pop(client_id, None)
        if self._sessions[client_id].clean:
            del self._sessions[client_id]
        if will is not None and not graceful:
            self.publish(will)

    def resume(self, client_id: str) -> None:
        """Redeliver what was not acknowledged, then go on with what waited."""
        link = self._links[client_id]
        for packet in self._sessions[client_id].redeliver():
            link.send(packet)
        self.pump(client_id)

    def acknowledge(self, client_id: str, packet_id: int) -> None:
        """Take a client's PUBACK."""
        if not self._sessions[client_id].acknowledge(packet_id):
            _log.debug("client %s acknowledged unknown packet id %d", client_id, packet_id)
        self.pump(client_id)

    def subscribe(self, client_id: str, topic_filter: str, qos: int) -> None:
        """Add or change a subscription."""
        self._sessions[client_id].subscriptions[topic_filter] = qos

    def send_retained(self, client_id: str, topic_filter: str, qos: int) -> None:
        """Send the retained message of a subscription just granted, after its SUBACK."""
        message = None if has_wildcard(topic_filter) else self._retained.get(topic_filter)
        if message is not None:
            self._deliver(self._sessions[client_id], message, min(qos, message.qos), retain=True)

    def unsubscribe(self, client_id: str, topic_filter: str) -> None:
        """Forget a subscription, if there is one."""
        self._sessions[client_id].subscriptions.pop(topic_filter, None)

    def receive(self, client_id: str, message: Publish) -> None:
        """Take a client's message: to the service that owns the topic, or to the subscribers."""
        for topic_filter, handler in self._services:
            if topic_matches(topic_filter, message.topic):
                handler(client_id, message)
                return
        self.publish(message)

    def publish(self, message: Publish) -> None:
        """Route a message to all subscribers, each at most once."""
        if message.retain:
            if message.payload:
                self._retained[message.topic] = message
            else:
                self._retained.pop(message.topic, None)
        for session in list(self._sessions.values()):
            granted = session.granted_qos(message.topic)
            if granted is not None:
                self._deliver(session, message, min(granted, message.qos), retain=False)

    def deliver_to(self, client_id: str, message: Publish) -> None:
        """Give a message to one client, subscribed or not; one that is gone and not subscribed loses it."""
        session = self._sessions.get(client_id)
        if session is None:
            return
        granted = session.granted_qos(message.topic)
        if granted is None and client_id not in self._links:
            return
        self._deliver(
            session, message, message.qos if granted is None else min(granted, message.qos), retain=False
        )

    def pump(self, client_id: str) -> None:
        """Send waiting QoS 1 messages while the client can take them."""
        link, session = self._links.get(client_id), self._sessions.get(client_id)
        while link is not None and session is not None and link.writable:
            packet = session.next_packet()
            if packet is None:
                return
            link.send(packet)

    def cut(self, client_id: str) -> bool:
        """Break a client's connection; False when it is not connected."""
        link = self._links.get(client_id)
        if link is None:
            return False
        link.cut()
        return True

    def _deliver(self, session: Session, message: Publish, qos: int, *, retain: bool) -> None:
        if self.faults.take(Fault.DROP_DELIVERY, message.topic):
            return
        copies = 2 if self.faults.take(Fault.DUPLICATE_DELIVERY, message.topic) else 1
        outgoing = Publish(message.topic, message.payload, qos=qos, retain=retain)
        link = self._links.get(session.client_id)
        if link is not None and self.faults.take(Fault.CUT_ON_DELIVERY, message.topic):
            link.cut()
            link = None
        for _ in range(copies):
            if qos:
                if not session.accept(outgoing):
                    _log.warning("queue of client %s is full, a message is lost", session.client_id)
            elif link is not None and link.writable:
                link.send(outgoing)
        if link is not None:
            self.pump(session.client_id)
