"""The doctor's verdicts: what is hopeless, what passes, and who is to blame."""

import ssl

import pytest

from bridge.cloud.diagnosis import (
    DOUBTFUL_LIFE_S,
    DOUBTS,
    MAX_DENIALS,
    MAX_EVICTIONS,
    MAX_REFUSALS,
    MAX_TAKEOVERS,
    MAX_TOLD_DENIALS,
    STABLE_LIFE_S,
    TAKEOVER_WINDOW_S,
    ConnectionDoctor,
)
from bridge.errors import CloudError

DROPPED = "Unspecified error"


@pytest.fixture
def doctor() -> ConnectionDoctor:
    return ConnectionDoctor("broker.example:8883", "bench-7")


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def life(
    doctor: ConnectionDoctor,
    reason: str = DROPPED,
    *,
    asked: str = "",
    granted: bool = False,
    life_s: float = 1.0,
    at_s: float = 0.0,
    hung_up: bool = False,
) -> CloudError | None:
    doctor.connected(at_s)
    if hung_up:
        doctor.hung_up()
    return doctor.lost(at_s + life_s, reason, asked=asked, granted=granted)


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

    for verdict in (in_handshake.attempt_failed(tls_error(reason)), after.lost(0.0, DROPPED)):
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
        assert doctor.lost(0.0, DROPPED) is None

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
        assert doctor.lost(0.0, DROPPED) is None


