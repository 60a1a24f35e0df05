"""The connection against brokers that refuse, hang up, or answer too late."""

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import pytest

from bridge.cloud import Backoff, Connection, Endpoint, JobsClient, deploy_trial
from bridge.cloud.deploy_trial import Trial
from bridge.cloud.job_messages import JobTopics
from bridge.errors import CloudError
from bridge.lab.broker import Broker
from hil_tests.lab_rig import Certificates
from hil_tests.unit.cloud import evil_broker
from hil_tests.unit.cloud.evil_broker import (
    CONNECT,
    PUBLISH,
    SUBSCRIBE,
    Behaviour,
    EvilBroker,
    connack,
    obliging,
    suback,
)

LONG_S = 30.0
Connect = Callable[[int], Connection]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def connect(certificates: Certificates) -> Connect:
    cert_file, key_file = certificates.thing("thing-a")
    key_file.chmod(0o600)
    endpoint = Endpoint("localhost", 1, certificates.ca_file, cert_file, key_file, client_id="bench-7")

    def make(port: int) -> Connection:
        return Connection(replace(endpoint, port=port), backoff=Backoff(0.01, 0.02))

    return make


class Recorder:
    """A listener that keeps what it hears."""

    def __init__(self, *filters: str) -> None:
        self.filters: Sequence[str] = filters
        self.heard: queue.Queue[object] = queue.Queue()

    def on_message(self, topic: str, payload: bytes) -> None:
        if payload == b"poison":
            raise RuntimeError("a bug in a listener")
        self.heard.put((topic, payload))

    def on_ready(self) -> None:
        self.heard.put("ready")

    def on_lost(self) -> None:
        self.heard.put("lost")


class EndWatcher(Recorder):
    """Tells when a connection has failed for good."""

    def __init__(self, connection: Connection, ended: threading.Event) -> None:
        super().__init__()
        self._connection = connection
        self._ended = ended

    def on_lost(self) -> None:
        if self._connection.failure is not None:
            self._ended.set()


def only_connack(code: int) -> Behaviour:
    return lambda _kind, _body: connack(code)


def hang_up(_kind: int, _body: bytes) -> None:
    return None


def hang_up_on(kind: int) -> Behaviour:
    return lambda seen, body: None if seen == kind else obliging(seen, body)


def failure(connection: Connection) -> CloudError:
    with pytest.raises(CloudError) as caught:
        connection.wait_ready(LONG_S)
    return caught.value


# 5 is MQTT's "not authorized"; AWS IoT answers 7, which MQTT 3.1.1 does not know.
@pytest.mark.parametrize("code", [2, 4, 5, 7])
def test_given_a_broker_that_refuses_when_connecting_then_it_ends_after_three_refusals(
    certificates: Certificates, connect: Connect, code: int
) -> None:
    with (
        EvilBroker(certificates.server_context(), only_connack(code)) as broker,
        connect(broker.port) as connection,
    ):
        error = failure(connection)

    assert error.reason == "connection-refused-by-broker"
    assert broker.seen[CONNECT] == 3


def test_given_a_broker_without_room_when_connecting_then_it_goes_on(
    certificates: Certificates, connect: Connect
) -> None:
    with EvilBroker(certificates.server_context()) as broker, connect(broker.port) as connection:
        broker.behaviour = lambda kind, body: (
            connack(3) if broker.seen[CONNECT] < 10 else obliging(kind, body)
        )
        connection.wait_ready(LONG_S)

        assert connection.failure is None


def test_given_a_broker_that_hangs_up_before_the_connack_when_connecting_then_it_ends_with_a_hint(
    certificates: Certificates, connect: Connect
) -> None:
    with EvilBroker(certificates.server_context(), hang_up) as broker, connect(broker.port) as connection:
        error = failure(connection)
        for thread in threading.enumerate():
            if thread.name.startswith("paho-mqtt"):
                thread.join(LONG_S)

    assert error.reason == "connection-refused-by-broker"
    assert "client certificate" in (error.hint or "")
    assert broker.seen[CONNECT] == 3


@pytest.mark.parametrize("kind", [SUBSCRIBE, PUBLISH])
def test_given_a_broker_that_hangs_up_on_our_requests_when_used_then_the_policy_is_to_blame(
    certificates: Certificates, connect: Connect, kind: int
) -> None:
    with (
        EvilBroker(certificates.server_context(), hang_up_on(kind)) as broker,
        connect(broker.port) as connection,
        JobsClient(connection, "thing-a") as jobs,
        pytest.raises(CloudError) as caught,
    ):
        jobs.next_job()

    assert caught.value.reason == "connection-refused-by-broker"
    assert "policy" in (caught.value.hint or "")


