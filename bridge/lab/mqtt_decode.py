"""Bytes to packets: an incremental, strict parser for MQTT 3.1.1 and 5 that never looks at a clock or a socket.

Sources: OASIS MQTT 3.1.1 and MQTT 5.0; every refusal below is one of their numbered MUST statements. Text is checked
as UTF-8 without U+0000 (1.5); topics are checked by :mod:`bridge.lab.mqtt_topics`.
"""

from collections.abc import Iterator
from typing import Final

from bridge.lab.mqtt_fields import Fields
from bridge.lab.mqtt_packets import (
    MQTT_3_1_1,
    MQTT_5,
    PROTOCOL_NAME,
    ConnAck,
    Connect,
    Disconnect,
    MalformedPacketError,
    Packet,
    PacketTooLargeError,
    PacketType,
    PingReq,
    PingResp,
    ProtocolViolationError,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    SubscriptionOption,
    UnacceptableProtocolError,
    UnsubAck,
    Unsubscribe,
    Will,
)
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties, read_properties

MAX_PACKET_BYTES: Final = 256 * 1024
"""Over the 128 KB payload of AWS, so that the broker can tell "payload too large" from "nonsense length"."""

_FIXED_FLAGS: Final = {PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}


class PacketReader:
    """Cuts a byte stream into packets.

    Args:
        max_packet_bytes: Largest remaining length taken; a larger one raises before its body is buffered.
        version: Protocol level, for a client's side; a broker's side learns it from the CONNECT.
    """

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES, *, version: int = MQTT_3_1_1) -> None:
        self.version = version
        self._buffer = bytearray()
        self._max_packet_bytes = max_packet_bytes

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take bytes in any split and yield each packet that is complete.

        Raises:
            MalformedPacketError: The stream broke the protocol; nothing after this point can be trusted.
        """
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            packet = decode_packet(*frame, version=self.version)
            if isinstance(packet, Connect):
                self.version = packet.version
            yield packet

    def _next_frame(self) -> tuple[int, bytes] | None:
        length = 0
        for index in range(1, 5):
            if len(self._buffer) <= index:
                return None
            digit = self._buffer[index]
            length |= (digit & 0x7F) << 7 * (index - 1)
            if not digit & 0x80:
                break
        else:
            raise MalformedPacketError("MQTT remaining length runs over four bytes")
        if length > self._max_packet_bytes:
            raise PacketTooLargeError(f"MQTT packet of {length} bytes is over {self._max_packet_bytes}")
        start, end = index + 1, index + 1 + length
        if len(self._buffer) < end:
            _read_first_byte(self._buffer[0])  # nonsense is not worth waiting for its end
            return None
        first, body = self._buffer[0], bytes(self._buffer[start:end])
        del self._buffer[:end]
        return first, body


def decode_packet(first_byte: int, body: bytes, *, version: int = MQTT_3_1_1) -> Packet:
    """Decode one packet from its first byte and everything after the remaining length.

    Raises:
        MalformedPacketError: It breaks the protocol, or it is of QoS 2's hand-shake or AUTH, which this broker does
            not speak.
    """
    packet_type, flags = _read_first_byte(first_byte)
    fields = Fields(packet_type.name, body, MalformedPacketError)
    if packet_type is PacketType.PUBLISH:
        return _publish(flags, fields, version)
    packet = _decode_body(packet_type, fields, version)
    fields.expect_end()
    return packet


def _read_first_byte(first_byte: int) -> tuple[PacketType, int]:
    try:
        packet_type = PacketType(first_byte >> 4)
    except ValueError:
        raise ProtocolViolationError(
            f"MQTT packet type {first_byte >> 4} is reserved or not spoken here"
        ) from None
    flags = first_byte & 0x0F
    if packet_type is PacketType.PUBLISH:
        if flags & 0x06 == 0x06 or flags & 0x0E == 0x08:
            raise MalformedPacketError(f"MQTT PUBLISH with impossible flags {flags:#x}")
    elif flags != _FIXED_FLAGS.get(packet_type, 0):
        raise MalformedPacketError(f"MQTT {packet_type.name} with reserved flags {flags:#x}")
    return packet_type, flags


def _decode_body(packet_type: PacketType, fields: Fields, version: int) -> Packet:  # noqa: PLR0911 - one return per packet type
    match packet_type:
        case PacketType.CONNECT:
            return _connect(fields)
        case PacketType.CONNACK:
            present, code = bool(fields.u8() & 1), fields.u8()
            return ConnAck(code, present, _properties(fields, version))
        case PacketType.PUBACK:
            packet_id = fields.packet_id()
            return PubAck(packet_id, *_reason(fields, version))
        case PacketType.SUBSCRIBE:
            return _subscribe(fields, version)
        case PacketType.SUBACK:
            packet_id, properties = fields.packet_id(), _properties(fields, version)
            return SubAck(packet_id, tuple(fields.rest()), properties)
        case PacketType.UNSUBSCRIBE:
            packet_id, properties = fields.packet_id(), _properties(fields, version)
            return Unsubscribe(packet_id, tuple(fields.at_least_one(fields.text)), properties)
        case PacketType.UNSUBACK:
            packet_id, properties = fields.packet_id(), _properties(fields, version)
            return UnsubAck(packet_id, tuple(fields.rest()) if version == MQTT_5 else (), properties)
        case PacketType.PINGREQ:
            return PingReq()
        case PacketType.PINGRESP:
            return PingResp()
        case _:
            return Disconnect(*_reason(fields, version))


def _connect(fields: Fields) -> Connect:
    name = fields.text()
    level = fields.u8()
    if name not in {PROTOCOL_NAME, "MQIsdp"}:
        raise MalformedPacketError("MQTT CONNECT with an unknown protocol name")
    if name != PROTOCOL_NAME or level not in {MQTT_3_1_1, MQTT_5}:
        raise UnacceptableProtocolError(
            f"MQTT CONNECT for protocol level {level}; this broker speaks 4 (3.1.1) and 5", level=level
        )
    flags = fields.u8()
    has_will, will_qos, will_retain = bool(flags & 0x04), flags >> 3 & 3, bool(flags & 0x20)
    only_password = level == MQTT_3_1_1 and flags & 0xC0 == 0x40
    if flags & 1 or will_qos == 3 or (not has_will and (will_qos or will_retain)) or only_password:
        raise MalformedPacketError(f"MQTT CONNECT with contradicting flags {flags:#04x}")
    keep_alive_s = fields.u16()
    properties = _properties(fields, level)
    client_id = fields.text()
    will = None
    if has_will:
        will_properties = _properties(fields, level, will=True)
        will = Will(fields.text(), fields.binary(), will_qos, will_retain, will_properties)
    return Connect(
        client_id=client_id,
        clean_session=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        will=will,
        username=fields.text() if flags & 0x80 else None,
        password=fields.binary() if flags & 0x40 else None,
        version=level,
        properties=properties,
    )


def _publish(flags: int, fields: Fields, version: int) -> Publish:
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    topic = fields.text()
    packet_id = fields.packet_id() if qos else 0
    properties = _properties(fields, version)
    return Publish(topic, fields.rest(), qos, bool(flags & 1), dup, packet_id, properties)


def _subscribe(fields: Fields, version: int) -> Subscribe:
    packet_id, properties = fields.packet_id(), _properties(fields, version)
    requests = tuple(fields.at_least_one(lambda: (fields.text(), fields.u8())))
    highest = 2 if version == MQTT_3_1_1 else 0xFF
    for _, options in requests:
        if options > highest or options & SubscriptionOption.QOS_MASK == 3:
            raise MalformedPacketError("MQTT SUBSCRIBE with a QoS over 2")
        retain_handling = options & (SubscriptionOption.RETAIN_IF_NEW | SubscriptionOption.NO_RETAINED)
        if options & SubscriptionOption.RESERVED or retain_handling == 0x30:
            raise ProtocolViolationError(f"MQTT SUBSCRIBE with reserved options {options:#x}")
    return Subscribe(packet_id, requests, properties)


def _properties(fields: Fields, version: int, *, will: bool = False) -> Properties:
    return read_properties(fields, will=will) if version == MQTT_5 else NO_PROPERTIES


def _reason(fields: Fields, version: int) -> tuple[int, Properties]:
    """Reason code and properties, which MQTT 5 lets a sender leave out from the end."""
    if version != MQTT_5 or not fields.left:
        return 0, NO_PROPERTIES
    reason = fields.u8()
    return reason, read_properties(fields) if fields.left else NO_PROPERTIES
