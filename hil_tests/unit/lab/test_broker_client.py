"""A client's conversation with the broker: MQTT's rules, AWS's refusals, sessions, faults; no sockets."""

import pytest

from bridge.lab.broker_faults import Fault
from bridge.lab.broker_limits import MAX_PAYLOAD_BYTES
from bridge.lab.broker_policy import ThingPolicy
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    ConnAck,
    Connect,
    ConnectCode,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from hil_tests.unit.lab.links import FakeClient, FakeTimers


@pytest.fixture
def timers() -> FakeTimers:
    return FakeTimers()


@pytest.fixture
def router(timers: FakeTimers) -> Router:
    return Router(timers)


@pytest.fixture
def client(router: Router) -> FakeClient:
    client = FakeClient(router)
    client.connect("a")
    return client


def test_given_a_connect_then_accepted_and_pings_answered(router: Router) -> None:
    client = FakeClient(router)
    assert client.connect(keep_alive_s=20) == ConnAck(0, session_present=False)
    assert client.connection.silence_limit_s == 30
    assert client.say(PingReq()) == [PingResp()]
    assert router.connected == {"a"}


@pytest.mark.parametrize(("keep_alive_s", "limit_s"), [(0, 1800), (65535, 1800), (1, 1.5)])
def test_given_a_keep_alive_then_capped_as_on_aws(router: Router, keep_alive_s: int, limit_s: float) -> None:
    client = FakeClient(router)
    client.connect(keep_alive_s=keep_alive_s)
    assert client.connection.silence_limit_s == limit_s


@pytest.mark.parametrize(
    ("level", "name", "code"),
    [(3, "0006 4d5149736470", 1), (3, "0004 4d515454", 1), (6, "0004 4d515454", 0x84)],
)
def test_given_another_version_of_mqtt_when_connecting_then_refused_as_its_standard_says(
    router: Router, level: int, name: str, code: int
) -> None:
    client = FakeClient(router)
    body = bytes.fromhex(f"{name} {level:02x} 02 0000 0000")
    client.connection.receive(bytes([0x10, len(body)]) + body)
    assert client.hear() == [ConnAck(code)]
    assert client.link.version == (5 if level > 5 else 4)
    assert client.link.closed


@pytest.mark.parametrize(
    "connect",
    [Connect("", clean_session=False), Connect("x" * 129), Connect("$aws")],
)
def test_given_a_client_id_that_cannot_be_then_connack_2(router: Router, connect: Connect) -> None:
    client = FakeClient(router)
    assert client.say(connect) == [ConnAck(ConnectCode.IDENTIFIER_REJECTED)]
    assert client.link.closed


def _will(topic: str, *, qos: int = 0, retain: bool = False) -> Will:
    return Will(topic, b"", qos, retain)


@pytest.mark.parametrize(
    ("identity", "will"),
    [
        ("", None),
        ("+", None),
        ("thing-a", _will("$aws/things/b/x")),
        ("thing-a", _will("$aws/things/thing-a/x", retain=True)),
        ("thing-a", _will("lab/#")),
        ("thing-a", _will("lab/x", qos=2)),
    ],
)
def test_given_a_connect_that_is_not_allowed_then_the_end_without_a_word(
    router: Router, identity: str, will: Will | None
) -> None:
    client = FakeClient(router, identity=identity)
    assert client.say(Connect("a", will=will)) == []
    assert client.link.closed
    assert not router.connected


def test_given_no_client_id_and_a_clean_session_then_the_broker_gives_one(router: Router) -> None:
    assert FakeClient(router).connect("").code == 0
    assert FakeClient(router).connect("").code == 0
    assert len(router.connected) == 2


