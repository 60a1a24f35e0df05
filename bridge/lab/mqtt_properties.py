"""MQTT 5's properties as one value: every property that MQTT 5 knows, read and built.

Source: OASIS MQTT 5.0, section 2.2.2; which packet may carry which property is in its table 2-4.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from bridge.lab.mqtt_fields import Fields, build_binary, build_pair, build_text, build_u16, build_varint


@dataclass(frozen=True, slots=True)
class Properties:
    """What a packet says beside its fixed fields; None is a property that is absent."""

    payload_format: int | None = None
    message_expiry_s: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_ids: tuple[int, ...] = ()
    session_expiry_s: int | None = None
    assigned_client_id: str | None = None
    server_keep_alive_s: int | None = None
    authentication_method: str | None = None
    authentication_data: bytes | None = None
    request_problem_information: int | None = None
    will_delay_s: int | None = None
    request_response_information: int | None = None
    response_information: str | None = None
    server_reference: str | None = None
    reason_string: str | None = None
    receive_maximum: int | None = None
    topic_alias_maximum: int | None = None
    topic_alias: int | None = None
    maximum_qos: int | None = None
    retain_available: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    maximum_packet_bytes: int | None = None
    wildcard_available: int | None = None
    subscription_ids_available: int | None = None
    shared_available: int | None = None


NO_PROPERTIES: Final = Properties()


class _Kind(NamedTuple):
    read: Callable[[Fields], Any]
    build: Callable[[Any], bytes]


_FLAG: Final = _Kind(lambda data: _bounded(data, data.u8(), 0, 1), lambda value: bytes([value]))
_U16: Final = _Kind(Fields.u16, build_u16)
_U16_NOT_0: Final = _Kind(lambda data: _bounded(data, data.u16(), 1, 0xFFFF), build_u16)
_U32: Final = _Kind(Fields.u32, lambda value: value.to_bytes(4, "big"))
_U32_NOT_0: Final = _Kind(lambda data: _bounded(data, data.u32(), 1, 0xFFFFFFFF), _U32.build)
_VARINT_NOT_0: Final = _Kind(lambda data: _bounded(data, data.varint(), 1, 0xFFFFFFFF), build_varint)
_TEXT: Final = _Kind(Fields.text, build_text)
_BINARY: Final = _Kind(Fields.binary, build_binary)
_PAIR: Final = _Kind(Fields.pair, build_pair)

_WILL: Final = "will"


class _Property(NamedTuple):
    name: str
    kind: _Kind
    packets: frozenset[str]


def _of(name: str, kind: _Kind, packets: str) -> _Property:
    return _Property(name, kind, frozenset(packets.split()))


_TABLE: Final = {
    0x01: _of("payload_format", _FLAG, "PUBLISH will"),
    0x02: _of("message_expiry_s", _U32, "PUBLISH will"),
    0x03: _of("content_type", _TEXT, "PUBLISH will"),
    0x08: _of("response_topic", _TEXT, "PUBLISH will"),
    0x09: _of("correlation_data", _BINARY, "PUBLISH will"),
    0x0B: _of("subscription_ids", _VARINT_NOT_0, "PUBLISH SUBSCRIBE"),
    0x11: _of("session_expiry_s", _U32, "CONNECT CONNACK DISCONNECT"),
    0x12: _of("assigned_client_id", _TEXT, "CONNACK"),
    0x13: _of("server_keep_alive_s", _U16, "CONNACK"),
    0x15: _of("authentication_method", _TEXT, "CONNECT CONNACK"),
    0x16: _of("authentication_data", _BINARY, "CONNECT CONNACK"),
    0x17: _of("request_problem_information", _FLAG, "CONNECT"),
    0x18: _of("will_delay_s", _U32, "will"),
    0x19: _of("request_response_information", _FLAG, "CONNECT"),
    0x1A: _of("response_information", _TEXT, "CONNACK"),
    0x1C: _of("server_reference", _TEXT, "CONNACK DISCONNECT"),
    0x1F: _of("reason_string", _TEXT, "CONNACK PUBACK SUBACK UNSUBACK DISCONNECT"),
    0x21: _of("receive_maximum", _U16_NOT_0, "CONNECT CONNACK"),
    0x22: _of("topic_alias_maximum", _U16, "CONNECT CONNACK"),
    0x23: _of("topic_alias", _U16, "PUBLISH"),
    0x24: _of("maximum_qos", _FLAG, "CONNACK"),
    0x25: _of("retain_available", _FLAG, "CONNACK"),
    0x26: _of(
        "user_properties",
        _PAIR,
        "CONNECT CONNACK PUBLISH will PUBACK SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK DISCONNECT",
    ),
    0x27: _of("maximum_packet_bytes", _U32_NOT_0, "CONNECT CONNACK"),
    0x28: _of("wildcard_available", _FLAG, "CONNACK"),
    0x29: _of("subscription_ids_available", _FLAG, "CONNACK"),
    0x2A: _of("shared_available", _FLAG, "CONNACK"),
}
_REPEATABLE: Final = {"user_properties", "subscription_ids"}
_ENTRIES: Final = {entry.name: (identifier, entry) for identifier, entry in _TABLE.items()}
_DEFAULTS: Final = tuple((field.name, field.default) for field in fields(Properties))


def read_properties(data: Fields, *, will: bool = False) -> Properties:
    """Read the properties that begin at the cursor.

    Raises:
        CloudError: The cursor's error; a property is unknown, not for this packet, there twice or out of range.
    """
    part = data.part(data.varint())
    if not part.left:
        return NO_PROPERTIES
    packet = _WILL if will else data.name
    found: dict[str, Any] = {}
    while part.left:
        identifier = part.varint()
        entry = _TABLE.get(identifier)
        if entry is None or packet not in entry.packets:
            raise data.error(f"MQTT {data.name} with property {identifier:#x}, which is not for it")
        value = entry.kind.read(part)
        if entry.name in _REPEATABLE:
            found[entry.name] = (*found.get(entry.name, ()), value)
        elif entry.name in found:
            raise data.error(f"MQTT {data.name} with {entry.name} twice")
        else:
            found[entry.name] = value
    return Properties(**found)


def build_properties(properties: Properties) -> bytes:
    """Bytes of the properties with their length in front."""
    if properties is NO_PROPERTIES:
        return b"\0"
    body = bytearray()
    for name, default in _DEFAULTS:
        value = getattr(properties, name)
        if value == default:
            continue
        identifier, entry = _ENTRIES[name]
        for one in value if name in _REPEATABLE else (value,):
            body += build_varint(identifier) + entry.kind.build(one)
    return build_varint(len(body)) + bytes(body)


def _bounded(data: Fields, value: int, lowest: int, highest: int) -> int:
    if not lowest <= value <= highest:
        raise data.error(f"MQTT {data.name} with the value {value} in a property of {lowest} to {highest}")
    return value