def test_given_drops_before_the_connack_when_there_are_enough_then_it_is_hopeless(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [doctor.lost(0.0, DROPPED) for _ in range(MAX_REFUSALS)]

    assert verdicts[:-1] == [None] * (MAX_REFUSALS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"
    assert "before it answers" in verdicts[-1].message
    assert "certificate" in (verdicts[-1].hint or "")


def test_given_a_client_that_was_let_in_once_when_refused_later_then_there_is_hope(
    doctor: ConnectionDoctor,
) -> None:
    doctor.connected(0.0)
    doctor.lost(STABLE_LIFE_S, DROPPED)

    assert [doctor.refused("Not authorized") for _ in range(100)] == [None] * 100


def test_given_a_line_that_breaks_for_hours_when_no_reason_is_told_then_there_is_always_hope(
    doctor: ConnectionDoctor,
) -> None:
    for number in range(1000):
        assert life(doctor, life_s=number % 40) is None

    assert "bench-7" in doctor.last_problem
    assert "bad line" in doctor.last_problem


def test_given_doubts_when_there_are_enough_then_the_reason_is_wanted(doctor: ConnectionDoctor) -> None:
    for _ in range(DOUBTS - 1):
        life(doctor)
        assert not doctor.wants_reasons
    life(doctor, life_s=DOUBTFUL_LIFE_S - 1)
    assert doctor.wants_reasons


def test_given_takeovers_when_the_broker_tells_them_then_the_client_id_is_taken(
    doctor: ConnectionDoctor,
) -> None:
    pause_s = TAKEOVER_WINDOW_S / (2 * MAX_TAKEOVERS)
    told = "Session taken over"
    verdicts = [
        life(doctor, told, life_s=pause_s / 2, at_s=pause_s * number) for number in range(MAX_TAKEOVERS)
    ]

    assert verdicts[:-1] == [None] * (MAX_TAKEOVERS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "client-id-taken"
    assert "bench-7" in verdicts[-1].message


def test_given_a_broker_that_hangs_up_when_it_does_so_all_the_time_then_the_client_id_is_taken(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [life(doctor, hung_up=True) for _ in range(MAX_EVICTIONS)]

    assert verdicts[:-1] == [None] * (MAX_EVICTIONS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "client-id-taken"


def test_given_a_broker_that_hangs_up_at_one_request_when_it_was_never_granted_then_the_policy_is_to_blame(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [life(doctor, hung_up=True, asked="t") for _ in range(MAX_EVICTIONS)]

    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"


def test_given_a_broker_that_hangs_up_when_the_line_breaks_in_between_then_there_is_hope(
    doctor: ConnectionDoctor,
) -> None:
    for _ in range(100):
        assert [life(doctor, hung_up=True) for _ in range(MAX_EVICTIONS - 1)] == [None] * (MAX_EVICTIONS - 1)
        assert life(doctor) is None


def test_given_an_operator_who_looks_now_and_then_when_it_takes_the_client_id_then_there_is_hope(
    doctor: ConnectionDoctor,
) -> None:
    for number in range(100):
        assert life(doctor, "Session taken over", at_s=number * TAKEOVER_WINDOW_S / 2) is None


def test_given_lives_that_end_at_one_request_when_it_was_never_granted_then_the_policy_is_to_blame(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [life(doctor, asked="t") for _ in range(MAX_DENIALS)]

    assert verdicts[:-1] == [None] * (MAX_DENIALS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"
    assert "policy" in (verdicts[-1].hint or "")
    assert "last on t" in verdicts[-1].message


def test_given_lives_that_end_at_requests_when_they_were_granted_before_or_differ_then_there_is_hope(
    doctor: ConnectionDoctor,
) -> None:
    for number in range(10 * MAX_DENIALS):
        assert life(doctor, asked="t", granted=True) is None
        assert life(doctor, asked=f"t/{number}") is None


def test_given_a_denial_when_the_broker_tells_it_then_it_ends_sooner_also_if_it_was_granted_before(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [
        life(doctor, "Not authorized", asked="t", granted=True, life_s=3600.0)
        for _ in range(MAX_TOLD_DENIALS)
    ]

    assert verdicts[:-1] == [None] * (MAX_TOLD_DENIALS - 1)
    assert verdicts[-1] is not None
    assert verdicts[-1].reason == "connection-refused-by-broker"


def test_given_a_broker_without_mqtt_5_when_it_says_so_then_it_is_never_asked_again(
    doctor: ConnectionDoctor,
) -> None:
    verdicts = [life(doctor) for _ in range(DOUBTS)]
    assert verdicts == [None] * DOUBTS
    assert doctor.wants_reasons
    assert doctor.refused("Unsupported protocol version") is None
    assert doctor.lost(0.0, DROPPED) is None
    wanted: list[bool] = []
    for _ in range(100):
        wanted.append(doctor.wants_reasons)
        assert life(doctor) is None
    assert not any(wanted)


def test_given_a_broker_that_hangs_up_on_mqtt_5_when_in_doubt_then_the_old_version_is_spoken_again(
    doctor: ConnectionDoctor,
) -> None:
    asked = 0
    for _ in range(100):
        if doctor.wants_reasons:
            asked += 1
            assert doctor.lost(0.0, DROPPED) is None
            assert not doctor.wants_reasons
        assert life(doctor) is None

    assert asked == 3


@pytest.mark.parametrize("pause", ["long life", "silent network", "broker away"])
def test_given_something_else_in_between_when_lives_are_short_then_counting_starts_anew(
    doctor: ConnectionDoctor, pause: str
) -> None:
    for _ in range(10):
        assert [life(doctor, asked="t") for _ in range(MAX_DENIALS - 1)] == [None] * (MAX_DENIALS - 1)
        if pause == "long life":
            assert life(doctor, life_s=DOUBTFUL_LIFE_S, asked="t") is None
        elif pause == "silent network":
            assert life(doctor, "Keep alive timeout", asked="t") is None
        else:
            assert doctor.attempt_failed(ConnectionRefusedError(111, "Connection refused")) is None


def test_given_a_connection_when_it_has_lasted_then_it_is_stable(doctor: ConnectionDoctor) -> None:
    assert not doctor.stable(1000.0)
    doctor.connected(10.0)
    assert not doctor.stable(10.0 + STABLE_LIFE_S - 1)
    assert doctor.stable(10.0 + STABLE_LIFE_S)
