"""What an MQTT 3.1.1 packet is: one frozen dataclass per control packet that a QoS 0/1 broker needs.

Source: OASIS MQTT 3.1.1, chapters 2 and 3. QoS 2 packets (PUBREC, PUBREL, PUBCOMP) are left out on purpose:
AWS IoT Core does not speak them either.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bridge.errors import CloudError

PROTOCOL_NAME: Final = "MQTT"
PROTOCOL_LEVEL: Final = 4
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
    """Return codes of CONNACK (MQTT 3.1.1, 3.2.2.3)."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


class MalformedPacketError(CloudError):
    """The peer sent bytes that MQTT 3.1.1 forbids; the connection must be closed."""

    default_reason = "mqtt-malformed"


class PacketTooLargeError(MalformedPacketError):
    """The peer announced a packet larger than this broker takes."""

    default_reason = "mqtt-too-large"


class UnacceptableProtocolError(MalformedPacketError):
    """A CONNECT for another protocol level: the only malformed packet that deserves an answer (CONNACK 1)."""

    default_reason = "mqtt-protocol-level"


@dataclass(frozen=True)
class Will:
    """The message that the broker publishes for a client that vanished."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True)
class Connect:
    """A client introduces itself; ``keep_alive_s`` 0 means that it does not want to be watched."""

    client_id: str
    clean_session: bool = True
    keep_alive_s: int = 60
    will: Will | None = None
    username: str | None = None
    password: bytes | None = None


@dataclass(frozen=True)
class ConnAck:
    """Answer to CONNECT."""

    code: int
    session_present: bool = False


@dataclass(frozen=True)
class Publish:
    """An application message; ``packet_id`` is 0 exactly when ``qos`` is 0."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int = 0


@dataclass(frozen=True)
class PubAck:
    """Answer to a QoS 1 PUBLISH."""

    packet_id: int


@dataclass(frozen=True)
class Subscribe:
    """Pairs of topic filter and wanted QoS."""

    packet_id: int
    requests: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class SubAck:
    """Granted QoS or :data:`SUBSCRIPTION_REFUSED`, one for each filter."""

    packet_id: int
    codes: tuple[int, ...]


@dataclass(frozen=True)
class Unsubscribe:
    """Topic filters to forget."""

    packet_id: int
    filters: tuple[str, ...]


@dataclass(frozen=True)
class UnsubAck:
    """Answer to UNSUBSCRIBE."""

    packet_id: int


@dataclass(frozen=True)
class PingReq:
    """Sign of life from the client."""


@dataclass(frozen=True)
class PingResp:
    """Answer to PINGREQ."""


@dataclass(frozen=True)
class Disconnect:
    """The client leaves in good order: no will."""


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
