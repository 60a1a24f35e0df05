"""A client that speaks MQTT 5: properties, reason codes and AWS's refusals; no sockets."""

import itertools
from dataclasses import replace

import pytest

from bridge.lab.broker_faults import Fault
from bridge.lab.broker_limits import MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES, BrokerLimits
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_packets import (
    MQTT_5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    SubscriptionOption,
    UnsubAck,
    Unsubscribe,
    Will,
)
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties
from bridge.lab.mqtt_reasons import ReasonCode
from hil_tests.unit.lab.links import FakeClient, FakeTimers, new_router

NOTES = Properties(
    payload_format=1,
    content_type="application/json",
    response_topic="lab/answers",
    correlation_data=b"\x00\x01",
    user_properties=(("a", "1"), ("b", "2"), ("a", "3")),
)


@pytest.fixture
def timers() -> FakeTimers:
    return FakeTimers()


@pytest.fixture
def router(timers: FakeTimers) -> Router:
    return Router(timers)


@pytest.fixture
def client(router: Router) -> FakeClient:
    client = FakeClient(router, version=MQTT_5)
    client.connect("a")
    return client


def _published(packets: list[Packet]) -> list[Publish]:
    return [one for one in packets if isinstance(one, Publish)]


def test_given_a_connect_then_the_connack_says_what_aws_says(router: Router) -> None:
    client = FakeClient(router, version=MQTT_5)
    assert client.connect("a", keep_alive_s=0) == ConnAck(
        0,
        properties=Properties(
            receive_maximum=100,
            maximum_qos=1,
            retain_available=1,
            maximum_packet_bytes=149_504,
            topic_alias_maximum=8,
            wildcard_available=1,
            subscription_ids_available=0,
            shared_available=1,
            server_keep_alive_s=1200,
        ),
    )


@pytest.mark.parametrize("clean", [True, False])
def test_given_no_client_id_then_one_is_assigned_and_said(router: Router, clean: bool) -> None:
    assigned = FakeClient(router, version=MQTT_5).connect("", clean=clean).properties.assigned_client_id
    assert assigned is not None
    assert router.connected == {assigned}


@pytest.mark.parametrize(
    ("connect", "reason"),
    [
        (Connect("x" * 129), ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),
        (Connect("$x"), ReasonCode.CLIENT_IDENTIFIER_NOT_VALID),
        (Connect("a", will=Will("lab/x", b"", 2, retain=False)), ReasonCode.QOS_NOT_SUPPORTED),
        (Connect("a", will=Will("lab/+", b"", 0, retain=False)), ReasonCode.TOPIC_NAME_INVALID),
        (Connect("a", will=Will("other", b"", 0, retain=False)), ReasonCode.NOT_AUTHORIZED),
        (
            Connect("a", properties=Properties(authentication_method="SCRAM")),
            ReasonCode.BAD_AUTHENTICATION_METHOD,
        ),
    ],
)
def test_given_a_connect_that_must_not_be_then_the_connack_says_why(
    router: Router, connect: Connect, reason: ReasonCode
) -> None:
    client = FakeClient(router, version=MQTT_5)
    (answer,) = client.say(replace(connect, version=MQTT_5))
    assert isinstance(answer, ConnAck)
    assert answer.code == reason
    assert client.link.closed
    assert not router.connected


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (Connect("a", version=MQTT_5), ReasonCode.PROTOCOL_ERROR),
        (ConnAck(0), ReasonCode.PROTOCOL_ERROR),
        (Publish("lab/x", b"", qos=2, packet_id=1), ReasonCode.QOS_NOT_SUPPORTED),
        (Publish("lab/x", bytes(MAX_PAYLOAD_BYTES + 1)), ReasonCode.PACKET_TOO_LARGE),
        (Publish("lab/x", bytes(MAX_PACKET_BYTES)), ReasonCode.PACKET_TOO_LARGE),
        (Publish("lab/+", b""), ReasonCode.TOPIC_NAME_INVALID),
        (Publish("lab/1/2/3/4/5/6/7/8", b""), ReasonCode.TOPIC_NAME_INVALID),
        (Publish("elsewhere", b""), ReasonCode.NOT_AUTHORIZED),
        (Publish("", b""), ReasonCode.PROTOCOL_ERROR),
        (Publish("", b"", properties=Properties(topic_alias=3)), ReasonCode.PROTOCOL_ERROR),
        (Publish("lab/x", b"", properties=Properties(topic_alias=9)), ReasonCode.TOPIC_ALIAS_INVALID),
        (Publish("lab/x", b"", properties=Properties(topic_alias=0)), ReasonCode.TOPIC_ALIAS_INVALID),
        (Publish("lab/x", b"", properties=Properties(subscription_ids=(1,))), ReasonCode.PROTOCOL_ERROR),
        (Publish("lab/x", b"", properties=Properties(response_topic="lab/#")), ReasonCode.PROTOCOL_ERROR),
        (Subscribe(1, (("lab/x", 2),)), ReasonCode.QOS_NOT_SUPPORTED),
        (Subscribe(1, tuple((f"lab/{n}", 0) for n in range(9))), ReasonCode.QUOTA_EXCEEDED),
        (
            Subscribe(1, (("lab/x", 0),), Properties(subscription_ids=(1,))),
            ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
        ),
        (
            Subscribe(1, (("$share/g/lab/x", int(SubscriptionOption.NO_LOCAL)),)),
            ReasonCode.PROTOCOL_ERROR,
        ),
        (Disconnect(0, Properties(session_expiry_s=1)), ReasonCode.PROTOCOL_ERROR),
    ],
)
def test_given_something_aws_does_not_take_then_a_disconnect_with_its_reason(
    client: FakeClient, packet: Packet, reason: ReasonCode
) -> None:
    assert client.say(packet) == []
    assert client.link.closed
    assert client.link.reason == reason


