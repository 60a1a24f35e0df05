"""The packet codec: every packet survives the trip in any split, and everything MQTT forbids is refused."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.lab.mqtt_decode import PacketReader
from bridge.lab.mqtt_encode import encode_packet
from bridge.lab.mqtt_packets import (
    MQTT_5,
    Connect,
    MalformedPacketError,
    Packet,
    PacketTooLargeError,
    ProtocolViolationError,
    PubAck,
    Publish,
    UnacceptableProtocolError,
    Will,
)
from bridge.lab.mqtt_properties import Properties
from hil_tests.unit.lab.mqtt_strategies import conversations, packets

packets_of_5 = packets(MQTT_5)


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=40)
@given(st.data(), st.lists(st.integers(1, 50), max_size=40))
def test_given_any_packets_when_fed_in_any_split_then_the_same_packets_come_out(
    version: int, data: st.DataObject, cuts: list[int]
) -> None:
    packets = data.draw(conversations(version))
    stream = b"".join(encode_packet(packet, version) for packet in packets)
    reader, decoded = PacketReader(), list[Packet]()
    for cut in cuts:
        decoded += reader.feed(stream[:cut])
        stream = stream[cut:]
    decoded += reader.feed(stream)
    assert decoded == packets


@given(st.data())
def test_given_one_byte_changed_then_another_packet_or_a_protocol_error_comes_out(
    data: st.DataObject,
) -> None:
    packet = data.draw(packets_of_5)
    wire = bytearray(encode_packet(packet, MQTT_5))
    wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MalformedPacketError):
        list(PacketReader(version=MQTT_5).feed(bytes(wire)))


@pytest.mark.parametrize("version", [4, 5])
@given(st.binary(max_size=200))
def test_given_any_bytes_when_fed_then_only_protocol_errors_come_out(version: int, data: bytes) -> None:
    with contextlib.suppress(MalformedPacketError):
        list(PacketReader(version=version).feed(data))


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


def test_given_a_connect_of_mqtt_5_when_encoded_then_bytes_are_as_in_the_standard() -> None:
    connect = Connect("c", keep_alive_s=10, version=MQTT_5, properties=Properties(session_expiry_s=10))
    assert encode_packet(connect).hex(" ") == "10 13 00 04 4d 51 54 54 05 02 00 0a 05 11 00 00 00 0a 00 01 63"


def test_given_a_puback_that_says_nothing_when_encoded_then_it_is_as_short_as_in_3_1_1() -> None:
    assert encode_packet(PubAck(10), MQTT_5) == encode_packet(PubAck(10)) == bytes.fromhex("4002 000a")
    assert encode_packet(PubAck(10, 0x10), MQTT_5) == bytes.fromhex("4003 000a 10")


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("AUTH", "f000"),
        ("a property twice", "300e 0001 61 0a 0200000001 0200000001"),
        ("a property that is not for the packet", "300a 0001 61 05 1100000001 00"),
        ("an unknown property", "3007 0001 61 02 0401 00"),
        ("properties longer than the packet", "3005 0001 61 09 01"),
        ("an overlong length of the properties", "3006 0001 61 8000 00"),
        ("receive maximum 0", "1010 0004 4d515454 05 02 0000 03 210000 0000"),
        ("a flag of 2", "3006 0001 61 02 0102"),
        ("subscription identifier 0", "8209 0001 02 0b00 0001 61 00"),
        ("reserved subscription options", "8207 0001 00 0001 61 40"),
        ("retain handling 3", "8207 0001 00 0001 61 30"),
        ("SUBSCRIBE with QoS 3", "8207 0001 00 0001 61 03"),
        ("half a user property", "3008 0001 61 04 26 0001 62"),
    ],
)
def test_given_a_packet_that_mqtt_5_forbids_when_fed_then_malformed(why: str, data: str) -> None:
    with pytest.raises(MalformedPacketError):
        list(PacketReader(version=MQTT_5).feed(bytes.fromhex(data)))


@pytest.mark.parametrize("data", ["f000", "8207 0001 00 0001 61 40", "50020001"])
def test_given_bytes_that_are_sound_but_out_of_place_then_a_protocol_error_of_its_own(data: str) -> None:
    with pytest.raises(ProtocolViolationError):
        list(PacketReader(version=MQTT_5).feed(bytes.fromhex(data)))


def test_given_a_password_without_a_user_name_in_mqtt_5_then_taken() -> None:
    connect = Connect("c", password=b"secret", version=MQTT_5)
    assert list(PacketReader().feed(encode_packet(connect))) == [connect]
