"""Endpoints, TLS contexts, pauses and outgoing messages: what is checked before there is a network."""

import logging
import random
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from bridge.cloud import Backoff, Connection, Endpoint
from bridge.cloud.endpoint import make_tls_context
from bridge.cloud.outbox import Ledger, check_message
from bridge.errors import CloudError, UsageError
from hil_tests.lab_rig import Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def endpoint(certificates: Certificates) -> Endpoint:
    cert_file, key_file = certificates.thing("thing-a")
    key_file.chmod(0o600)
    return Endpoint(
        "localhost",
        ca_file=certificates.ca_file,
        cert_file=cert_file,
        key_file=key_file,
        client_id="bench-7",
    )


@pytest.mark.parametrize(
    "host", ["a.iot.eu-central-1.amazonaws.com", "localhost", "127.0.0.1", "::1", "bücher.example"]
)
def test_given_a_host_when_used_then_it_is_taken(host: str) -> None:
    assert Endpoint(host, client_id="c").host == host


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"host": ""}, "bad-endpoint"),
        ({"host": "https://example.com"}, "bad-endpoint"),
        ({"host": "example.com:8883"}, "bad-endpoint"),
        ({"host": "a b"}, "bad-endpoint"),
        ({"host": "a" * 64 + ".com"}, "bad-endpoint"),
        ({"host": "a..b"}, "bad-endpoint"),
        ({"port": 0}, "bad-endpoint"),
        ({"port": 65536}, "bad-endpoint"),
        ({"client_id": ""}, "bad-client-id"),
        ({"client_id": "ä" * 65}, "bad-client-id"),
        ({"keep_alive_s": 29}, "bad-keep-alive"),
        ({"keep_alive_s": 1201}, "bad-keep-alive"),
        ({"key_file": None}, "bad-certificate"),
        ({"cert_file": None}, "bad-certificate"),
    ],
)
def test_given_an_impossible_value_when_used_then_it_is_refused(
    endpoint: Endpoint, values: dict[str, object], reason: str
) -> None:
    with pytest.raises(UsageError) as caught:
        replace(endpoint, **values)  # type: ignore[arg-type]  # wrong values are the point

    assert caught.value.reason == reason


def test_given_port_443_when_tls_begins_then_alpn_says_mqtt_and_on_8883_nothing(
    endpoint: Endpoint, certificates: Certificates
) -> None:
    assert negotiated(replace(endpoint, port=443), certificates) == "x-amzn-mqtt-ca"
    assert negotiated(endpoint, certificates) is None
    assert negotiated(replace(endpoint, alpn=True), certificates) == "x-amzn-mqtt-ca"
    assert negotiated(replace(endpoint, port=443, alpn=False), certificates) is None


def negotiated(endpoint: Endpoint, certificates: Certificates) -> str | None:
    """Shake hands in memory; what a server that offers AWS's protocols ends up with."""
    server_context = certificates.server_context()
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.set_alpn_protocols(["x-amzn-http-ca", "x-amzn-mqtt-ca"])
    names: list[str | None] = []
    server_context.sni_callback = lambda _socket, name, _context: names.append(name)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(up, down, server_side=True)
    device = make_tls_context(endpoint, lambda _error: None).wrap_bio(down, up, server_hostname=endpoint.host)
    pending = {"device": device, "server": server}
    while pending:
        for name, side in list(pending.items()):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            del pending[name]
    assert names == ["localhost"]
    return server.selected_alpn_protocol()


