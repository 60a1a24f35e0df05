"""Clients that come and go, subscribe and acknowledge in any order: every QoS 1 message arrives, and none twice for nothing."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.lab.broker_router import Router
from bridge.lab.mqtt_packets import MQTT_5, PubAck, Publish, Unsubscribe
from bridge.lab.mqtt_properties import Properties
from hil_tests.unit.lab.links import FakeClient, FakeTimers

TOPICS = ("lab/a", "lab/a/c")
FILTERS = ("lab/a", "lab/#", "lab/a/#")
EXPIRY_S = 3600

names = st.sampled_from(["one", "two"])
topics = st.sampled_from(TOPICS)
filters = st.sampled_from(FILTERS)


def reaches(topic_filter: str, topic: str) -> bool:
    """A model of matching for the few filters above."""
    if topic_filter.endswith("/#"):
        return topic.startswith(topic_filter[:-1])
    return topic == topic_filter


@dataclass
class Peer:
    """What the model knows about one client id."""

    client: FakeClient | None = None
    persistent: bool = False
    filters: set[str] = field(default_factory=set)
    owed: list[bytes] = field(default_factory=list)
    seen: dict[int, bytes] = field(default_factory=dict)


class BrokerMachine(RuleBasedStateMachine):
    """The broker and its model side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = FakeTimers()
        self.router = Router(self.timers)
        self.peers = {name: Peer() for name in ("one", "two")}
        self.counter = 0

    @initialize(version=st.sampled_from([4, 5]), topic_filter=filters)
    def begin(self, version: int, topic_filter: str) -> None:
        """Somebody is there who wants to hear all, so that no run is about nothing."""
        self.connect("one", True, version)
        self.subscribe("one", topic_filter)

    @rule(name=names, persistent=st.sampled_from([True, True, False]), version=st.sampled_from([4, 5]))
    def connect(self, name: str, persistent: bool, version: int) -> None:
        peer, older = self.peers[name], self.peers[name].client
        peer.seen.clear()
        client = FakeClient(self.router, version=version)
        expiry = Properties(session_expiry_s=EXPIRY_S) if version == MQTT_5 and persistent else Properties()
        answer = client.connect(name, clean=not persistent, properties=expiry)
        assert answer.session_present is (peer.persistent and persistent)
        if older is not None:
            assert older.link.closed
            older.lose()  # late news of the older connection must not touch the newer one
        if not answer.session_present:
            self.peers[name] = peer = Peer()
        peer.client, peer.persistent = client, persistent
        self._collect(peer)

    @rule(name=names)
    def vanish(self, name: str) -> None:
        peer = self.peers[name]
        if peer.client is None:
            return
        peer.client.lose()
        peer.client = None
        peer.seen.clear()
        if not peer.persistent:
            self.peers[name] = Peer()

    @rule(seconds=st.sampled_from([1, EXPIRY_S]))
    def wait(self, seconds: int) -> None:
        self.timers.advance(seconds)
        for name, peer in self.peers.items():
            if peer.client is not None:
                self._collect(peer)
            elif seconds >= EXPIRY_S:
                self.peers[name] = Peer()

    @rule(name=names, topic_filter=filters)
    def subscribe(self, name: str, topic_filter: str) -> None:
        peer = self.peers[name]
        if peer.client is not None:
            peer.client.subscribe(topic_filter)
            peer.filters.add(topic_filter)

    @rule(name=names, topic_filter=filters)
    def unsubscribe(self, name: str, topic_filter: str) -> None:
        peer = self.peers[name]
        if peer.client is not None:
            peer.client.say(Unsubscribe(1, (topic_filter,)))
            peer.filters.discard(topic_filter)

    @rule(topic=topics, count=st.integers(1, 12))
    def publish(self, topic: str, count: int) -> None:
        for _ in range(count):
            self.counter += 1
            payload = b"%d" % self.counter
            self.router.publish(Publish(topic, payload, qos=1))
            for peer in self.peers.values():
                alive = peer.client is not None or peer.persistent
                if alive and any(reaches(one, topic) for one in peer.filters):
                    peer.owed.append(payload)
        for peer in self.peers.values():
            self._collect(peer)

    @precondition(lambda self: any(peer.seen for peer in self.peers.values()))
    @rule(name=names, last_first=st.booleans())
    def acknowledge(self, name: str, last_first: bool) -> None:
        peer = self.peers[name]
        if peer.client is None:
            return
        for packet_id in list(peer.seen)[:: -1 if last_first else 1][:3]:
            peer.owed.remove(peer.seen.pop(packet_id))
            self._acknowledge(peer.client, packet_id)
        self._collect(peer)

    @invariant()
    def nothing_arrives_that_is_not_owed(self) -> None:
        for peer in self.peers.values():
            assert not set(peer.seen.values()) - set(peer.owed)

    def teardown(self) -> None:
        """Whoever is connected gets all that is owed in the end."""
        for peer in self.peers.values():
            if peer.client is None:
                continue
            for _ in range(len(peer.owed) + 2):
                for packet_id in list(peer.seen):
                    peer.owed.remove(peer.seen.pop(packet_id))
                    self._acknowledge(peer.client, packet_id)
                self.timers.advance(1)
                self._collect(peer)
            assert peer.owed == []

    def _acknowledge(self, client: FakeClient, packet_id: int) -> None:
        """Acknowledge, and leave what comes for it to be collected."""
        answers = client.say(PubAck(packet_id))
        client.link.sent = answers

    def _collect(self, peer: Peer) -> None:
        """Take what came; nothing comes twice on one connection."""
        if peer.client is None:
            return
        for packet in peer.client.hear():
            if isinstance(packet, Publish):
                assert packet.packet_id not in peer.seen
                assert not packet.dup
                assert packet.payload not in peer.seen.values()
                peer.seen[packet.packet_id] = packet.payload


BrokerMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBroker = BrokerMachine.TestCase
