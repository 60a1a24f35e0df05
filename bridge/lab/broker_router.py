"""The heart of the broker, without sockets: routing, retained messages, wills, replies.

Sources: OASIS MQTT 3.1.1 and 5.0, chapters 3 and 4; AWS IoT Developer Guide, "MQTT", for what differs: replies of a
service go to the requester alone, subscribed or not; a wildcard or shared subscription gets no retained message.
"""

import logging
import secrets
from collections.abc import Callable, Collection
from typing import Final

from bridge.lab.broker_faults import BrokerFaults, Fault
from bridge.lab.broker_limits import BrokerLimits, ConnectQuota
from bridge.lab.broker_link import ClientLink, Timers
from bridge.lab.broker_policy import Access
from bridge.lab.broker_retained import RetainedMessages
from bridge.lab.broker_sessions import SessionBook
from bridge.lab.broker_subscriptions import Subscription, SubscriptionTree
from bridge.lab.mqtt_packets import Connect, Publish
from bridge.lab.mqtt_reasons import ReasonCode
from bridge.lab.mqtt_session import Message, Session
from bridge.lab.mqtt_topics import topic_matches

_log = logging.getLogger(__name__)

ServiceHandler = Callable[[str, Publish], None]
"""Takes (requester's client id, message) for topics that a service owns; runs on the broker's thread."""