def test_given_a_line_that_breaks_again_and_again_when_it_is_good_again_then_the_connection_goes_on(
    certificates: Certificates, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """As a bad uplink does it: without a TLS close_notify, also while a request is on its way."""

    def bad(kind: int, body: bytes) -> bytes | None:
        broken = kind == PUBLISH and broker.seen[PUBLISH] > 1 and broker.seen[CONNECT] < 25
        return None if broken else obliging(kind, body)

    with EvilBroker(certificates.server_context(), bad) as broker, connect(broker.port) as connection:
        connection.publish("t", b"first", timeout_s=LONG_S)
        while broker.seen[CONNECT] < 25:
            connection.wait_sent(connection.send("t", b"again"), LONG_S)
        connection.publish("t", b"last", timeout_s=LONG_S)

        assert connection.failure is None
    assert broker.refused_mqtt_5
    assert "a bad line, or another client with the client id 'bench-7'" in caplog.text


def test_given_a_denied_publish_when_the_broker_can_tell_then_its_topic_is_named_and_no_line_blamed(
    certificates: Certificates, connect: Connect
) -> None:
    topic = "$aws/things/thing-b/jobs/$next/get"
    with Broker(certificates.server_context()) as broker, connect(broker.port) as connection:
        while connection.failure is None:
            with suppress(CloudError):
                connection.wait_ready(LONG_S)
                connection.wait_sent(connection.send(topic, b"{}"), LONG_S)
        failure = connection.failure

    assert failure.reason == "connection-refused-by-broker"
    assert topic in failure.message


def test_given_two_clients_with_one_client_id_when_the_broker_can_tell_then_one_ends_and_the_other_lives(
    certificates: Certificates, connect: Connect
) -> None:
    with (
        Broker(certificates.server_context()) as broker,
        connect(broker.port) as first,
        connect(broker.port) as second,
    ):
        ended = threading.Event()
        for connection in (first, second):
            connection.add_listener(EndWatcher(connection, ended))
        assert ended.wait(LONG_S)
        lost, lives = (first, second) if first.failure is not None else (second, first)
        lives.wait_ready(LONG_S)

        assert lives.failure is None
        assert lost.failure is not None
        assert lost.failure.reason == "client-id-taken"


def test_given_no_tls_at_the_port_when_connecting_then_that_is_said(connect: Connect) -> None:
    with EvilBroker(None) as broker, connect(broker.port) as connection:
        error = failure(connection)

    assert error.reason == "tls"
    assert "does not speak TLS" in error.message


def test_given_a_broker_of_another_name_when_connecting_then_it_ends_at_once(
    certificates: Certificates,
) -> None:
    # 127.1 is the same address, and not a name in the broker's certificate.
    with EvilBroker(certificates.server_context()) as broker:
        endpoint = Endpoint("127.1", broker.port, certificates.ca_file, client_id="bench-7")
        with Connection(endpoint) as connection:
            error = failure(connection)

    assert error.reason == "tls"
    assert "host" in (error.hint or "").lower()


def test_given_nobody_at_the_port_when_time_is_up_then_it_is_unreachable_and_not_hopeless(
    connect: Connect,
) -> None:
    with EvilBroker(None) as broker:
        port = broker.port
    with connect(port) as connection:
        with pytest.raises(CloudError) as caught:
            connection.wait_ready(0.1)

        assert caught.value.reason == "broker-unreachable"
        assert connection.failure is None


def test_given_a_refused_subscription_when_waiting_then_its_filter_is_named(
    certificates: Certificates, connect: Connect
) -> None:
    def refuse(kind: int, body: bytes) -> bytes | None:
        return suback(body, 0x80) if kind == SUBSCRIBE else obliging(kind, body)

    with EvilBroker(certificates.server_context(), refuse) as broker, connect(broker.port) as connection:
        connection.add_listener(Recorder("forbidden/topic"))
        error = failure(connection)

    assert error.reason == "subscription-refused"
    assert "forbidden/topic" in error.message


def test_given_many_filters_when_subscribing_then_no_packet_has_more_than_eight(
    certificates: Certificates, connect: Connect
) -> None:
    with EvilBroker(certificates.server_context()) as broker, connect(broker.port) as connection:
        connection.wait_ready(LONG_S)
        connection.add_listener(Recorder(*(f"t/{number}" for number in range(20))))
        connection.wait_ready(LONG_S)

    counts = [evil_broker.filter_count(body) for kind, body in broker.bodies if kind == SUBSCRIBE]
    assert counts == [8, 8, 4]


def test_given_a_listener_with_a_bug_when_messages_come_then_the_connection_lives_on(
    certificates: Certificates, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def unasked(kind: int, body: bytes) -> bytes | None:
        # AWS IoT replies without a subscription.
        greeting = evil_broker.publish("t", b"poison") + evil_broker.publish("t", b"fine")
        return connack(0) + greeting if kind == CONNECT else obliging(kind, body)

    recorder = Recorder()
    with EvilBroker(certificates.server_context(), unasked) as broker, connect(broker.port) as connection:
        connection.add_listener(recorder)
        heard = [recorder.heard.get(timeout=LONG_S), recorder.heard.get(timeout=LONG_S)]
        connection.publish("still/alive", b"")

    assert heard == ["ready", ("t", b"fine")]
    assert "bug in the MQTT callback" in caplog.text


def test_given_a_lost_confirmation_when_the_connection_comes_back_then_it_is_sent_again(
    certificates: Certificates, connect: Connect
) -> None:
    def forgetful(kind: int, body: bytes) -> bytes | None:
        return None if kind == PUBLISH and broker.seen[PUBLISH] == 1 else obliging(kind, body)

    recorder = Recorder()
    with EvilBroker(certificates.server_context(), forgetful) as broker, connect(broker.port) as connection:
        connection.add_listener(recorder)
        connection.publish("t", b"once", timeout_s=LONG_S)

    assert broker.seen[PUBLISH] == 2
    assert [recorder.heard.get(timeout=LONG_S) for _ in range(3)] == ["ready", "lost", "ready"]


def test_given_a_broker_that_never_confirms_when_time_is_up_then_that_is_an_error(
    certificates: Certificates, connect: Connect
) -> None:
    def mute(kind: int, body: bytes) -> bytes | None:
        return b"" if kind == PUBLISH else obliging(kind, body)

    with EvilBroker(certificates.server_context(), mute) as broker:
        connection = connect(broker.port).open()
        connection.wait_ready(LONG_S)
        with pytest.raises(CloudError) as caught:
            connection.publish("t", b"", timeout_s=0.1)
        connection.close(drain_timeout_s=0.0)
        connection.close()

    assert caught.value.reason == "no-answer"
    with pytest.raises(CloudError, match="closed"):
        connection.send("t", b"")


def test_given_a_queue_that_is_full_when_sending_then_that_is_an_error(connect: Connect) -> None:
    with EvilBroker(None) as broker:
        port = broker.port
    with connect(port) as connection, pytest.raises(CloudError) as caught:
        for _ in range(1000):
            connection.send("t", b"")

    assert caught.value.reason == "queue-full"


def test_given_an_open_connection_when_opened_again_then_it_is_the_same(
    certificates: Certificates, connect: Connect
) -> None:
    with EvilBroker(certificates.server_context()) as broker, connect(broker.port) as connection:
        connection.open()
        connection.wait_ready(LONG_S)

    assert broker.seen[CONNECT] == 1


def test_given_a_listener_that_left_when_messages_come_then_it_hears_nothing(
    certificates: Certificates, connect: Connect
) -> None:
    gone, stays = Recorder(), Recorder("t")
    with EvilBroker(certificates.server_context()) as broker, connect(broker.port) as connection:
        connection.add_listener(gone)
        connection.remove_listener(gone)
        connection.remove_listener(gone)
        connection.wait_ready(LONG_S)
        connection.add_listener(stays)
        connection.wait_ready(LONG_S)
        connection.message("t", b"hello")

    assert [stays.heard.get(timeout=LONG_S), stays.heard.get(timeout=LONG_S)] == ["ready", ("t", b"hello")]
    assert gone.heard.empty()


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"\x30\x01\x00", id="publish without a topic"),
        pytest.param(b"\x90\x01\x00", id="suback without an id"),
        pytest.param(b"\x30\x05\x00\xff\x41\x42\x43", id="topic longer than the packet"),
    ],
)
def test_given_a_malformed_packet_when_it_comes_then_the_connection_comes_back(
    certificates: Certificates, connect: Connect, garbage: bytes
) -> None:
    def spiteful(kind: int, body: bytes) -> bytes | None:
        if kind == CONNECT and broker.seen[CONNECT] == 1:
            return connack(0) + garbage
        return obliging(kind, body)

    with EvilBroker(certificates.server_context(), spiteful) as broker, connect(broker.port) as connection:
        connection.publish("still/alive", b"", timeout_s=LONG_S)

        assert connection.failure is None
    assert broker.seen[CONNECT] == 2


