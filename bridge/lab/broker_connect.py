"""Judge a CONNECT as AWS IoT Core does, and build what its CONNACK says.

Sources: OASIS MQTT 3.1.1 and 5.0, sections 3.1 and 3.2; AWS IoT Developer Guide, "MQTT 5 properties" and "MQTT reason
codes". A CONNECT that the policy denies ends without a CONNACK in MQTT 3.1.1 (aws-iot-device-sdk-js-v2 issue 101,
eclipse-paho/paho.mqtt.rust issue 119) and with reason 0x87 in MQTT 5.
"""

import uuid
from dataclasses import dataclass, replace
from typing import Final

from bridge.lab.broker_limits import (
    MAX_CLIENT_ID_BYTES,
    MAX_IN_FLIGHT,
    MAX_KEEP_ALIVE_S,
    MAX_PACKET_BYTES,
    MAX_TOPIC_ALIAS,
    BrokerLimits,
)
from bridge.lab.broker_policy import Access, ClientCertificate, Policy
from bridge.lab.mqtt_packets import MQTT_5, ConnAck, Connect, ConnectCode
from bridge.lab.mqtt_properties import NO_PROPERTIES, Properties
from bridge.lab.mqtt_reasons import ReasonCode
from bridge.lab.mqtt_topics import is_reserved, is_topic_name, within_aws_limits

_CODES_3_1_1: Final = {
    ReasonCode.CLIENT_IDENTIFIER_NOT_VALID: ConnectCode.IDENTIFIER_REJECTED,
    ReasonCode.QUOTA_EXCEEDED: ConnectCode.SERVER_UNAVAILABLE,
}


@dataclass(frozen=True)
class Admission:
    """An accepted CONNECT.

    Attributes:
        connect: The CONNECT, with a client id in any case.
        access: What the client may do.
        keep_alive_s: Interval in force.
        expiry_s: How long the session outlives the connection.
        properties: Of the CONNACK, in MQTT 5.
    """

    connect: Connect
    access: Access
    keep_alive_s: int
    expiry_s: int
    properties: Properties


@dataclass(frozen=True)
class Refusal:
    """A refused CONNECT; ``answer`` is None where the client hears nothing but the end."""

    answer: ConnAck | None
    text: str


def judge_connect(
    connect: Connect, certificate: ClientCertificate, policy: Policy, limits: BrokerLimits
) -> Admission | Refusal:
    """Let a client in, or say why not."""
    assigned = not connect.client_id and (connect.clean_session or connect.version == MQTT_5)
    named = replace(connect, client_id=f"auto-{uuid.uuid4()}") if assigned else connect
    access = policy.access(certificate, named.client_id)
    if access is None:
        return Refusal(None, "the certificate is not registered or not active")
    expiry_s = session_expiry_s(named, limits)
    reason = _fault_of(named) or _denial_of(named, access, expiry_s)
    if reason is not None:
        return refuse(connect.version, reason)
    keep_alive_s = min(named.keep_alive_s or MAX_KEEP_ALIVE_S, MAX_KEEP_ALIVE_S)
    wanted_expiry_s = named.properties.session_expiry_s or 0
    properties = (
        NO_PROPERTIES
        if connect.version != MQTT_5
        else Properties(
            session_expiry_s=expiry_s if expiry_s != wanted_expiry_s else None,
            receive_maximum=MAX_IN_FLIGHT,
            maximum_qos=1,
            retain_available=1,
            maximum_packet_bytes=MAX_PACKET_BYTES,
            assigned_client_id=named.client_id if assigned else None,
            topic_alias_maximum=MAX_TOPIC_ALIAS,
            wildcard_available=1,
            subscription_ids_available=0,
            shared_available=1,
            server_keep_alive_s=keep_alive_s,
        )
    )
    return Admission(named, access, keep_alive_s, expiry_s, properties)


def refuse(version: int, reason: ReasonCode) -> Refusal:
    """The refusal of a CONNECT as its version can put it."""
    text = reason.name.lower().replace("_", " ")
    if version == MQTT_5:
        return Refusal(ConnAck(reason, properties=Properties(reason_string=text)), text)
    code = _CODES_3_1_1.get(reason)
    return Refusal(None if code is None else ConnAck(code), text)


def session_expiry_s(connect: Connect, limits: BrokerLimits) -> int:
    """How long the session outlives the connection: MQTT 5's wish up to the account's maximum."""
    if connect.version == MQTT_5:
        return min(connect.properties.session_expiry_s or 0, limits.session_expiry_s)
    return 0 if connect.clean_session else limits.session_expiry_s


def _fault_of(connect: Connect) -> ReasonCode | None:
    client_id, will = connect.client_id, connect.will
    if not client_id or len(client_id.encode()) > MAX_CLIENT_ID_BYTES or client_id.startswith("$"):
        return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    if connect.properties.authentication_method is not None:
        return ReasonCode.BAD_AUTHENTICATION_METHOD
    if will is not None and will.qos > 1:
        return ReasonCode.QOS_NOT_SUPPORTED
    if will is not None and not (is_topic_name(will.topic) and within_aws_limits(will.topic)):
        return ReasonCode.TOPIC_NAME_INVALID
    return None


def _denial_of(connect: Connect, access: Access, expiry_s: int) -> ReasonCode | None:
    will = connect.will
    allowed = access.may_connect(persistent=expiry_s > 0, will_topic=None if will is None else will.topic)
    if will is not None:
        allowed = (
            allowed
            and access.may_publish(will.topic, retain=will.retain)
            and not (will.retain and is_reserved(will.topic))
        )
    return None if allowed else ReasonCode.NOT_AUTHORIZED