@pytest.mark.parametrize(
    ("data", "reason"), [("f000", 0x82), ("8006000100016100", 0x81), ("30ffffffff01", 0x81)]
)
def test_given_bytes_that_break_the_protocol_then_a_disconnect_says_so(
    client: FakeClient, data: str, reason: int
) -> None:
    client.connection.receive(bytes.fromhex(data))
    assert client.link.reason == reason


@pytest.mark.parametrize(
    ("topic", "retain", "reason"),
    [
        ("elsewhere", False, ReasonCode.NOT_AUTHORIZED),
        ("$aws/things/thing-a/x", True, ReasonCode.NOT_AUTHORIZED),
        ("lab/" + "x" * 256, False, ReasonCode.TOPIC_NAME_INVALID),
    ],
)
def test_given_a_denied_publish_of_qos_1_then_its_puback_says_so_and_the_connection_stays(
    client: FakeClient, topic: str, retain: bool, reason: ReasonCode
) -> None:
    assert client.say(Publish(topic, b"", qos=1, retain=retain, packet_id=3)) == [PubAck(3, reason)]
    assert not client.link.closed


def test_given_filters_that_must_not_be_then_each_has_its_reason(client: FakeClient) -> None:
    wanted = (("lab/x", 1), ("other", 1), ("lab/a#", 1), ("lab/" + "x" * 256, 1), ("$share//lab/x", 0))
    (answer,) = client.say(Subscribe(2, wanted))
    assert answer == SubAck(2, (1, 0x87, 0x8F, 0x8F, 0x8F))


def test_given_an_unsubscribe_then_each_filter_has_its_reason(client: FakeClient) -> None:
    client.subscribe("lab/x")
    assert client.say(Unsubscribe(4, ("lab/x", "lab/never"))) == [UnsubAck(4, (0, 0x11))]


def test_given_properties_of_a_message_then_the_receiver_has_them_in_order(
    router: Router, client: FakeClient
) -> None:
    client.subscribe("lab/x")
    client.say(Publish("lab/x", b"{}", qos=1, packet_id=1, properties=NOTES))
    old = FakeClient(router)
    old.connect("old")
    old.subscribe("lab/x")
    (_, sent) = client.say(Publish("lab/x", b"{}", qos=1, packet_id=2, properties=NOTES))
    assert isinstance(sent, Publish)
    assert sent.properties == NOTES
    assert old.messages() == [("lab/x", b"{}")]


