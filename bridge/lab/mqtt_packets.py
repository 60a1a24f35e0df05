"""What an MQTT packet is: one frozen dataclass per control packet that a QoS 0/1 broker needs, for 3.1.1 and 5.

Sources: OASIS MQTT 3.1.1 and MQTT 5.0, chapters 2 and 3. Members that only MQTT 5 has keep their defaults in 3.1.1.
QoS 2 packets (PUBREC, PUBREL, PUBCOMP) and AUTH are left out on purpose: AWS IoT Core does not speak them either.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bridge.errors import CloudError
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties
from bridge.lab.mqtt_reasons import ReasonCode

PROTOCOL_NAME: Final = "MQTT"
MQTT_3_1_1: Final = 4
MQTT_5: Final = 5
SUBSCRIPTION_REFUSED: Final = 0x80


class PacketType(IntEnum):
    """Upper four bits of the first byte of a packet."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class ConnectCode(IntEnum):
    """Return codes of CONNACK in MQTT 3.1.1 (3.2.2.3)."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


class MalformedPacketError(CloudError):
    """The peer sent bytes that MQTT forbids; the connection must be closed."""

    default_reason = "mqtt-malformed"
    reason_code = ReasonCode.MALFORMED_PACKET
    """What MQTT 5's DISCONNECT says about it."""


class ProtocolViolationError(MalformedPacketError):
    """Well-formed bytes that MQTT 5 calls a protocol error, such as a property that is there twice."""

    default_reason = "mqtt-protocol-error"
    reason_code = ReasonCode.PROTOCOL_ERROR


class PacketTooLargeError(MalformedPacketError):
    """The peer announced a packet larger than this broker takes."""

    default_reason = "mqtt-too-large"
    reason_code = ReasonCode.PACKET_TOO_LARGE


class UnacceptableProtocolError(MalformedPacketError):
    """A CONNECT for another protocol level: the only malformed packet that deserves a CONNACK.

    Attributes:
        level: The protocol level that the client asked for.
    """

    default_reason = "mqtt-protocol-level"

    def __init__(self, message: str, *, level: int) -> None:
        super().__init__(message)
        self.level = level


@dataclass(frozen=True)
class Will:
    """The message that the broker publishes for a client that vanished."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class Connect:
    """A client introduces itself; ``keep_alive_s`` 0 means that it does not want to be watched.

    ``clean_session`` is "clean start" in MQTT 5; ``version`` is the protocol level, 4 for 3.1.1.
    """

    client_id: str
    clean_session: bool = True
    keep_alive_s: int = 60
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None
    version: int = MQTT_3_1_1
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class ConnAck:
    """Answer to CONNECT: a :class:`ConnectCode`, or a reason code in MQTT 5."""

    code: int
    session_present: bool = False
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class Publish:
    """An application message; ``packet_id`` is 0 exactly when ``qos`` is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class PubAck:
    """Answer to a QoS 1 PUBLISH."""

    packet_id: int
    reason: int = ReasonCode.SUCCESS
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class Subscribe:
    """Pairs of topic filter and options: the wanted QoS and, in MQTT 5, the bits of :class:`SubscriptionOption`."""

    packet_id: int
    requests: tuple[tuple[str, int], ...]
    properties: Properties = NO_PROPERTIES


class SubscriptionOption(IntEnum):
    """Bits of a subscription's options beside the QoS in its lower two (MQTT 5, 3.8.3.1)."""

    QOS_MASK = 0x03
    NO_LOCAL = 0x04
    RETAIN_AS_PUBLISHED = 0x08
    RETAIN_IF_NEW = 0x10
    NO_RETAINED = 0x20
    RESERVED = 0xC0


@dataclass(frozen=True)
class SubAck:
    """Granted QoS or a refusal (:data:`SUBSCRIPTION_REFUSED` in 3.1.1), one for each filter."""

    packet_id: int
    codes: tuple[int, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class Unsubscribe:
    """Topic filters to forget."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class UnsubAck:
    """Answer to UNSUBSCRIBE; in MQTT 5 with one reason code for each filter."""

    packet_id: int
    codes: tuple[int, ...] = ()
    properties: Properties = NO_PROPERTIES


@dataclass(frozen=True)
class PingReq:
    """Sign of life from the client."""


@dataclass(frozen=True)
class PingResp:
    """Answer to PINGREQ."""


@dataclass(frozen=True)
class Disconnect:
    """The end in good order: no will, unless MQTT 5's reason asks for it. A broker sends it in MQTT 5 only."""

    reason: int = ReasonCode.SUCCESS
    properties: Properties = NO_PROPERTIES


Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
)