def test_given_an_error_inside_the_library_when_the_broker_is_there_again_then_so_is_the_connection(
    certificates: Certificates, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """paho-mqtt answers an 'unacceptable protocol version' with a connect of its own, outside all that guards it."""
    failed = threading.Event()
    context = certificates.server_context()

    def refuse_and_go(kind: int, body: bytes) -> bytes:
        broker.stop_listening()
        return connack(1)

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "the MQTT library failed" in record.getMessage():
                failed.set()

    with EvilBroker(context, refuse_and_go) as broker, connect(broker.port) as connection:
        logger = logging.getLogger("bridge.cloud.mqtt_client")
        logger.addHandler(watcher := Watcher())
        try:
            assert failed.wait(LONG_S)
        finally:
            logger.removeHandler(watcher)
        with EvilBroker(context, port=broker.port):
            connection.wait_ready(LONG_S)


def things_of(body: bytes) -> str:
    """The thing that a PUBLISH is about."""
    return body[2 : 2 + int.from_bytes(body[:2], "big")].decode().split("/")[2]


def test_given_two_things_when_the_broker_hangs_up_on_one_then_the_other_works_on(
    certificates: Certificates, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    def deny(kind: int, body: bytes) -> bytes | None:
        return None if kind == PUBLISH and things_of(body) == "thing-b" else obliging(kind, body)

    topics = {name: f"$aws/things/{name}/jobs/$next/get" for name in ("thing-a", "thing-b")}
    with EvilBroker(certificates.server_context(), deny) as broker, connect(broker.port) as connection:
        for name in topics:
            connection.add_listener(Recorder(f"$aws/things/{name}/jobs/notify"))
        connection.wait_ready(LONG_S)
        message_id = connection.send(topics["thing-b"], b"{}")

        assert not connection.wait_sent(message_id, LONG_S)
        connection.publish(topics["thing-a"], b"{}", timeout_s=LONG_S)
        with pytest.raises(CloudError) as caught:
            connection.send(topics["thing-b"], b"{}")
        assert connection.failure is None

    assert caught.value.reason == "publish-refused"
    assert "its policy must allow that" in caplog.text
    published = [things_of(body) for kind, body in broker.bodies if kind == PUBLISH]
    assert published == [*["thing-b"] * (len(published) - 1), "thing-a"]


def test_given_two_things_when_the_subscription_of_one_is_refused_then_the_other_works_on(
    certificates: Certificates, connect: Connect
) -> None:
    def refuse(kind: int, body: bytes) -> bytes | None:
        return suback(body, 0x80 if b"thing-b" in body else 1) if kind == SUBSCRIBE else obliging(kind, body)

    with EvilBroker(certificates.server_context(), refuse) as broker, connect(broker.port) as connection:
        for name in ("thing-a", "thing-b"):
            connection.wait_ready(LONG_S)
            connection.add_listener(Recorder(f"$aws/things/{name}/jobs/notify"))
        connection.publish("$aws/things/thing-a/jobs/$next/get", b"{}", timeout_s=LONG_S)
        with pytest.raises(CloudError) as caught:
            connection.send("$aws/things/thing-b/jobs/$next/get", b"{}")

    assert caught.value.reason == "subscription-refused"
    assert "thing-b" in caught.value.message
    assert broker.seen[PUBLISH] == 1


def test_given_a_busy_service_when_the_connection_breaks_then_a_trial_does_not_wait_out_its_pause(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy_trial, "_BUSY_PAUSE_S", 3600.0)
    topics = JobTopics("thing-a")

    def busy(kind: int, body: bytes) -> bytes | None:
        if kind != PUBLISH:
            return obliging(kind, body)
        reply = evil_broker.publish(f"{topics.get('$next')}/rejected", b'{"code": "RequestThrottled"}')
        broker.send(evil_broker.puback(body) + reply)
        return None

    with EvilBroker(certificates.server_context(), busy) as broker:
        endpoint = Endpoint("localhost", broker.port, certificates.ca_file, client_id="bench-7")
        with Trial(endpoint, 7200.0) as trial:
            assert trial.connect() is None
            with pytest.raises(CloudError) as caught:
                trial.ask_next(topics)

    assert caught.value.reason == "broker-unreachable"
    assert "busy" in caught.value.message