@pytest.mark.parametrize(
    "packet",
    [
        Connect("a"),
        ConnAck(0),
        Publish("lab/x", b"", qos=2, packet_id=1),
        Publish("lab/x", bytes(MAX_PAYLOAD_BYTES + 1)),
        Publish("lab/+", b""),
        Publish("lab/1/2/3/4/5/6/7/8", b""),
        Publish("$aws/things/thing-b/jobs/get", b""),
        Publish("elsewhere", b""),
        Publish("$aws/things/thing-a/x", b"", retain=True),
        Subscribe(1, (("lab/x", 2),)),
        Subscribe(1, tuple((f"lab/{n}", 0) for n in range(9))),
    ],
)
def test_given_something_aws_does_not_take_then_disconnected_without_an_answer(
    client: FakeClient, packet: Packet
) -> None:
    assert client.say(packet) == []
    assert client.link.closed


def test_given_a_packet_before_connect_then_disconnected(router: Router) -> None:
    client = FakeClient(router)
    assert client.say(PingReq()) == []
    assert client.link.closed


def test_given_garbage_then_disconnected_and_nothing_after_it_is_heard(client: FakeClient) -> None:
    client.connection.receive(bytes.fromhex("f000"))
    assert client.link.closed
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=1)) == []


def test_given_the_largest_payload_then_taken(client: FakeClient) -> None:
    assert client.say(Publish("lab/x", bytes(MAX_PAYLOAD_BYTES), qos=1, packet_id=3)) == [PubAck(3)]


def test_given_filters_of_others_when_subscribing_then_0x80_for_those_only(client: FakeClient) -> None:
    wanted = (
        ("$aws/things/thing-a/jobs/#", 1),
        ("$aws/things/thing-b/jobs/#", 1),
        ("$aws/things/+/jobs/#", 0),
        ("#", 0),
        ("lab/a#", 0),
        ("lab/+/x", 0),
    )
    assert client.say(Subscribe(9, wanted)) == [SubAck(9, (1, 0x80, 0x80, 0x80, 0x80, 0))]
    assert not client.link.closed


