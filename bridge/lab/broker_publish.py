"""Judge a client's PUBLISH as AWS IoT Core does.

Sources: OASIS MQTT 3.1.1 and 5.0, section 3.3; AWS IoT Developer Guide, "MQTT" (no QoS 2, nothing retained on reserved
topics, topic aliases up to 8), "MQTT reason codes"; quotas (128 KB, publish requests per second are discarded).
A denied publish ends a connection, except that MQTT 5 has a PUBACK of QoS 1 to say it with.
"""

from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from bridge.lab.broker_faults import Fault
from bridge.lab.broker_limits import MAX_PAYLOAD_BYTES, MAX_TOPIC_ALIAS, RateLimit
from bridge.lab.broker_policy import Access
from bridge.lab.broker_router import Router
from bridge.lab.mqtt_packets import MQTT_5, Publish
from bridge.lab.mqtt_reasons import ReasonCode
from bridge.lab.mqtt_topics import is_reserved, is_topic_name, within_aws_limits


class Action(Enum):
    """What becomes of a PUBLISH."""

    TAKE = "take"
    REFUSE = "refuse"
    """PUBACK with the reason; the connection stays."""
    DISCARD = "discard"
    CLOSE = "close"
    CUT = "cut"


class Judgement(NamedTuple):
    """An action on the message, which has its topic and no alias by now; the reason of a refusal, in code and text."""

    action: Action
    publish: Publish
    reason: ReasonCode = ReasonCode.SUCCESS
    text: str = ""


class PublishJudge:
    """Judges the messages of one connection and remembers its topic aliases.

    Args:
        access: What the client may do.
        version: Its protocol level.
        router: Whose faults are to happen.
        rate: Publishes per second, if they are limited.
    """

    def __init__(self, access: Access, version: int, router: Router, rate: RateLimit | None) -> None:
        self._access = access
        self._version = version
        self._router = router
        self._rate = rate
        self._aliases: dict[int, str] = {}

    def judge(self, packet: Publish) -> Judgement:
        """What to do with a PUBLISH."""
        fault, publish = self._resolve(packet)
        topic = publish.topic
        fault = fault or _impossible(publish)
        if fault is not None:
            text = f"impossible PUBLISH to {topic!r} ({len(publish.payload)} bytes, QoS {publish.qos})"
            return Judgement(Action.CLOSE, publish, fault, text)
        if not within_aws_limits(topic):
            return self._refuse(publish, ReasonCode.TOPIC_NAME_INVALID, f"topic over the limits: {topic!r}")
        reserved = publish.retain and is_reserved(topic)
        if reserved or not self._access.may_publish(topic, retain=publish.retain):
            return self._refuse(publish, ReasonCode.NOT_AUTHORIZED, f"may not publish to {topic}")
        return self._disturb(publish)

    def _disturb(self, publish: Publish) -> Judgement:
        """What quotas and tests make of a good message."""
        faults = self._router.faults
        if faults.take(Fault.CUT_ON_PUBLISH, publish.topic):
            return Judgement(Action.CUT, publish)
        throttled = self._rate is not None and not self._rate.take(self._router.now_s)
        if throttled or faults.take(Fault.THROTTLE_PUBLISH, publish.topic):
            action = Action.REFUSE if self._has_puback(publish) else Action.DISCARD
            return Judgement(action, publish, ReasonCode.QUOTA_EXCEEDED, "over the quota of publishes")
        return Judgement(Action.TAKE, publish)

    def _resolve(self, packet: Publish) -> tuple[ReasonCode | None, Publish]:
        properties = packet.properties
        alias, topic = properties.topic_alias, packet.topic
        if properties.subscription_ids or (topic == "" and alias is None and self._version == MQTT_5):
            return ReasonCode.PROTOCOL_ERROR, packet
        if properties.response_topic is not None and not is_topic_name(properties.response_topic):
            return ReasonCode.PROTOCOL_ERROR, packet
        if alias is None:
            return None, packet
        if not 0 < alias <= MAX_TOPIC_ALIAS:
            return ReasonCode.TOPIC_ALIAS_INVALID, packet
        if topic:
            self._aliases[alias] = topic
        elif alias not in self._aliases:
            return ReasonCode.PROTOCOL_ERROR, packet
        plain = replace(properties, topic_alias=None)
        return None, replace(packet, topic=self._aliases[alias], properties=plain)

    def _refuse(self, publish: Publish, reason: ReasonCode, text: str) -> Judgement:
        action = Action.REFUSE if self._has_puback(publish) else Action.CLOSE
        return Judgement(action, publish, reason, text)

    def _has_puback(self, publish: Publish) -> bool:
        return self._version == MQTT_5 and publish.qos == 1


def _impossible(publish: Publish) -> ReasonCode | None:
    """What AWS never takes, whoever sends it."""
    if publish.qos > 1:
        return ReasonCode.QOS_NOT_SUPPORTED
    if len(publish.payload) > MAX_PAYLOAD_BYTES:
        return ReasonCode.PACKET_TOO_LARGE
    return None if is_topic_name(publish.topic) else ReasonCode.TOPIC_NAME_INVALID