def test_given_a_topic_alias_then_later_messages_need_no_topic_and_receivers_see_none(
    client: FakeClient,
) -> None:
    client.subscribe("lab/#")
    alias = Properties(topic_alias=8)
    client.say(Publish("lab/one", b"1", properties=alias))
    (again,) = client.say(Publish("", b"2", properties=alias))
    assert again == Publish("lab/one", b"2")
    (changed,) = client.say(Publish("lab/two", b"3", properties=alias))
    assert changed == Publish("lab/two", b"3")
    assert client.say(Publish("", b"4", properties=alias)) == [Publish("lab/two", b"4")]


def test_given_an_alias_for_a_topic_that_is_denied_then_it_is_judged_each_time(client: FakeClient) -> None:
    alias = Properties(topic_alias=1)
    client.say(Publish("elsewhere", b"1", qos=1, packet_id=1, properties=alias))
    assert client.say(Publish("", b"2", qos=1, packet_id=2, properties=alias)) == [PubAck(2, 0x87)]


@pytest.mark.parametrize(
    ("expiry_s", "waited_s", "left_s"), [(30, 20.5, 9), (30, 30, None), (0, 0.5, 0), (700_000, 0, 604_800)]
)
def test_given_a_message_expiry_then_the_receiver_sees_what_is_left_of_it(
    router: Router, timers: FakeTimers, expiry_s: int, waited_s: float, left_s: int | None
) -> None:
    first = FakeClient(router, version=MQTT_5)
    first.connect("sleeper", clean=False, properties=Properties(session_expiry_s=3600))
    first.subscribe("lab/x")
    first.lose()
    router.publish(Publish("lab/x", b"p", qos=1, properties=Properties(message_expiry_s=expiry_s)))
    timers.advance(waited_s)
    second = FakeClient(router, version=MQTT_5)
    second.connect("sleeper", clean=False)
    heard = [one.properties.message_expiry_s for one in _published(second.hear())]
    assert heard == ([] if left_s is None else [left_s])


def test_given_a_retained_message_that_expired_then_a_new_subscriber_does_not_get_it(
    router: Router, timers: FakeTimers, client: FakeClient
) -> None:
    client.say(Publish("lab/x", b"kept", retain=True, properties=Properties(message_expiry_s=10)))
    timers.advance(9)
    (_, kept) = client.subscribe("lab/x", 0)
    assert kept == Publish("lab/x", b"kept", retain=True, properties=Properties(message_expiry_s=1))
    timers.advance(1)
    assert client.subscribe("lab/x", 0) == [SubAck(7, (0,))]


def test_given_a_retained_message_then_retain_handling_decides_who_gets_it(client: FakeClient) -> None:
    client.say(Publish("lab/x", b"kept", retain=True))
    if_new, never = int(SubscriptionOption.RETAIN_IF_NEW), int(SubscriptionOption.NO_RETAINED)
    assert len(client.subscribe("lab/x", never)) == 1
    assert len(client.subscribe("lab/x", if_new)) == 1
    client.say(Unsubscribe(1, ("lab/x",)))
    assert len(client.subscribe("lab/x", if_new)) == 2
    assert len(client.subscribe("lab/x", 0)) == 2


def test_given_retain_as_published_then_the_flag_stays(client: FakeClient) -> None:
    client.subscribe("lab/x", int(SubscriptionOption.RETAIN_AS_PUBLISHED))
    client.subscribe("lab/y", 0)
    assert client.say(Publish("lab/x", b"1", retain=True)) == [Publish("lab/x", b"1", retain=True)]
    assert client.say(Publish("lab/y", b"1", retain=True)) == [Publish("lab/y", b"1")]


def test_given_no_local_then_own_messages_do_not_come_back(router: Router, client: FakeClient) -> None:
    client.subscribe("lab/x", int(SubscriptionOption.NO_LOCAL))
    assert client.say(Publish("lab/x", b"own")) == []
    router.publish(Publish("lab/x", b"other's"), sender="b")
    assert client.messages() == [("lab/x", b"other's")]


def test_given_a_receive_maximum_then_no_more_are_in_flight(router: Router) -> None:
    client = FakeClient(router, version=MQTT_5)
    client.connect("small", properties=Properties(receive_maximum=2))
    client.subscribe("lab/x")
    for number in range(3):
        router.publish(Publish("lab/x", b"%d" % number, qos=1))
    first, second = _published(client.hear())
    assert [first.payload, second.payload] == [b"0", b"1"]
    (third,) = _published(client.say(PubAck(first.packet_id)))
    assert third.payload == b"2"


