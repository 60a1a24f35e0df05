"""Clients that mean no good, on real sockets: they are cut or ignored, others are served, and nothing is left of them."""

import contextlib
import random
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.lab.broker import Broker
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    MQTT_5,
    ConnAck,
    Connect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    Subscribe,
)
from hil_tests.lab_rig import HOST, Certificates

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls(certificates: Certificates) -> ssl.SSLContext:
    return certificates.client_context("thing-a")


@pytest.fixture
def broker(certificates: Certificates) -> Iterator[Broker]:
    with Broker(certificates.server_context()) as broker:
        yield broker


def connection(broker: Broker, tls: ssl.SSLContext) -> ssl.SSLSocket:
    raw = socket.create_connection((HOST, broker.port), timeout=PATIENCE_S)
    return tls.wrap_socket(raw, server_hostname=HOST)


def packets_of(stream: ssl.SSLSocket) -> Iterator[Packet]:
    """What comes until the broker hangs up."""
    reader = PacketReader()
    while True:
        try:
            data = stream.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return
        if not data:
            return
        yield from reader.feed(data)


def drain(stream: ssl.SSLSocket) -> bool:
    """Read until the broker hangs up; it must."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while stream.recv(65536):
            pass
    return True


@contextlib.contextmanager
def a_client_that_is_served(broker: Broker, tls: ssl.SSLContext) -> Iterator[None]:
    """An ordinary client talks all the time; every message must be acknowledged."""
    stop, failures = threading.Event(), list[BaseException]()
    stream = connection(broker, tls)
    stream.sendall(encode_packet(Connect("good")))
    answers = packets_of(stream)
    assert next(answers) == ConnAck(0)

    def talk() -> None:
        try:
            packet_id = 0
            while not stop.is_set() or packet_id < 3:
                packet_id = packet_id % 0xFFFF + 1
                stream.sendall(encode_packet(Publish("lab/good", b"x", qos=1, packet_id=packet_id)))
                assert next(answers) == PubAck(packet_id)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the ordinary client waits for an answer"
        stream.close()
    assert failures == []
    assert broker.wait_until_connected("good", PATIENCE_S, connected=False)
    assert broker.connected == frozenset()


def test_given_noise_before_and_after_connect_then_each_is_hung_up_on(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    chance = random.Random(7)

    def noise(number: int) -> bool:
        with connection(broker, tls) as stream:
            if number % 3:
                version = MQTT_5 if number % 3 == 1 else 4
                stream.sendall(encode_packet(Connect(f"noisy-{number}", version=version)))
            junk = bytes([chance.choice((0x00, 0xF0, 0x62, 0x36))]) + chance.randbytes(300)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                stream.sendall(junk + b"\xf0\x00" * 200)
            return drain(stream)

    with a_client_that_is_served(broker, tls), ThreadPoolExecutor(8) as pool:
        assert all(pool.map(noise, range(60)))


def test_given_bytes_that_are_no_tls_then_only_they_are_turned_away(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    with a_client_that_is_served(broker, tls):
        for junk in (
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/1.1\r\n\r\n",
            encode_packet(Connect("x")),
            b"\0" * 3000,
        ):
            with socket.create_connection((HOST, broker.port), timeout=PATIENCE_S) as raw:
                raw.sendall(junk)
                if junk[0] != 0x16:
                    with contextlib.suppress(ConnectionError):
                        while raw.recv(4096):
                            pass


def test_given_an_announced_giant_then_hung_up_on_before_it_is_sent(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    with a_client_that_is_served(broker, tls), connection(broker, tls) as stream:
        stream.sendall(encode_packet(Connect("giant")) + b"\x30\xff\xff\xff\x7f")
        assert list(packets_of(stream)) == [ConnAck(0)]


def test_given_a_writer_of_one_byte_at_a_time_then_it_is_served_too(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    with a_client_that_is_served(broker, tls), connection(broker, tls) as stream:
        for byte in encode_packet(Connect("slow")) + encode_packet(
            Publish("lab/x", b"x", qos=1, packet_id=1)
        ):
            stream.sendall(bytes([byte]))
        answers = packets_of(stream)
        assert [next(answers), next(answers)] == [ConnAck(0), PubAck(1)]


def test_given_subscriptions_without_end_then_refused_at_the_quota_and_disconnected(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    with a_client_that_is_served(broker, tls), connection(broker, tls) as stream:
        flood = b"".join(
            encode_packet(Subscribe(number + 1, tuple((f"lab/{number}/{each}", 1) for each in range(8))))
            for number in range(500)
        )
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            stream.sendall(encode_packet(Connect("flood")) + flood)
        codes = [code for packet in packets_of(stream) for code in getattr(packet, "codes", ())]
    assert codes.count(1) == 50
    assert set(codes[50:]) == {0x80}


def test_given_readers_that_never_read_then_what_they_miss_is_not_kept(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    count, payload = 400, bytes(50_000)
    with contextlib.ExitStack() as stack, a_client_that_is_served(broker, tls):
        for number in range(4):
            deaf = stack.enter_context(connection(broker, tls))
            deaf.sendall(encode_packet(Connect(f"deaf-{number}")))
            deaf.sendall(encode_packet(Subscribe(1, (("lab/bulk", 0),))))
            assert broker.wait_until_connected(f"deaf-{number}", PATIENCE_S)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(count):
            broker.publish("lab/bulk", payload, qos=0)
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < count * len(payload) / 1024, "the broker keeps what nobody reads"
        stack.close()


def test_given_a_flood_of_tiny_packets_then_others_have_their_turn(
    broker: Broker, tls: ssl.SSLContext
) -> None:
    count = 30_000
    with (
        a_client_that_is_served(broker, tls),
        connection(broker, tls) as stream,
        ThreadPoolExecutor(1) as pool,
    ):
        flood = encode_packet(Connect("flood")) + encode_packet(PingReq()) * count
        sending = pool.submit(stream.sendall, flood)
        answers = packets_of(stream)
        assert next(answers) == ConnAck(0)
        assert sum(isinstance(next(answers), PingResp) for _ in range(count)) == count
        sending.result(PATIENCE_S)