@pytest.mark.parametrize(("sub_qos", "pub_qos", "expected"), [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_given_two_qos_when_delivered_then_the_lower_one(
    router: Router, client: FakeClient, sub_qos: int, pub_qos: int, expected: int
) -> None:
    client.subscribe("lab/x", sub_qos)
    router.publish(Publish("lab/x", b"p", qos=pub_qos))
    (message,) = client.hear()
    assert isinstance(message, Publish)
    assert (message.qos, message.packet_id != 0) == (expected, expected == 1)


def test_given_overlapping_subscriptions_then_one_copy_at_the_highest_qos(
    router: Router, client: FakeClient
) -> None:
    client.subscribe("lab/#", 0)
    client.subscribe("lab/x", 1)
    router.publish(Publish("lab/x", b"p", qos=1))
    assert [one.qos for one in client.hear() if isinstance(one, Publish)] == [1]


def test_given_an_unsubscribe_then_silence(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/x")
    assert client.say(Unsubscribe(4, ("lab/x", "lab/never"))) == [UnsubAck(4)]
    router.publish(Publish("lab/x", b"p"))
    assert client.hear() == []


def test_given_two_clients_when_one_publishes_then_the_other_hears(
    router: Router, client: FakeClient
) -> None:
    other = FakeClient(router, identity="thing-b")
    other.connect("b")
    other.subscribe("lab/#")
    assert client.say(Publish("lab/x", b"1", qos=1, packet_id=5)) == [PubAck(5)]
    assert other.messages() == [("lab/x", b"1")]


def test_given_a_persistent_session_when_offline_then_queued_in_order_and_replayed_slowly(
    router: Router, timers: FakeTimers
) -> None:
    first = FakeClient(router)
    assert not first.connect(clean=False).session_present
    first.subscribe("lab/x")
    first.lose()
    for number in range(150):
        router.publish(Publish("lab/x", str(number).encode(), qos=1))
    router.publish(Publish("lab/x", b"qos 0 is not kept", qos=0))
    second = FakeClient(router)
    assert second.connect(clean=False).session_present
    received: list[bytes] = []
    for _ in range(15):
        batch = [one for one in second.hear() if isinstance(one, Publish)]
        assert len(batch) == 10, "AWS replays ten messages in a second"
        received += [one.payload for one in batch]
        assert second.say(*(PubAck(one.packet_id) for one in batch)) == []
        timers.advance(1)
    assert received == [str(number).encode() for number in range(150)]
    assert second.hear() == []


def test_given_a_client_that_does_not_acknowledge_then_no_more_than_100_are_in_flight(
    router: Router, client: FakeClient
) -> None:
    client.subscribe("lab/x")
    for number in range(150):
        router.publish(Publish("lab/x", str(number).encode(), qos=1))
    batch = [one for one in client.hear() if isinstance(one, Publish)]
    assert len(batch) == 100
    rest = client.say(*(PubAck(one.packet_id) for one in batch))
    assert [one.payload for one in rest if isinstance(one, Publish)] == [b"%d" % n for n in range(100, 150)]


def test_given_stored_messages_then_current_ones_do_not_wait_for_them(
    router: Router, timers: FakeTimers
) -> None:
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("lab/x")
    first.lose()
    for number in range(25):
        router.publish(Publish("lab/x", b"stored %d" % number, qos=1))
    second = FakeClient(router)
    second.connect(clean=False)
    assert len(second.messages()) == 10
    router.publish(Publish("lab/x", b"current", qos=1))
    assert second.messages() == [("lab/x", b"current")]
    timers.advance(5)
    assert len(second.messages()) == 15


def test_given_no_puback_when_the_client_returns_then_the_message_comes_again_under_a_new_id_without_dup(
    router: Router,
) -> None:
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("lab/x")
    router.publish(Publish("lab/x", b"p", qos=1))
    (sent,) = first.hear()
    assert isinstance(sent, Publish)
    assert not sent.dup
    first.lose()
    second = FakeClient(router)
    second.connect(clean=False)
    (again,) = second.hear()
    assert isinstance(again, Publish)
    assert not again.dup
    assert again.packet_id != sent.packet_id
    assert again.payload == sent.payload
    second.say(PubAck(again.packet_id), PubAck(999))
    second.lose()
    third = FakeClient(router)
    third.connect(clean=False)
    assert third.hear() == []


def test_given_a_persistent_session_of_3_1_1_then_it_lives_an_hour(
    router: Router, timers: FakeTimers
) -> None:
    for waited_s, present in ((0, False), (3599, True), (3600, False)):
        timers.advance(waited_s)
        client = FakeClient(router)
        assert client.connect(clean=False).session_present is present
        client.lose()


def test_given_a_clean_reconnect_then_the_old_session_is_gone(router: Router) -> None:
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("lab/x")
    first.lose()
    FakeClient(router).connect(clean=True)
    third = FakeClient(router)
    assert not third.connect(clean=False).session_present


def test_given_another_certificate_with_the_same_client_id_then_it_inherits_nothing(router: Router) -> None:
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("$aws/things/thing-a/jobs/#")
    thief = FakeClient(router, identity="thing-b")
    assert not thief.connect(clean=False).session_present
    router.publish(Publish("$aws/things/thing-a/jobs/notify", b"secret", qos=1))
    assert thief.hear() == []


def test_given_the_same_client_id_twice_then_the_older_connection_ends_and_the_newer_lives(
    router: Router,
) -> None:
    older, newer = FakeClient(router), FakeClient(router)
    older.connect(clean=False)
    older.subscribe("lab/x")
    assert newer.connect(clean=False).session_present
    assert older.link.closed
    older.lose()
    assert router.connected == {"a"}
    router.publish(Publish("lab/x", b"p", qos=1))
    assert newer.messages() == [("lab/x", b"p")]


@pytest.mark.parametrize(("graceful", "expected"), [(True, []), (False, [("lab/gone", b"bye")])])
def test_given_a_will_then_published_only_when_the_client_vanishes(
    router: Router, graceful: bool, expected: list[tuple[str, bytes]]
) -> None:
    watcher, dying = FakeClient(router), FakeClient(router, identity="thing-b")
    watcher.connect("watcher")
    watcher.subscribe("lab/gone")
    dying.connect("dying", will=Will("lab/gone", b"bye", 1, retain=False))
    if graceful:
        dying.say(Disconnect())
    dying.lose()
    assert watcher.messages() == expected


def test_given_a_retained_message_then_exact_subscriptions_get_it_and_wildcards_do_not(
    router: Router, client: FakeClient
) -> None:
    client.say(Publish("lab/x", b"kept", retain=True))
    assert client.subscribe("lab/+") == [SubAck(7, (1,))]
    answers = client.subscribe("lab/x")
    assert answers == [SubAck(7, (1,)), Publish("lab/x", b"kept", retain=True)]
    client.say(Publish("lab/x", b"", retain=True))
    assert client.subscribe("lab/x")[1:] == []


def test_given_a_slow_reader_then_qos_0_is_lost_and_qos_1_waits_for_room(
    router: Router, client: FakeClient
) -> None:
    client.subscribe("lab/x")
    client.link.writable = False
    router.publish(Publish("lab/x", b"0", qos=0))
    router.publish(Publish("lab/x", b"1", qos=1))
    assert client.hear() == []
    client.link.writable = True
    client.connection.resume_writing()
    assert client.messages() == [("lab/x", b"1")]


def test_given_a_service_when_asked_then_it_consumes_and_answers_the_requester_alone(
    router: Router, client: FakeClient
) -> None:
    bystander = FakeClient(router)
    bystander.connect("bystander")
    bystander.subscribe("$aws/things/thing-a/jobs/#")

    def answer(client_id: str, request: Publish) -> None:
        router.deliver_to(client_id, Publish(request.topic + "/accepted", request.payload, qos=1))

    router.add_service("$aws/things/+/jobs/#", answer)
    answers = client.say(Publish("$aws/things/thing-a/jobs/get", b"{}", qos=1, packet_id=2))
    assert answers[0] == PubAck(2)
    assert [one.topic for one in answers if isinstance(one, Publish)] == [
        "$aws/things/thing-a/jobs/get/accepted"
    ]
    client.subscribe("$aws/things/thing-a/jobs/+/accepted", 0)
    client.subscribe("$aws/things/thing-a/jobs/get/#", 0)
    client.say(Publish("$aws/things/thing-a/jobs/get", b"{}"))
    assert bystander.hear() == []


def test_given_a_subscribed_requester_then_the_reply_comes_once(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/#", 0)
    client.subscribe("lab/reply", 0)
    router.deliver_to("a", Publish("lab/reply", b"r", qos=1))
    assert client.hear() == [Publish("lab/reply", b"r", qos=0)]


def test_given_a_requester_that_left_then_the_reply_waits_only_for_a_subscriber(router: Router) -> None:
    client = FakeClient(router)
    client.connect(clean=False)
    client.subscribe("lab/reply")
    client.lose()
    router.deliver_to("a", Publish("lab/reply", b"kept", qos=1))
    router.deliver_to("a", Publish("lab/other", b"lost", qos=1))
    router.deliver_to("nobody", Publish("lab/other", b"lost", qos=1))
    again = FakeClient(router)
    again.connect(clean=False)
    assert again.messages() == [("lab/reply", b"kept")]


def test_given_a_dropped_delivery_then_exactly_that_one_is_lost(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/#")
    router.faults.arm(Fault.DROP_DELIVERY, "lab/+/accepted")
    for topic in ("lab/x/other", "lab/x/accepted", "lab/x/accepted"):
        router.publish(Publish(topic, b"p", qos=1))
    assert [topic for topic, _ in client.messages()] == ["lab/x/other", "lab/x/accepted"]
    assert router.faults.fired == [(Fault.DROP_DELIVERY, "lab/x/accepted")]


def test_given_a_duplicated_delivery_then_two_packet_ids(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/x")
    router.faults.arm(Fault.DUPLICATE_DELIVERY, "lab/x")
    router.publish(Publish("lab/x", b"p", qos=1))
    first, second = client.hear()
    assert isinstance(first, Publish)
    assert isinstance(second, Publish)
    assert first.packet_id != second.packet_id


def test_given_a_dropped_puback_then_the_message_was_taken_all_the_same(
    router: Router, client: FakeClient
) -> None:
    client.subscribe("lab/x", 0)
    router.faults.arm(Fault.DROP_PUBACK, "lab/x", times=2)
    for _ in range(2):
        assert client.say(Publish("lab/x", b"p", qos=1, packet_id=8)) == [Publish("lab/x", b"p")]
    assert client.say(Publish("lab/x", b"p", qos=1, packet_id=8))[0] == PubAck(8)


def test_given_a_cut_on_publish_then_nothing_of_it_is_processed(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/x")
    router.faults.arm(Fault.CUT_ON_PUBLISH, "lab/x")
    assert client.say(Publish("lab/x", b"p", qos=1, packet_id=8)) == []
    assert client.link.was_cut


def test_given_a_cut_on_delivery_then_the_message_waits_in_the_session(router: Router) -> None:
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("lab/x")
    router.faults.arm(Fault.CUT_ON_DELIVERY, "lab/x")
    router.publish(Publish("lab/x", b"p", qos=1))
    assert first.link.was_cut
    assert first.hear() == []
    first.lose()
    second = FakeClient(router)
    second.connect(clean=False)
    assert second.messages() == [("lab/x", b"p")]


def test_given_cleared_faults_then_none_fires(router: Router, client: FakeClient) -> None:
    router.faults.arm(Fault.CUT_ON_PUBLISH, "lab/x")
    router.faults.clear()
    assert client.say(Publish("lab/x", b"p", qos=1, packet_id=8)) == [PubAck(8)]


def test_given_a_cut_by_hand_then_only_a_connected_client_can_be_cut(
    router: Router, client: FakeClient
) -> None:
    assert router.cut("a")
    assert client.link.was_cut
    assert not router.cut("nobody")


def test_given_a_service_certificate_then_the_policy_has_no_limits(router: Router) -> None:
    policy = ThingPolicy(services=frozenset({"jobs.service"}))
    service = FakeClient(router, identity="jobs.service", policy=policy)
    assert service.connect("s").code == 0
    assert service.subscribe("$aws/things/+/jobs/#") == [SubAck(7, (1,))]


@pytest.mark.parametrize(("limit", "value"), [("MAX_QUEUED", 2), ("MAX_QUEUED_BYTES", 2)])
def test_given_a_full_queue_then_the_newest_is_lost_the_rest_kept_and_room_comes_back(
    router: Router, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(f"bridge.lab.mqtt_session.{limit}", value)
    first = FakeClient(router)
    first.connect(clean=False)
    first.subscribe("lab/x")
    first.lose()
    for number in range(3):
        router.publish(Publish("lab/x", str(number).encode(), qos=1))
    second = FakeClient(router)
    second.connect(clean=False)
    heard = [one for one in second.hear() if isinstance(one, Publish)]
    assert [one.payload for one in heard] == [b"0", b"1"]
    second.say(*(PubAck(one.packet_id) for one in heard))
    router.publish(Publish("lab/x", b"9", qos=1))
    assert second.messages() == [("lab/x", b"9")]


def test_given_a_burst_of_packets_then_others_have_their_turn_before_its_end(router: Router) -> None:
    client = FakeClient(router)
    client.connect()
    assert client.connection.receive(encode_packet(PingReq()) * 150)
    assert len(client.hear()) == 100
    assert not client.connection.receive(b"")
    assert len(client.hear()) == 50