@pytest.mark.parametrize("qos", [0, 1])
def test_given_a_maximum_packet_size_then_larger_messages_do_not_come_and_block_nothing(
    router: Router, qos: int
) -> None:
    client = FakeClient(router, version=MQTT_5)
    client.connect("small", properties=Properties(maximum_packet_bytes=60, receive_maximum=1))
    client.subscribe("lab/x", qos)
    router.publish(Publish("lab/x", bytes(100), qos=qos))
    router.publish(Publish("lab/x", b"small", qos=qos))
    assert client.messages() == [("lab/x", b"small")]


@pytest.mark.parametrize(("asked_s", "said_s"), [(60, None), (3600, None), (4_000_000_000, 3600)])
def test_given_a_session_expiry_then_the_session_lives_that_long_and_no_longer_than_the_account_allows(
    router: Router, timers: FakeTimers, asked_s: int, said_s: int | None
) -> None:
    properties = Properties(session_expiry_s=asked_s)
    first = FakeClient(router, version=MQTT_5)
    assert first.connect("s", properties=properties).properties.session_expiry_s == said_s
    first.lose()
    timers.advance(min(asked_s, 3600) - 1)
    second = FakeClient(router, version=MQTT_5)
    assert second.connect("s", clean=False, properties=properties).session_present
    second.lose()
    timers.advance(min(asked_s, 3600))
    third = FakeClient(router, version=MQTT_5)
    assert not third.connect("s", clean=False).session_present


def test_given_a_session_expiry_in_the_disconnect_then_it_counts(router: Router, timers: FakeTimers) -> None:
    first = FakeClient(router, version=MQTT_5)
    first.connect("s", properties=Properties(session_expiry_s=60))
    first.say(Disconnect(0, Properties(session_expiry_s=600)))
    first.lose()
    timers.advance(599)
    second = FakeClient(router, version=MQTT_5)
    assert second.connect("s", clean=False, properties=Properties(session_expiry_s=60)).session_present
    second.say(Disconnect(0, Properties(session_expiry_s=0)))
    second.lose()
    assert not FakeClient(router, version=MQTT_5).connect("s", clean=False).session_present


@pytest.mark.parametrize(
    ("reason", "expected"), [(0, []), (ReasonCode.DISCONNECT_WITH_WILL, [("lab/gone", b"bye")])]
)
def test_given_a_disconnect_then_its_reason_decides_about_the_will(
    router: Router, client: FakeClient, reason: int, expected: list[tuple[str, bytes]]
) -> None:
    client.subscribe("lab/gone")
    dying = FakeClient(router, version=MQTT_5)
    dying.connect("dying", will=Will("lab/gone", b"bye", 1, retain=False, properties=NOTES))
    dying.say(Disconnect(reason))
    dying.lose()
    heard = _published(client.hear())
    assert [(one.topic, one.payload) for one in heard] == expected
    assert all(one.properties == NOTES for one in heard)


def test_given_the_same_client_id_again_then_the_older_one_hears_session_taken_over(
    router: Router, client: FakeClient
) -> None:
    FakeClient(router, version=MQTT_5).connect("a")
    assert client.link.reason == ReasonCode.SESSION_TAKEN_OVER


def test_given_a_client_thrown_out_by_hand_then_it_hears_why(router: Router, client: FakeClient) -> None:
    assert router.disconnect("a", ReasonCode.ADMINISTRATIVE_ACTION)
    assert client.link.reason == ReasonCode.ADMINISTRATIVE_ACTION
    client.lose()
    assert not router.disconnect("a", ReasonCode.ADMINISTRATIVE_ACTION)
    assert not router.take_over("a")


def test_given_silence_then_keep_alive_timeout(client: FakeClient) -> None:
    client.connection.too_silent()
    assert client.link.reason == ReasonCode.KEEP_ALIVE_TIMEOUT


