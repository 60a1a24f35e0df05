"""Packets to bytes: build any MQTT 3.1.1 or 5 control packet of :mod:`bridge.lab.mqtt_packets`.

Sources: OASIS MQTT 3.1.1 and MQTT 5.0, section 1.5 (data types), 2 (frame) and 3 (layouts).
"""

from bridge.lab.mqtt_fields import build_binary, build_text, build_u16, build_varint
from bridge.lab.mqtt_packets import (
    MQTT_3_1_1,
    MQTT_5,
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
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties, build_properties


def encode_packet(packet: Packet, version: int = MQTT_3_1_1) -> bytes:
    """Give the bytes of a packet on the wire.

    Args:
        packet: What to send. A CONNECT brings its own version.
        version: Protocol level of the connection, 4 or 5.

    Raises:
        UsageError: A member does not fit its field, such as a topic longer than 65535 bytes.
    """
    if isinstance(packet, Publish):
        return _publish(packet, version)
    packet_type, flags, body = _parts(packet, version)
    return bytes([packet_type << 4 | flags]) + build_varint(len(body)) + body


def _publish(packet: Publish, version: int) -> bytes:
    head = PacketType.PUBLISH << 4 | packet.dup << 3 | packet.qos << 1 | packet.retain
    body = build_text(packet.topic)
    if packet.qos:
        body += build_u16(packet.packet_id)
    body += _properties(packet.properties, version) + packet.payload
    return bytes([head]) + build_varint(len(body)) + body


def _parts(packet: Packet, version: int) -> tuple[PacketType, int, bytes]:  # noqa: PLR0911 - one return per packet type
    match packet:
        case Connect():
            return PacketType.CONNECT, 0, _connect_body(packet)
        case ConnAck():
            body = bytes([packet.session_present, packet.code]) + _properties(packet.properties, version)
            return PacketType.CONNACK, 0, body
        case PubAck():
            body = build_u16(packet.packet_id) + _reason(packet.reason, packet.properties, version)
            return PacketType.PUBACK, 0, body
        case Subscribe():
            body = build_u16(packet.packet_id) + _properties(packet.properties, version)
            requests = (build_text(wanted) + bytes([options]) for wanted, options in packet.requests)
            return PacketType.SUBSCRIBE, 2, body + b"".join(requests)
        case SubAck():
            body = build_u16(packet.packet_id) + _properties(packet.properties, version)
            return PacketType.SUBACK, 0, body + bytes(packet.codes)
        case Unsubscribe():
            body = build_u16(packet.packet_id) + _properties(packet.properties, version)
            return PacketType.UNSUBSCRIBE, 2, body + b"".join(map(build_text, packet.filters))
        case UnsubAck():
            codes = bytes(packet.codes) if version == MQTT_5 else b""
            body = build_u16(packet.packet_id) + _properties(packet.properties, version)
            return PacketType.UNSUBACK, 0, body + codes
        case PingReq():
            return PacketType.PINGREQ, 0, b""
        case PingResp():
            return PacketType.PINGRESP, 0, b""
        case Disconnect():
            return PacketType.DISCONNECT, 0, _reason(packet.reason, packet.properties, version)
        case Publish():
            raise AssertionError("built by itself")


def _connect_body(packet: Connect) -> bytes:
    flags = packet.clean_session << 1
    payload = build_text(packet.client_id)
    if packet.will is not None:
        flags |= 0x04 | packet.will.qos << 3 | packet.will.retain << 5
        payload += _properties(packet.will.properties, packet.version)
        payload += build_text(packet.will.topic) + build_binary(packet.will.payload)
    if packet.username is not None:
        flags |= 0x80
        payload += build_text(packet.username)
    if packet.password is not None:
        flags |= 0x40
        payload += build_binary(packet.password)
    head = build_text(PROTOCOL_NAME) + bytes([packet.version, flags]) + build_u16(packet.keep_alive_s)
    return head + _properties(packet.properties, packet.version) + payload


def _properties(properties: Properties, version: int) -> bytes:
    return build_properties(properties) if version == MQTT_5 else b""


def _reason(reason: int, properties: Properties, version: int) -> bytes:
    """MQTT 5 leaves out what says nothing: success without properties, or properties that are empty."""
    if version != MQTT_5 or (not reason and properties == NO_PROPERTIES):
        return b""
    return bytes([reason]) + (b"" if properties == NO_PROPERTIES else build_properties(properties))
