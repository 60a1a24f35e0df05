"""Hypothesis strategies for MQTT packets: everything that the standards allow, in both versions."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from bridge.lab.mqtt_packets import (
    MQTT_3_1_1,
    MQTT_5,
    ConnAck,
    Connect,
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
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
packet_id = st.integers(1, 0xFFFF)
qos = st.integers(0, 2)
codes = st.lists(st.integers(0, 0xFF), max_size=9).map(tuple)
_byte, _u16, _u32 = st.integers(0, 1), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
_binary = st.binary(max_size=20)
_message: dict[str, Any] = {
    "payload_format": _byte,
    "message_expiry_s": _u32,
    "content_type": text,
    "response_topic": text,
    "correlation_data": _binary,
}
_reason: dict[str, Any] = {"reason_string": text}
_by_packet: dict[str, dict[str, Any]] = {
    "publish": {
        **_message,
        "topic_alias": _u16,
        "subscription_ids": st.lists(st.integers(1, 268_435_455), max_size=3).map(tuple),
    },
    "will": {**_message, "will_delay_s": _u32},
    "connect": {
        "session_expiry_s": _u32,
        "authentication_method": text,
        "authentication_data": _binary,
        "request_problem_information": _byte,
        "request_response_information": _byte,
        "receive_maximum": packet_id,
        "topic_alias_maximum": _u16,
        "maximum_packet_bytes": st.integers(1, 0xFFFF_FFFF),
    },
    "connack": {
        **_reason,
        "session_expiry_s": _u32,
        "assigned_client_id": text,
        "server_keep_alive_s": _u16,
        "response_information": text,
        "server_reference": text,
        "receive_maximum": packet_id,
        "maximum_qos": _byte,
        "retain_available": _byte,
        "wildcard_available": _byte,
        "subscription_ids_available": _byte,
        "shared_available": _byte,
    },
    "subscribe": {"subscription_ids": st.lists(st.integers(1, 127), max_size=1).map(tuple)},
    "acknowledge": _reason,
    "disconnect": {**_reason, "session_expiry_s": _u32, "server_reference": text},
    "unsubscribe": {},
}


def properties(packet: str, version: int) -> st.SearchStrategy[Properties]:
    """Properties that a packet may carry; none in 3.1.1."""
    if version == MQTT_3_1_1:
        return st.just(NO_PROPERTIES)
    pairs = st.lists(st.tuples(text, text), max_size=3).map(tuple)
    optional = {**_by_packet[packet], "user_properties": pairs}
    return st.fixed_dictionaries({}, optional=optional).map(lambda members: Properties(**members))


def _will(version: int) -> st.SearchStrategy[Will]:
    return st.builds(Will, text, st.binary(max_size=40), qos, st.booleans(), properties("will", version))


def _connect(version: int) -> st.SearchStrategy[Connect]:
    def legal(connect: Connect) -> Connect:
        """In 3.1.1 a password needs a user name (3.1.2.9)."""
        if version == MQTT_3_1_1 and connect.username is None:
            return replace(connect, password=None)
        return connect

    return st.builds(
        Connect,
        text,
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.none() | _will(version),
        st.none() | text,
        st.none() | _binary,
        st.just(version),
        properties("connect", version),
    ).map(legal)


def _publish(version: int) -> st.SearchStrategy[Publish]:
    def legal(publish: Publish) -> Publish:
        return publish if publish.qos else replace(publish, packet_id=0, dup=False)

    payload = st.binary(max_size=300)
    flags = st.booleans()
    return st.builds(
        Publish, text, payload, qos, flags, flags, packet_id, properties("publish", version)
    ).map(legal)


def packets(version: int) -> st.SearchStrategy[Packet]:
    """Any packet but CONNECT."""
    is_5 = version == MQTT_5
    options = st.integers(0, 0x2F).filter(lambda value: value & 3 < 3) if is_5 else qos
    no_reason = st.just(0)
    reason = st.integers(0, 0xFF) if is_5 else no_reason
    return st.one_of(
        st.builds(ConnAck, st.integers(0, 0xFF), st.booleans(), properties("connack", version)),
        _publish(version),
        st.builds(PubAck, packet_id, reason, properties("acknowledge", version)),
        st.builds(
            Subscribe,
            packet_id,
            st.lists(st.tuples(text, options), min_size=1, max_size=9).map(tuple),
            properties("subscribe", version),
        ),
        st.builds(SubAck, packet_id, codes, properties("acknowledge", version)),
        st.builds(
            Unsubscribe,
            packet_id,
            st.lists(text, min_size=1, max_size=9).map(tuple),
            properties("unsubscribe", version),
        ),
        st.builds(UnsubAck, packet_id, codes if is_5 else st.just(()), properties("acknowledge", version)),
        st.builds(PingReq),
        st.builds(PingResp),
        st.builds(Disconnect, reason, properties("disconnect", version)),
    )


def conversations(version: int) -> st.SearchStrategy[list[Packet]]:
    """A CONNECT and what follows it."""
    return st.builds(
        lambda first, rest: [first, *rest], _connect(version), st.lists(packets(version), max_size=5)
    )
