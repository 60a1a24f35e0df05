"""The doctor's verdicts: what is hopeless, what passes, and who is to blame."""

import ssl

import pytest

from bridge.cloud.diagnosis import MAX_REFUSALS, MAX_SHORT_LIVES, SHORT_LIFE_S, ConnectionDoctor
from bridge.errors import CloudError

DROPPED = "Unspecified error"


@pytest.fixture
def doctor() -> ConnectionDoctor:
    return ConnectionDoctor("broker.example:8883", "bench-7")


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def short_life(doctor: ConnectionDoctor, *, busy: bool = False, life_s: float = 1.0) -> CloudError | None:
    doctor.connected(0.0)
    return doctor.lost(life_s, DROPPED, busy=busy)


def test_given_a_broker_that_is_away_when_tried_then_there_is_always_hope(doctor: ConnectionDoctor) -> None:
    for _ in range(100):
        assert doctor.attempt_failed(ConnectionRefusedError(111, "Connection refused")) is None
    assert doctor.last_problem == "Connection refused"


def test_given_an_unknown_cause_when_tried_then_something_is_said(doctor: ConnectionDoctor) -> None:
    assert doctor.attempt_failed(None) is None
    assert doctor.last_problem == "it cannot be reached"


def test_given_a_certificate_that_cannot_be_trusted_when_tried_then_it_is_hopeless(
    doctor: ConnectionDoctor,
) -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"

    verdict = doctor.attempt_failed(error)

    assert verdict is not None
    assert verdict.reason == "tls"
    assert "self-signed certificate" in verdict.message


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "got none"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "client certificate"),
        ("TLSV1_ALERT_UNKNOWN_CA", "authority"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "expired"),
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("TLSV1_ALERT_ACCESS_DENIED", "ACCESS_DENIED"),
    ],
)
def test_given_a_final_tls_error_when_it_comes_in_the_handshake_or_after_it_then_it_is_hopeless(
    reason: str, words: str
) -> None:
    in_handshake, after = ConnectionDoctor("b", "c"), ConnectionDoctor("b", "c")
    after.tls_error(tls_error(reason))

    for verdict in (in_handshake.attempt_failed(tls_error(reason)), after.lost(0.0, DROPPED, busy=False)):
        assert verdict is not None
        assert verdict.reason == "tls"
        assert words in verdict.message


@pytest.mark.parametrize("reason", ["UNEXPECTED_EOF_WHILE_READING", "TLSV1_ALERT_INTERNAL_ERROR", ""])
def test_given_a_passing_tls_error_when_tried_then_there_is_hope(
    doctor: ConnectionDoctor, reason: str
) -> None:
    for _ in range(100):
        assert doctor.attempt_failed(tls_error(reason)) is None
    assert doctor.last_problem.startswith("TLS failed")


def test_given_refusals_in_a_row_when_there_are_enough_then_it_is_hopeless(doctor: ConnectionDoctor) -> None:
    verdicts: list[CloudError | None] = []
    for _ in range(MAX_REFUSALS):
        verdicts.append(doctor.refused("Not authorized"))
        assert doctor.lost(0.0, DROPPED, busy=False) is None

    *early, last = verdicts
    assert early == [None] * (MAX_REFUSALS - 1)
    assert last is not None
    assert last.reason == "connection-refused-by-broker"
    assert "Not authorized" in last.message


def test_given_a_broker_without_room_when_it_refuses_then_there_is_always_hope(
    doctor: ConnectionDoctor,
) -> None:
    for _ in range(100):
        assert doctor.refused("Server unavailable") is None
        assert doctor.lost(0.0, DROPPED, busy=False) is None


def test_given_drops_before_the_connack_when_there_are_enough_then_it_is_hopeless(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [doctor.lost(0.0, DROPPED, busy=False) for _ in range(MAX_REFUSALS)]

    assert verdicts[:-1] == [None] * (MAX_REFUSALS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"
    assert "before it answers" in verdicts[-1].message
    assert "certificate" in (verdicts[-1].hint or "")


def test_given_a_client_that_was_let_in_once_when_refused_later_then_there_is_hope(
    doctor: ConnectionDoctor,
) -> None:
    doctor.connected(0.0)
    doctor.lost(SHORT_LIFE_S, DROPPED, busy=False)

    assert [doctor.refused("Not authorized") for _ in range(100)] == [None] * 100


def test_given_short_lives_in_a_row_when_there_are_enough_then_the_client_id_is_taken(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [short_life(doctor) for _ in range(MAX_SHORT_LIVES)]

    assert verdicts[:-1] == [None] * (MAX_SHORT_LIVES - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "client-id-taken"
    assert "bench-7" in verdicts[-1].message


def test_given_short_lives_that_end_at_a_request_when_there_are_enough_then_the_policy_is_to_blame(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [short_life(doctor, busy=True) for _ in range(MAX_SHORT_LIVES)]

    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"
    assert "policy" in (verdicts[-1].hint or "")


@pytest.mark.parametrize("pause", ["long life", "silent network", "broker away"])
def test_given_something_else_in_between_when_lives_are_short_then_counting_starts_anew(
    doctor: ConnectionDoctor, pause: str
) -> None:
    for _ in range(10):
        assert [short_life(doctor) for _ in range(MAX_SHORT_LIVES - 1)] == [None] * (MAX_SHORT_LIVES - 1)
        if pause == "long life":
            assert short_life(doctor, life_s=SHORT_LIFE_S) is None
        elif pause == "silent network":
            doctor.connected(0.0)
            assert doctor.lost(1.0, "Keep alive timeout", busy=False) is None
        else:
            assert doctor.attempt_failed(ConnectionRefusedError(111, "Connection refused")) is None


def test_given_a_connection_when_it_has_lasted_then_it_is_stable(doctor: ConnectionDoctor) -> None:
    assert not doctor.stable(1000.0)
    doctor.connected(10.0)
    assert not doctor.stable(10.0 + SHORT_LIFE_S - 1)
    assert doctor.stable(10.0 + SHORT_LIFE_S)
