"""The packet codec: every packet survives the trip in any split, and everything MQTT forbids is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    ConnAck,
    Connect,
    Disconnect,
    MalformedPacketError,
    Packet,
    PacketTooLargeError,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnacceptableProtocolError,
    UnsubAck,
    Unsubscribe,
    Will,
)

_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_packet_id = st.integers(1, 0xFFFF)
_qos = st.integers(0, 2)
_will = st.builds(Will, _text, st.binary(max_size=40), _qos, st.booleans())


def _with_password(connect: Connect) -> Connect:
    """A password needs a user name (MQTT 3.1.1, 3.1.2.9)."""
    return connect if connect.username is not None else Connect(connect.client_id, connect.clean_session)


_publish = st.one_of(
    st.builds(Publish, _text, st.binary(max_size=300), st.just(0), st.booleans()),
    st.builds(
        Publish, _text, st.binary(max_size=300), st.integers(1, 2), st.booleans(), st.booleans(), _packet_id
    ),
)
_packets: st.SearchStrategy[Packet] = st.one_of(
    st.builds(
        Connect,
        _text,
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.none() | _will,
        st.none() | _text,
        st.none() | st.binary(max_size=20),
    ).map(_with_password),
    st.builds(ConnAck, st.integers(0, 5), st.booleans()),
    _publish,
    st.builds(PubAck, _packet_id),
    st.builds(Subscribe, _packet_id, st.lists(st.tuples(_text, _qos), min_size=1, max_size=9).map(tuple)),
    st.builds(SubAck, _packet_id, st.lists(st.sampled_from([0, 1, 0x80]), max_size=9).map(tuple)),
    st.builds(Unsubscribe, _packet_id, st.lists(_text, min_size=1, max_size=9).map(tuple)),
    st.builds(UnsubAck, _packet_id),
    st.builds(PingReq),
    st.builds(PingResp),
    st.builds(Disconnect),
)


@given(st.lists(_packets, max_size=6), st.lists(st.integers(1, 50), max_size=40))
def test_given_any_packets_when_fed_in_any_split_then_the_same_packets_come_out(
    packets: list[Packet], cuts: list[int]
) -> None:
    stream = b"".join(map(encode_packet, packets))
    reader, decoded = PacketReader(), list[Packet]()
    for cut in cuts:
        decoded += reader.feed(stream[:cut])
        stream = stream[cut:]
    decoded += reader.feed(stream)
    assert decoded == packets


@given(st.binary(max_size=200))
def test_given_any_bytes_when_fed_then_only_protocol_errors_come_out(data: bytes) -> None:
    with contextlib.suppress(MalformedPacketError):
        list(PacketReader().feed(data))


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384])
def test_given_a_payload_at_a_length_boundary_when_encoded_then_it_decodes(size: int) -> None:
    packet = Publish("t", bytes(size))
    assert list(PacketReader().feed(encode_packet(packet))) == [packet]


def test_given_the_smallest_publish_when_encoded_then_bytes_are_as_in_the_standard() -> None:
    assert encode_packet(Publish("a/b", b"", qos=1, packet_id=10)) == bytes.fromhex("3207 0003 612f62 000a")


def test_given_a_connect_when_encoded_then_bytes_are_as_in_the_standard() -> None:
    connect = Connect("c", clean_session=True, keep_alive_s=10, will=Will("w", b"x", 1, retain=True))
    assert encode_packet(connect).hex(" ") == (
        "10 13 00 04 4d 51 54 54 04 2e 00 0a 00 01 63 00 01 77 00 01 78"
    )


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("type 0", "0000"),
        ("type 15", "f000"),
        ("PUBREC is of QoS 2", "50020001"),
        ("SUBSCRIBE without its flag", "8006000100016100"),
        ("PUBLISH with QoS 3", "3605000161000178"),
        ("PUBLISH QoS 0 with DUP", "3803000161"),
        ("PUBACK with id 0", "40020000"),
        ("PUBACK cut short", "400100"),
        ("PUBACK too long", "4003000100"),
        ("SUBSCRIBE without a filter", "82020001"),
        ("SUBSCRIBE with QoS 3", "8206000100016103"),
        ("UNSUBSCRIBE without a filter", "a2020001"),
        ("topic that is no UTF-8", "3004 0002 ff fe"),
        ("topic with U+0000", "30030001 00"),
        ("remaining length of five bytes", "30 ffffffff 01"),
        ("unknown protocol name", "100c 0004 4d515458 04 02 0000 0000"),
        ("CONNECT with the reserved flag", "100c 0004 4d515454 04 03 0000 0000"),
        ("will QoS without a will", "100c 0004 4d515454 04 0a 0000 0000"),
        ("password without user name", "100c 0004 4d515454 04 42 0000 0000"),
    ],
)
def test_given_a_packet_the_standard_forbids_when_fed_then_malformed(why: str, data: str) -> None:
    with pytest.raises(MalformedPacketError):
        list(PacketReader().feed(bytes.fromhex(data)))


@pytest.mark.parametrize(
    "data", ["100c 0004 4d515454 06 02 0000 0000", "100e 0006 4d5149736470 03 02 0000 0000"]
)
def test_given_another_protocol_level_when_fed_then_it_can_be_told_apart(data: str) -> None:
    with pytest.raises(UnacceptableProtocolError):
        list(PacketReader().feed(bytes.fromhex(data)))


def test_given_an_announced_giant_when_its_head_arrives_then_refused_before_the_body() -> None:
    with pytest.raises(PacketTooLargeError):
        list(PacketReader(max_packet_bytes=100).feed(bytes.fromhex("30 65")))


def test_given_a_topic_over_its_field_when_encoded_then_usage_error() -> None:
    with pytest.raises(UsageError, match="65535"):
        encode_packet(Publish("t" * 65_536, b""))