def test_given_any_endpoint_when_tls_begins_then_the_broker_must_prove_itself(endpoint: Endpoint) -> None:
    for ca_file in (endpoint.ca_file, None):
        context = make_tls_context(replace(endpoint, ca_file=ca_file), lambda _error: None)

        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_given_a_private_key_open_to_others_when_loaded_then_a_warning_is_logged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture, tmp_path: Path, mode: int
) -> None:
    assert endpoint.key_file is not None
    key_file = tmp_path / "open.key"  # each file is warned about once
    key_file.write_bytes(endpoint.key_file.read_bytes())
    key_file.chmod(mode)

    make_tls_context(replace(endpoint, key_file=key_file), lambda _error: None)

    assert [(record.levelno, str(key_file) in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_given_a_private_key_of_our_own_when_loaded_then_nothing_is_logged(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    make_tls_context(endpoint, lambda _error: None)

    assert not caplog.records


@pytest.mark.parametrize("wrong", ["ca_file", "cert_file", "key_file"])
@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_given_a_file_that_cannot_be_used_when_opened_then_it_is_named(
    endpoint: Endpoint, tmp_path: Path, wrong: str, how: str
) -> None:
    file = tmp_path / "wrong.pem"
    if how == "garbage":
        file.write_text("this is no PEM file")

    with pytest.raises(UsageError) as caught:
        Connection(replace(endpoint, **{wrong: file})).open()  # type: ignore[arg-type]  # one of three paths

    assert caught.value.reason == "bad-certificate"
    assert "cannot be" in caught.value.message


def test_given_an_encrypted_key_when_opened_then_nobody_is_asked_for_a_password(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "locked.key"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    file.write_bytes(pem)

    with pytest.raises(UsageError) as caught:
        Connection(replace(endpoint, key_file=file)).open()

    assert caught.value.reason == "bad-certificate"


def test_given_another_key_than_the_certificate_s_when_opened_then_it_is_refused(
    endpoint: Endpoint, certificates: Certificates
) -> None:
    with pytest.raises(UsageError):
        Connection(replace(endpoint, key_file=certificates.thing("thing-b")[1])).open()


def test_given_a_connection_that_is_not_open_when_used_then_that_is_said(endpoint: Endpoint) -> None:
    connection = Connection(endpoint)
    for call in (lambda: connection.wait_ready(60.0), lambda: connection.send("lab/x", b"")):
        with pytest.raises(CloudError) as caught:
            call()
        assert caught.value.reason == "connection-closed"
    connection.close()


@given(st.integers(0, 2**32), st.floats(0.01, 10), st.floats(10, 1000))
def test_given_any_backoff_when_it_goes_on_then_waits_stay_in_bounds_and_grow(
    seed: int, min_s: float, max_s: float
) -> None:
    backoff = Backoff(min_s, max_s, jitter=random.Random(seed).random)
    waits = [backoff.next_s() for _ in range(30)]

    assert all(min_s <= wait <= 1.5 * max_s for wait in waits)
    assert waits[-1] >= max_s
    backoff.reset()
    assert backoff.next_s() <= 1.5 * min_s


def test_given_the_default_backoff_when_asked_then_the_first_wait_is_a_second_or_more() -> None:
    assert 1.0 <= Backoff().next_s() <= 1.5


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0", "a" * 257, "ä" * 129, "/" * 8])
def test_given_a_topic_the_broker_hangs_up_on_when_checked_then_it_is_refused(topic: str) -> None:
    with pytest.raises(CloudError) as caught:
        check_message(topic, b"")
    assert caught.value.reason == "bad-topic"


def test_given_the_longest_jobs_topic_when_checked_then_it_passes() -> None:
    check_message(f"$aws/things/{'t' * 128}/jobs/{'j' * 64}/update", bytes(128 * 1024))


def test_given_a_message_over_the_limit_when_checked_then_it_is_refused() -> None:
    with pytest.raises(CloudError) as caught:
        check_message("a", bytes(128 * 1024 + 1))
    assert caught.value.reason == "message-too-large"


@given(st.permutations(["send 1", "confirm 1", "send 2", "confirm 2"]))
def test_given_any_order_of_sending_and_confirming_when_all_is_done_then_nothing_is_pending(
    order: list[str],
) -> None:
    ledger = Ledger()
    for step in order:
        verb, number = step.split()
        if verb == "send":
            ledger.begin([number])
            ledger.sent(int(number), [number])
        else:
            ledger.confirmed(int(number))

    assert not ledger.pending
    assert not ledger.names


def test_given_a_message_whose_id_is_not_known_yet_when_the_connection_is_lost_then_it_is_known_what_it_was_about() -> (
    None
):
    ledger = Ledger()
    ledger.begin(["first"])
    ledger.begin(["second"])

    assert ledger.names == ["first", "second"]

    ledger.withdraw(["first"])
    ledger.sent(7, ["second"])

    assert (ledger.names, set(ledger.pending)) == (["second"], {7})
