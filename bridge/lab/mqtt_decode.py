"""Bytes to packets: an incremental, strict MQTT 3.1.1 parser that never looks at a clock or a socket.

Source: OASIS MQTT 3.1.1; every refusal below is one of its numbered MUST statements. Text is checked as UTF-8
without U+0000 (1.5.3); topics are checked by :mod:`bridge.lab.mqtt_topics`.
"""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from bridge.lab.mqtt_packets import (
    PROTOCOL_LEVEL,
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
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    UnacceptableProtocolError,
    UnsubAck,
    Unsubscribe,
    Will,
)

MAX_PACKET_BYTES: Final = 256 * 1024
"""Over the 128 KB payload of AWS, so that the broker can tell "payload too large" from "nonsense length"."""

_T = TypeVar("_T")
_FIXED_FLAGS: Final = {PacketType.SUBSCRIBE: 2, PacketType.UNSUBSCRIBE: 2}


class PacketReader:
    """Cuts a byte stream into packets.

    Args:
        max_packet_bytes: Largest remaining length taken; a larger one raises before its body is buffered.
    """

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self._buffer = bytearray()
        self._max_packet_bytes = max_packet_bytes

    def feed(self, data: bytes) -> Iterator[Packet]:
        """Take bytes in any split and yield each packet that is complete.

        Raises:
            MalformedPacketError: The stream broke the protocol; nothing after this point can be trusted.
        """
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            yield decode_packet(*frame)

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
            return None
        first, body = self._buffer[0], bytes(self._buffer[start:end])
        del self._buffer[:end]
        return first, body


def decode_packet(first_byte: int, body: bytes) -> Packet:
    """Decode one packet from its first byte and everything after the remaining length.

    Raises:
        MalformedPacketError: It breaks the protocol, or it is of QoS 2's hand-shake, which this broker does
            not speak.
    """
    try:
        packet_type = PacketType(first_byte >> 4)
    except ValueError:
        raise MalformedPacketError(
            f"MQTT packet type {first_byte >> 4} is reserved or not spoken here"
        ) from None
    flags = first_byte & 0x0F
    if packet_type is not PacketType.PUBLISH and flags != _FIXED_FLAGS.get(packet_type, 0):
        raise MalformedPacketError(f"MQTT {packet_type.name} with reserved flags {flags:#x}")
    fields = _Fields(packet_type.name, body)
    packet = _decode_body(packet_type, flags, fields)
    fields.expect_end()
    return packet


def _decode_body(packet_type: PacketType, flags: int, fields: "_Fields") -> Packet:  # noqa: PLR0911 - one return per packet type
    match packet_type:
        case PacketType.CONNECT:
            return _connect(fields)
        case PacketType.CONNACK:
            return ConnAck(session_present=bool(fields.u8() & 1), code=fields.u8())
        case PacketType.PUBLISH:
            return _publish(flags, fields)
        case PacketType.PUBACK:
            return PubAck(fields.packet_id())
        case PacketType.SUBSCRIBE:
            return _subscribe(fields)
        case PacketType.SUBACK:
            return SubAck(fields.packet_id(), tuple(fields.rest()))
        case PacketType.UNSUBSCRIBE:
            packet_id = fields.packet_id()
            return Unsubscribe(packet_id, tuple(_at_least_one(fields, fields.text)))
        case PacketType.UNSUBACK:
            return UnsubAck(fields.packet_id())
        case PacketType.PINGREQ:
            return PingReq()
        case PacketType.PINGRESP:
            return PingResp()
        case PacketType.DISCONNECT:
            return Disconnect()


def _connect(fields: "_Fields") -> Connect:
    name = fields.text()
    level = fields.u8()
    if name not in {PROTOCOL_NAME, "MQIsdp"}:
        raise MalformedPacketError("MQTT CONNECT with an unknown protocol name")
    if (name, level) != (PROTOCOL_NAME, PROTOCOL_LEVEL):
        raise UnacceptableProtocolError(
            f"MQTT CONNECT for protocol level {level}; this broker speaks 4 (3.1.1)"
        )
    flags = fields.u8()
    has_will, will_qos, will_retain = bool(flags & 0x04), flags >> 3 & 3, bool(flags & 0x20)
    if flags & 1 or will_qos == 3 or (not has_will and (will_qos or will_retain)) or flags & 0xC0 == 0x40:
        raise MalformedPacketError(f"MQTT CONNECT with contradicting flags {flags:#04x}")
    keep_alive_s = fields.u16()
    client_id = fields.text()
    will = Will(fields.text(), fields.binary(), will_qos, will_retain) if has_will else None
    return Connect(
        client_id=client_id,
        clean_session=bool(flags & 0x02),
        keep_alive_s=keep_alive_s,
        will=will,
        username=fields.text() if flags & 0x80 else None,
        password=fields.binary() if flags & 0x40 else None,
    )


def _publish(flags: int, fields: "_Fields") -> Publish:
    qos, dup = flags >> 1 & 3, bool(flags & 8)
    if qos == 3 or (qos == 0 and dup):
        raise MalformedPacketError(f"MQTT PUBLISH with impossible flags {flags:#x}")
    topic = fields.text()
    packet_id = fields.packet_id() if qos else 0
    return Publish(topic, fields.rest(), qos=qos, retain=bool(flags & 1), dup=dup, packet_id=packet_id)


def _subscribe(fields: "_Fields") -> Subscribe:
    packet_id = fields.packet_id()
    requests = tuple(_at_least_one(fields, lambda: (fields.text(), fields.u8())))
    if any(qos > 2 for _, qos in requests):
        raise MalformedPacketError("MQTT SUBSCRIBE with a QoS over 2")
    return Subscribe(packet_id, requests)


def _at_least_one(fields: "_Fields", read: Callable[[], _T]) -> Iterator[_T]:
    yield read()
    while fields.left:
        yield read()


class _Fields:
    """A cursor over a packet's body."""

    def __init__(self, packet_name: str, body: bytes) -> None:
        self._name = packet_name
        self._body = body
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._position

    def take(self, size: int) -> bytes:
        if self.left < size:
            raise MalformedPacketError(
                f"MQTT {self._name} ends in the middle of a field", offset=self._position
            )
        self._position += size
        return self._body[self._position - size : self._position]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def packet_id(self) -> int:
        if (packet_id := self.u16()) == 0:
            raise MalformedPacketError(f"MQTT {self._name} with packet identifier 0")
        return packet_id

    def binary(self) -> bytes:
        return self.take(self.u16())

    def text(self) -> str:
        try:
            text = self.binary().decode()
        except UnicodeDecodeError:
            raise MalformedPacketError(f"MQTT {self._name} holds text that is no UTF-8") from None
        if "\0" in text:
            raise MalformedPacketError(f"MQTT {self._name} holds text with U+0000")
        return text

    def rest(self) -> bytes:
        return self.take(self.left)

    def expect_end(self) -> None:
        if self.left:
            raise MalformedPacketError(
                f"MQTT {self._name} has {self.left} bytes too many", offset=self._position
            )
