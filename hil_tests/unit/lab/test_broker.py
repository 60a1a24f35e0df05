"""The broker on real sockets: mutual TLS, silence, half-open handshakes, slow readers, a clean end."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.errors import CloudError
from bridge.lab.broker import Broker
from bridge.lab.broker_policy import ThingPolicy
from bridge.lab.broker_protocol import BrokerProtocol
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
)
from bridge.lab.mqtt_reasons import ReasonCode
from hil_tests.lab_rig import HOST, Certificates
from hil_tests.unit.lab.links import FakeTimers

PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def broker(certificates: Certificates) -> Iterator[Broker]:
    with Broker(certificates.server_context()) as broker:
        yield broker


class SocketClient:
    """Speaks packets over a blocking TLS socket."""

    def __init__(
        self, broker: Broker, context: ssl.SSLContext, version: int = MQTT_3_1_1, name: str | None = HOST
    ) -> None:
        raw = socket.create_connection((HOST, broker.port), timeout=PATIENCE_S)
        self.socket = context.wrap_socket(raw, server_hostname=name)
        self._version = version
        self._reader = PacketReader(version=version)
        self._received: list[Packet] = []

    def send(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode_packet(packet, self._version) for packet in packets))

    def next(self) -> Packet | None:
        """The next packet, or None when the broker has closed."""
        while not self._received:
            try:
                data = self.socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                return None
            if not data:
                return None
            self._received += self._reader.feed(data)
        return self._received.pop(0)

    def connect(self, client_id: str = "a", keep_alive_s: int = 60) -> None:
        self.send(Connect(client_id, keep_alive_s=keep_alive_s, version=self._version))
        answer = self.next()
        assert isinstance(answer, ConnAck)
        assert answer.code == 0

    def __enter__(self) -> "SocketClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def test_given_a_thing_when_it_subscribes_then_messages_of_the_process_reach_it(
    broker: Broker, certificates: Certificates
) -> None:
    with SocketClient(broker, certificates.client_context("thing-a")) as client:
        client.connect()
        assert broker.wait_until_connected("a", PATIENCE_S)
        client.send(Subscribe(1, (("lab/#", 1),)))
        assert client.next() == SubAck(1, (1,))
        broker.publish("lab/x", b"1", qos=1)
        broker.publish("lab/x", b"2", qos=0)
        assert client.next() == Publish("lab/x", b"1", qos=1, packet_id=1)
        assert client.next() == Publish("lab/x", b"2")
        broker.deliver_to("a", "$aws/unasked", b"3", qos=0)
        assert client.next() == Publish("$aws/unasked", b"3")
    assert broker.wait_until_connected("a", PATIENCE_S, connected=False)
    assert broker.connected == frozenset()


def test_given_a_service_when_a_client_asks_then_it_answers_on_the_brokers_thread(
    broker: Broker, certificates: Certificates
) -> None:
    broker.add_service(
        "lab/ask", lambda client_id, request: broker.deliver_to(client_id, "lab/told", request.payload)
    )
    with SocketClient(broker, certificates.client_context("thing-a")) as client:
        client.connect()
        client.send(Publish("lab/ask", b"q", qos=1, packet_id=7))
        assert client.next() == PubAck(7)
        assert client.next() == Publish("lab/told", b"q", qos=1, packet_id=1)


def test_given_a_bug_in_a_service_then_only_that_client_is_cut(
    broker: Broker, certificates: Certificates
) -> None:
    def broken(client_id: str, request: Publish) -> None:
        raise RuntimeError(client_id)

    broker.add_service("lab/ask", broken)
    with (
        SocketClient(broker, certificates.client_context("thing-a")) as asking,
        SocketClient(broker, certificates.client_context("thing-b")) as other,
    ):
        asking.connect("a")
        other.connect("b")
        asking.send(Publish("lab/ask", b""))
        assert asking.next() is None
        other.send(Publish("lab/fine", b"", qos=1, packet_id=1))
        assert other.next() == PubAck(1)


@pytest.mark.parametrize("stranger", ["without a certificate", "of another CA"])
def test_given_a_client_that_is_not_ours_then_tls_keeps_it_out(
    broker: Broker, certificates: Certificates, tmp_path: Path, stranger: str
) -> None:
    context = certificates.client_context(None)
    if stranger == "of another CA":
        context.load_cert_chain(*Certificates(tmp_path).thing("thing-a"))
    with contextlib.suppress(ssl.SSLError, ConnectionError), SocketClient(broker, context) as client:
        client.send(Connect("a"))
        assert client.next() is None
    assert broker.connected == frozenset()


def test_given_half_open_handshakes_then_others_connect_and_the_end_is_clean(
    broker: Broker, certificates: Certificates
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection((HOST, broker.port)))
        with SocketClient(broker, certificates.client_context("thing-a")) as client:
            client.connect()
        broker.close()


def test_given_a_silent_client_then_cut_after_one_and_a_half_keep_alives(
    broker: Broker, certificates: Certificates
) -> None:
    with SocketClient(broker, certificates.client_context("thing-a")) as client:
        client.connect(keep_alive_s=1)
        assert client.next() is None


def test_given_a_silent_client_of_mqtt_5_then_it_hears_why(
    broker: Broker, certificates: Certificates
) -> None:
    with SocketClient(broker, certificates.client_context("thing-a"), MQTT_5) as client:
        client.connect(keep_alive_s=1)
        goodbye = client.next()
        assert isinstance(goodbye, Disconnect)
        assert goodbye.reason == ReasonCode.KEEP_ALIVE_TIMEOUT
        assert client.next() is None


def test_given_a_broker_that_stops_then_its_clients_of_mqtt_5_hear_it(
    broker: Broker, certificates: Certificates
) -> None:
    with SocketClient(broker, certificates.client_context("thing-a"), MQTT_5) as client:
        client.connect()
        broker.close()
        goodbye = client.next()
        assert isinstance(goodbye, Disconnect)
        assert goodbye.reason == ReasonCode.SERVER_SHUTTING_DOWN


def test_given_a_client_to_be_taken_over_or_disconnected_then_it_hears_why(
    broker: Broker, certificates: Certificates
) -> None:
    for action, reason in (
        (broker.take_over, ReasonCode.SESSION_TAKEN_OVER),
        (broker.disconnect, ReasonCode.ADMINISTRATIVE_ACTION),
    ):
        with SocketClient(broker, certificates.client_context("thing-a"), MQTT_5) as client:
            client.connect("a")
            assert broker.wait_until_connected("a", PATIENCE_S)
            assert action("a")
            goodbye = client.next()
            assert isinstance(goodbye, Disconnect)
            assert goodbye.reason == reason
        assert broker.wait_until_connected("a", PATIENCE_S, connected=False)
        assert not action("a")


@pytest.mark.parametrize(("name", "let_in"), [("localhost", True), (None, False), (HOST, False)])
def test_given_that_sni_is_required_then_only_clients_that_name_the_server_get_in(
    certificates: Certificates, name: str | None, let_in: bool
) -> None:
    context = certificates.client_context("thing-a")
    context.check_hostname = name is not None
    with Broker(certificates.server_context(), require_sni=True) as broker:
        if let_in:
            with SocketClient(broker, context, name=name) as client:
                client.connect()
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                SocketClient(broker, context, name=name)


def test_given_a_reader_that_stalls_then_others_go_on_and_nothing_of_qos_1_is_lost(
    broker: Broker, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Were messages not held back in the session, the buffer would grow past this limit and the reader be cut.
    monkeypatch.setattr("bridge.lab.broker_protocol.CUT_ABOVE_BYTES", 1_000_000)
    count, payload = 200, bytes(60_000)
    with (
        SocketClient(broker, certificates.client_context("thing-a")) as slow,
        SocketClient(broker, certificates.client_context("thing-b")) as quick,
    ):
        slow.connect("slow")
        quick.connect("quick")
        slow.send(Subscribe(1, (("lab/bulk", 1),)))
        assert slow.next() == SubAck(1, (1,))
        for _ in range(count):
            broker.publish("lab/bulk", payload, qos=1)
        quick.send(Publish("lab/x", b"", qos=1, packet_id=3))
        assert quick.next() == PubAck(3)
        for _ in range(count):
            message = slow.next()
            assert isinstance(message, Publish)
            slow.send(PubAck(message.packet_id))


class FullTransport(asyncio.Transport):
    """A transport whose peer never reads."""

    def __init__(self) -> None:
        super().__init__({"peercert": {"subject": ((("commonName", "thing-a"),),)}})
        self.unsent = b""
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.unsent += data

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


def test_given_a_client_that_only_asks_and_never_reads_then_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.lab.broker_protocol.CUT_ABOVE_BYTES", 1000)
    transport = FullTransport()

    async def flood() -> None:
        protocol = BrokerProtocol(Router(FakeTimers()), ThingPolicy(), lambda *_, **__: None, lambda: None)
        protocol.connection_made(transport)
        protocol.data_received(encode_packet(Connect("greedy")))
        protocol.data_received(encode_packet(PingReq()) * 1000)
        while not transport.aborted:
            await asyncio.sleep(0)
        protocol.connection_lost(None)

    asyncio.run(flood())
    assert len(transport.unsent) <= 1000


def test_given_a_cut_by_hand_then_the_client_is_gone(broker: Broker, certificates: Certificates) -> None:
    with SocketClient(broker, certificates.client_context("thing-a")) as client:
        client.connect("a")
        assert broker.cut("a")
        assert client.next() is None
    assert not broker.cut("a")


def test_given_a_call_that_fails_inside_the_broker_then_the_caller_hears_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Router, "cut")
    with pytest.raises(AttributeError):
        broker.cut("a")


def test_given_the_alpn_name_of_port_443_then_agreed(broker: Broker, certificates: Certificates) -> None:
    context = certificates.client_context("thing-a")
    context.set_alpn_protocols(["x-amzn-mqtt-ca"])
    with SocketClient(broker, context) as client:
        assert client.socket.selected_alpn_protocol() == "x-amzn-mqtt-ca"


def test_given_a_port_in_use_then_a_cloud_error(broker: Broker, certificates: Certificates) -> None:
    with pytest.raises(CloudError) as caught:
        Broker(certificates.server_context(), port=broker.port).start()
    assert caught.value.reason == "port-in-use"


def test_given_a_stopped_broker_then_calls_do_no_harm(certificates: Certificates) -> None:
    broker = Broker(certificates.server_context())
    broker.close()
    broker.publish("lab/x", b"")
    with pytest.raises(CloudError, match="not running"):
        broker.cut("a")