def test_given_too_many_subscriptions_then_refused_and_disconnected() -> None:
    router, _ = new_router(BrokerLimits(subscriptions=3))
    client = FakeClient(router, version=MQTT_5)
    client.connect("a")
    client.say(Subscribe(1, (("lab/1", 0), ("lab/2", 0), ("lab/3", 0))))
    client.subscribe("lab/3", 1)
    assert not client.link.closed
    (answer,) = client.say(Subscribe(2, (("lab/3", 0), ("lab/4", 0))))
    assert answer == SubAck(2, (0, 0x97))
    assert client.link.reason == ReasonCode.QUOTA_EXCEEDED


@pytest.mark.parametrize(("version", "answers"), [(4, []), (5, [PubAck(2, 0x97)])])
def test_given_more_publishes_than_the_quota_then_they_are_discarded(
    version: int, answers: list[Packet]
) -> None:
    router, timers = new_router(BrokerLimits(publishes_per_s=1))
    client = FakeClient(router, version=version)
    client.connect("a")
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=1)) == [PubAck(1)]
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=2)) == answers
    assert client.say(Publish("lab/x", b"", qos=0)) == []
    timers.advance(1)
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=3)) == [PubAck(3)]
    assert not client.link.closed


@pytest.mark.parametrize(("version", "code"), [(4, 3), (5, 0x97)])
def test_given_more_connects_than_the_quota_then_refused_for_a_second(version: int, code: int) -> None:
    router, timers = new_router(BrokerLimits(connects_per_s=1))
    assert FakeClient(router, version=version).connect("a").code == 0
    assert FakeClient(router, version=version).connect("a").code == code
    assert FakeClient(router, version=version).connect("b").code == 0
    timers.advance(1)
    assert FakeClient(router, version=version).connect("a").code == 0


def test_given_connects_throttled_by_a_test_then_so_many_are_refused(router: Router) -> None:
    router.faults.throttle_connects("a", times=2)
    codes = [FakeClient(router, version=MQTT_5).connect("a").code for _ in range(3)]
    assert codes == [0x97, 0x97, 0]
    router.faults.throttle_connects("a")
    router.faults.clear()
    assert FakeClient(router, version=MQTT_5).connect("a").code == 0


def test_given_a_publish_throttled_by_a_test_then_the_puback_says_quota(
    router: Router, client: FakeClient
) -> None:
    router.faults.arm(Fault.THROTTLE_PUBLISH, "lab/x")
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=1)) == [PubAck(1, 0x97)]
    assert client.say(Publish("lab/x", b"", qos=1, packet_id=2)) == [PubAck(2)]


def test_given_a_shared_subscription_then_one_member_gets_each_message(router: Router) -> None:
    members = [FakeClient(router, version=version) for version in (4, 5, 5)]
    for number, member in enumerate(members):
        member.connect(f"member-{number}")
        member.subscribe("$share/workers/lab/+/x")
    for number in range(60):
        router.publish(Publish(f"lab/{number}/x", b"", qos=1))
    heard = [[topic for topic, _ in member.messages()] for member in members]
    assert sorted(itertools.chain(*heard)) == sorted(f"lab/{number}/x" for number in range(60))
    assert all(heard), "a random member of three is never chosen in 60 draws"
    members[0].say(Unsubscribe(1, ("$share/workers/lab/+/x",)))
    members[1].lose()
    router.publish(Publish("lab/last/x", b"", qos=0))
    assert members[2].messages() == [("lab/last/x", b"")]


def test_given_a_shared_subscription_then_no_retained_message(router: Router, client: FakeClient) -> None:
    client.say(Publish("lab/x", b"kept", retain=True))
    assert client.subscribe("$share/g/lab/x") == [SubAck(7, (1,))]


def test_given_a_shared_group_whose_members_are_away_then_a_persistent_one_gets_it_later(
    router: Router,
) -> None:
    first = FakeClient(router)
    first.connect("member", clean=False)
    first.subscribe("$share/g/lab/x")
    first.lose()
    router.publish(Publish("lab/x", b"p", qos=1))
    second = FakeClient(router)
    second.connect("member", clean=False)
    assert second.messages() == [("lab/x", b"p")]


def test_given_packets_without_properties_then_no_empty_ones_are_invented(client: FakeClient) -> None:
    client.subscribe("lab/x", 0)
    (sent,) = client.say(Publish("lab/x", b"1"))
    assert isinstance(sent, Publish)
    assert sent.properties is NO_PROPERTIES
