"""A client of the router and of the connection state machine that needs no socket."""

from bridge.lab.broker_client import ClientConnection
from bridge.lab.broker_policy import Policy, ThingPolicy
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import ConnAck, Connect, Packet, Publish, Subscribe


class FakeLink:
    """Records what the broker sends; ``writable`` can be switched off to play a slow reader."""

    def __init__(self) -> None:
        self.sent: list[Packet] = []
        self.writable = True
        self.closed = False
        self.was_cut = False

    def send(self, packet: Packet) -> None:
        self.sent.append(packet)

    def close(self) -> None:
        self.closed = True

    def cut(self) -> None:
        self.closed = self.was_cut = True

    def take(self) -> list[Packet]:
        """Give what was sent since the last call."""
        taken, self.sent = self.sent, []
        return taken


class FakeClient:
    """One connection with its link; what a socket would carry goes through ``say``."""

    def __init__(self, router: Router, *, identity: str = "thing-a", policy: Policy | None = None) -> None:
        self.link = FakeLink()
        self.connection = ClientConnection(self.link, router, policy or ThingPolicy(), identity)

    def say(self, *packets: Packet) -> list[Packet]:
        """Send packets and give the broker's answers."""
        self.connection.receive(b"".join(map(encode_packet, packets)))
        return self.link.take()

    def hear(self) -> list[Packet]:
        """What came since."""
        return self.link.take()

    def messages(self) -> list[tuple[str, bytes]]:
        """Topic and payload of the messages that came since."""
        return [(one.topic, one.payload) for one in self.link.take() if isinstance(one, Publish)]

    def connect(self, client_id: str = "a", *, clean: bool = True, **members: object) -> ConnAck:
        """Connect and give the CONNACK; later packets of the same burst stay to be heard."""
        connect = Connect(client_id, clean_session=clean, **members)  # type: ignore[arg-type]  # test shorthand
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
