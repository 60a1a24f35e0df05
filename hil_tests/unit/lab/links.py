"""A client of the router and of the connection state machine that needs no socket and no clock."""

import heapq
import itertools
from collections.abc import Callable

from bridge.lab.broker_client import ClientConnection
from bridge.lab.broker_limits import BrokerLimits
from bridge.lab.broker_policy import ClientCertificate, Policy, ThingPolicy
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import MQTT_3_1_1, ConnAck, Connect, Packet, Publish, Subscribe
from bridge.lab.mqtt_reasons import ReasonCode


class FakeTimer:
    """A call in the future."""

    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimers:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self._order = itertools.count()
        self._calls: list[tuple[float, int, FakeTimer]] = []

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], object], /) -> FakeTimer:
        timer = FakeTimer(callback)
        heapq.heappush(self._calls, (self.now_s + delay_s, next(self._order), timer))
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass and make the calls that are due, each at its time."""
        end_s = self.now_s + seconds
        while self._calls and self._calls[0][0] <= end_s:
            self.now_s, _, timer = heapq.heappop(self._calls)
            if not timer.cancelled:
                timer.callback()
        self.now_s = end_s


def new_router(limits: BrokerLimits | None = None) -> tuple[Router, FakeTimers]:
    """A router and its clock."""
    timers = FakeTimers()
    return Router(timers, limits=limits), timers


class FakeLink:
    """Records what the broker sends; ``writable`` can be switched off to play a slow reader."""

    def __init__(self) -> None:
        self.sent: list[Packet] = []
        self.version = MQTT_3_1_1
        self.writable = True
        self.closed = False
        self.was_cut = False
        self.reason: ReasonCode | None = None

    def send(self, packet: Packet) -> None:
        encode_packet(packet, self.version)  # it must be possible to put it on the wire
        self.sent.append(packet)

    def close(self, reason: ReasonCode | None = None, text: str = "") -> None:
        self.closed = True
        self.reason = reason

    def cut(self) -> None:
        self.closed = self.was_cut = True

    def take(self) -> list[Packet]:
        """Give what was sent since the last call."""
        taken, self.sent = self.sent, []
        return taken


class FakeClient:
    """One connection with its link; what a socket would carry goes through ``say``."""

    def __init__(
        self,
        router: Router,
        *,
        identity: str = "thing-a",
        policy: Policy | None = None,
        version: int = MQTT_3_1_1,
        certificate: ClientCertificate | None = None,
    ) -> None:
        self.version = version
        self.link = FakeLink()
        certificate = certificate or ClientCertificate(identity)
        self.connection = ClientConnection(self.link, router, policy or ThingPolicy(), certificate)

    def say(self, *packets: Packet) -> list[Packet]:
        """Send packets and give the broker's answers."""
        data = b"".join(encode_packet(packet, self.version) for packet in packets)
        while self.connection.receive(data):
            data = b""
        return self.link.take()

    def hear(self) -> list[Packet]:
        """What came since."""
        return self.link.take()

    def messages(self) -> list[tuple[str, bytes]]:
        """Topic and payload of the messages that came since."""
        return [(one.topic, one.payload) for one in self.link.take() if isinstance(one, Publish)]

    def connect(self, client_id: str = "a", *, clean: bool = True, **members: object) -> ConnAck:
        """Connect and give the CONNACK; later packets of the same burst stay to be heard."""
        connect = Connect(client_id, clean_session=clean, version=self.version, **members)  # type: ignore[arg-type]  # test shorthand
        answer, *rest = self.say(connect)
        self.link.sent = rest + self.link.sent
        assert isinstance(answer, ConnAck)
        return answer

    def subscribe(self, topic_filter: str, qos: int = 1) -> list[Packet]:
        """Subscribe and give the answers."""
        return self.say(Subscribe(7, ((topic_filter, qos),)))

    def lose(self) -> None:
        """The network breaks."""
        self.connection.lost()
