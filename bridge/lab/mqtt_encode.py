"""Packets to bytes: build any MQTT 3.1.1 control packet of :mod:`bridge.lab.mqtt_packets`.

Source: OASIS MQTT 3.1.1, sections 1.5.3 (strings), 2.2.3 (remaining length) and chapter 3 (layouts).
"""

from bridge.errors import UsageError
from bridge.lab.mqtt_packets import (
    PROTOCOL_LEVEL,
    PROTOCOL_NAME,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PacketType,
    PingReq,
    PingResp,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
)


def encode_packet(packet: Packet) -> bytes:  # noqa: PLR0911 - one return per packet type
    """Give the bytes of a packet on the wire.

    Raises:
        UsageError: A member does not fit its field, such as a topic longer than 65535 bytes.
    """
    match packet:
        case Connect():
            return _frame(PacketType.CONNECT, 0, _connect_body(packet))
        case ConnAck():
            return _frame(PacketType.CONNACK, 0, bytes([packet.session_present, packet.code]))
        case Publish():
            flags = packet.dup << 3 | packet.qos << 1 | packet.retain
            packet_id = _u16(packet.packet_id) if packet.qos else b""
            return _frame(PacketType.PUBLISH, flags, _text(packet.topic) + packet_id + packet.payload)
        case PubAck():
            return _frame(PacketType.PUBACK, 0, _u16(packet.packet_id))
        case Subscribe():
            requests = b"".join(_text(topic_filter) + bytes([qos]) for topic_filter, qos in packet.requests)
            return _frame(PacketType.SUBSCRIBE, 2, _u16(packet.packet_id) + requests)
        case SubAck():
            return _frame(PacketType.SUBACK, 0, _u16(packet.packet_id) + bytes(packet.codes))
        case Unsubscribe():
            filters = b"".join(map(_text, packet.filters))
            return _frame(PacketType.UNSUBSCRIBE, 2, _u16(packet.packet_id) + filters)
        case UnsubAck():
            return _frame(PacketType.UNSUBACK, 0, _u16(packet.packet_id))
        case PingReq():
            return _frame(PacketType.PINGREQ, 0, b"")
        case PingResp():
            return _frame(PacketType.PINGRESP, 0, b"")
        case Disconnect():
            return _frame(PacketType.DISCONNECT, 0, b"")


def _connect_body(packet: Connect) -> bytes:
    flags = packet.clean_session << 1
    payload = _text(packet.client_id)
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        payload += _text(packet.will.topic) + _binary(packet.will.payload)
    if packet.username is not None:
        flags |= 0x80
        payload += _text(packet.username)
    if packet.password is not None:
        flags |= 0x40
        payload += _binary(packet.password)
    return _text(PROTOCOL_NAME) + bytes([PROTOCOL_LEVEL, flags]) + _u16(packet.keep_alive_s) + payload


def _frame(packet_type: PacketType, flags: int, body: bytes) -> bytes:
    length = len(body)
    if length > 268_435_455:
        raise UsageError(
            f"MQTT packet body of {length} bytes is over the protocol's limit", reason="mqtt-too-large"
        )
    head = bytearray([packet_type << 4 | flags])
    while True:
        length, digit = divmod(length, 128)
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + body


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _binary(data: bytes) -> bytes:
    if len(data) > 0xFFFF:
        raise UsageError(f"MQTT field of {len(data)} bytes is over 65535", reason="mqtt-too-large")
    return _u16(len(data)) + data


def _text(text: str) -> bytes:
    return _binary(text.encode())