class Router:
    """All state of the broker that outlives one packet. Not thread-safe: the broker's thread owns it.

    Args:
        timers: The broker's clock.
        faults: What a test wants to go wrong.
        limits: Quotas.
    """

    def __init__(
        self, timers: Timers, faults: BrokerFaults | None = None, limits: BrokerLimits | None = None
    ) -> None:
        self.faults: Final = faults or BrokerFaults()
        self.limits: Final = limits or BrokerLimits()
        self._timers = timers
        self._tree = SubscriptionTree()
        self._book = SessionBook(timers, self._forget)
        self._links: dict[str, ClientLink] = {}
        self._wills: dict[str, Publish] = {}
        self._retained = RetainedMessages()
        self._connects = ConnectQuota(self.limits.connects_per_s)
        self._services: list[tuple[str, ServiceHandler]] = []

    @property
    def now_s(self) -> float:
        """The broker's time."""
        return self._timers.time()

    @property
    def connected(self) -> frozenset[str]:
        """Client ids that are connected now."""
        return frozenset(self._links)

    def add_service(self, topic_filter: str, handler: ServiceHandler) -> None:
        """Hand every client's message on matching topics to ``handler`` instead of routing it."""
        self._services.append((topic_filter, handler))

    def may_connect_now(self, client_id: str) -> bool:
        """Whether the quota of CONNECTs with one client id lets another one in."""
        return not self.faults.take_refusal(client_id) and self._connects.take(client_id, self.now_s)

    def attach(self, link: ClientLink, connect: Connect, access: Access, expiry_s: int) -> bool:
        """Bind a link to its session; an older connection of the same client id is thrown out first.

        Args:
            link: The new connection.
            connect: How it introduced itself.
            access: Its rights.
            expiry_s: How long the session outlives the connection.

        Returns:
            Whether a session was there already. Call :meth:`resume` after CONNACK went out.
        """
        client_id = connect.client_id
        self.take_over(client_id)
        present = self._book.open(connect, access, expiry_s)
        self._links[client_id] = link
        if (will := connect.will) is not None:
            self._wills[client_id] = Publish(
                will.topic, will.payload, will.qos, will.retain, properties=will.properties
            )
        return present

    def take_over(self, client_id: str) -> bool:
        """Throw a client out as if another one had connected with its id; False when it is not connected."""
        link = self._links.get(client_id)
        if link is None:
            return False
        _log.info("client id %s connects again; the older connection is closed", client_id)
        self.detach(client_id, link, graceful=False)
        link.close(ReasonCode.SESSION_TAKEN_OVER, "another connection has this client id")
        return True

    def detach(self, client_id: str, link: ClientLink, *, graceful: bool) -> None:
        """Unbind a link that is gone; publishes its will unless the client left in good order."""
        if self._links.get(client_id) is not link:
            return
        del self._links[client_id]
        will = self._wills.pop(client_id, None)
        self._book.leave(client_id)
        if will is not None and not graceful:
            self.publish(will, sender=client_id)

    def set_session_expiry(self, client_id: str, expiry_s: int) -> None:
        """Change how long the session outlives the connection."""
        self._book.sessions[client_id].expiry_s = expiry_s

    def resume(self, client_id: str) -> None:
        """Replay what was stored, at the pace of the limits, beside what comes now."""
        link, session = self._links[client_id], self._book.sessions[client_id]
        per_s = self.limits.replay_per_s
        for _ in range(per_s or session.pending_count):
            packet = session.next_packet(self.now_s, stored=True) if link.writable else None
            if packet is None:
                break
            link.send(packet)
        if session.has_stored:
            self._book.later(client_id, 1.0, lambda: self.resume(client_id))

    def acknowledge(self, client_id: str, packet_id: int) -> None:
        """Take a client's PUBACK."""
        if not self._book.sessions[client_id].acknowledge(packet_id):
            _log.debug("client %s acknowledged unknown packet id %d", client_id, packet_id)
        self.pump(client_id)

    def filters_of(self, client_id: str) -> Collection[str]:
        """What a client subscribed."""
        return self._book.sessions[client_id].subscriptions.keys()

    def subscribe(self, client_id: str, topic_filter: str, subscription: Subscription) -> None:
        """Add or change a subscription."""
        self._book.sessions[client_id].subscriptions[topic_filter] = subscription
        self._tree.add(client_id, topic_filter, subscription)

    def send_retained(self, client_id: str, topic_filter: str, qos: int) -> None:
        """Send the retained message of a subscription just granted, after its SUBACK."""
        message = self._retained.for_filter(topic_filter)
        if message is not None:
            session = self._book.sessions[client_id]
            self._deliver(session, message, min(qos, message.publish.qos), retain=True)

    def unsubscribe(self, client_id: str, topic_filter: str) -> bool:
        """Forget a subscription; False when there was none."""
        self._book.sessions[client_id].subscriptions.pop(topic_filter, None)
        return self._tree.remove(client_id, topic_filter)

    def receive(self, client_id: str, publish: Publish) -> None:
        """Take a client's message: to the service that owns the topic, or to the subscribers."""
        for topic_filter, handler in self._services:
            if topic_matches(topic_filter, publish.topic):
                handler(client_id, publish)
                return
        self.publish(publish, sender=client_id)

    def publish(self, publish: Publish, *, sender: str = "") -> None:
        """Route a message to all subscribers, each at most once, and to one of each group that shares."""
        message = Message.of(publish, sender, self.now_s)
        if publish.retain:
            self._retained.keep(message)
        matches = self._tree.match(publish.topic)
        for share_name, members in matches.groups:
            online = [client_id for client_id in members if client_id in self._links]
            chosen = secrets.choice(online or list(members))
            self._route(chosen, message, members[chosen], share_name)
        for client_id, subscription in matches.direct.items():
            if not (subscription.no_local and client_id == sender):
                self._route(client_id, message, subscription)

    def deliver_to(self, client_id: str, publish: Publish) -> None:
        """Give a message to one client, subscribed or not; one that is gone and not subscribed loses it."""
        session = self._book.sessions.get(client_id)
        if session is None:
            return
        subscription = self._tree.match(publish.topic).direct.get(client_id)
        if subscription is None and client_id not in self._links:
            return
        qos = publish.qos if subscription is None else min(subscription.qos, publish.qos)
        self._deliver(session, Message.of(publish, "", self.now_s), qos, retain=False)

    def pump(self, client_id: str) -> None:
        """Send waiting QoS 1 messages while the client can take them."""
        link, session = self._links.get(client_id), self._book.sessions.get(client_id)
        while link is not None and session is not None and link.writable:
            packet = session.next_packet(self.now_s)
            if packet is None and self.limits.replay_per_s is None:
                packet = session.next_packet(self.now_s, stored=True)
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

    def disconnect(self, client_id: str, reason: ReasonCode) -> bool:
        """Close a client's connection; False when it is not connected."""
        link = self._links.get(client_id)
        if link is None:
            return False
        link.close(reason, "disconnected by the operator")
        return True

    def _route(
        self, client_id: str, message: Message, subscription: Subscription, share_name: str = ""
    ) -> None:
        retain = subscription.retain_as_published and message.publish.retain
        qos = min(subscription.qos, message.publish.qos)
        self._deliver(self._book.sessions[client_id], message, qos, retain=retain, share_name=share_name)

    def _deliver(
        self, session: Session, message: Message, qos: int, *, retain: bool, share_name: str = ""
    ) -> None:
        topic = message.publish.topic
        if self.faults.take(Fault.DROP_DELIVERY, topic):
            return
        copies = 2 if self.faults.take(Fault.DUPLICATE_DELIVERY, topic) else 1
        link = self._links.get(session.client_id)
        if link is not None and self.faults.take(Fault.CUT_ON_DELIVERY, topic):
            link.cut()
            link = None
        for _ in range(copies):
            if qos:
                if not session.accept(message, retain=retain, share_name=share_name):
                    _log.warning("queue of client %s is full, a message is lost", session.client_id)
            elif link is not None and link.writable:
                publish = message.outgoing(0, retain=retain, now_s=self.now_s)
                if publish is not None and session.takes(publish, share_name):
                    link.send(publish)
        if link is not None and qos:
            self.pump(session.client_id)

    def _forget(self, session: Session) -> None:
        for topic_filter in session.subscriptions:
            self._tree.remove(session.client_id, topic_filter)
