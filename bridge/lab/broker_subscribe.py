"""Judge a client's SUBSCRIBE as AWS IoT Core does.

Sources: OASIS MQTT 3.1.1 and 5.0, sections 3.8 and 3.9; AWS IoT Developer Guide, "MQTT" (no QoS 2, no subscription
identifiers), "MQTT reason codes"; quotas (8 filters in a request; beyond 50 on a connection they are rejected and it is
closed).
"""

from dataclasses import dataclass

from bridge.lab.broker_connect import Admission
from bridge.lab.broker_limits import MAX_FILTERS_PER_SUBSCRIBE
from bridge.lab.broker_router import Router
from bridge.lab.broker_subscriptions import Subscription
from bridge.lab.mqtt_packets import MQTT_5, SUBSCRIPTION_REFUSED, Subscribe, SubscriptionOption
from bridge.lab.mqtt_reasons import ReasonCode
from bridge.lab.mqtt_topics import is_topic_filter, within_aws_limits


@dataclass(frozen=True)
class Grant:
    """One filter that may be subscribed."""

    topic_filter: str
    options: int

    @property
    def subscription(self) -> Subscription:
        """What the options say."""
        return Subscription(
            self.options & SubscriptionOption.QOS_MASK,
            no_local=bool(self.options & SubscriptionOption.NO_LOCAL),
            retain_as_published=bool(self.options & SubscriptionOption.RETAIN_AS_PUBLISHED),
        )

    def wants_retained(self, router: Router, client_id: str) -> bool:
        """Whether the retained message shall come; to be asked before the subscription is made."""
        if self.options & SubscriptionOption.NO_RETAINED:
            return False
        only_new = bool(self.options & SubscriptionOption.RETAIN_IF_NEW)
        return not (only_new and self.topic_filter in router.filters_of(client_id))


@dataclass(frozen=True)
class SubscribeJudgement:
    """Codes of the SUBACK, if there is one, what is granted, and whether the connection ends after it."""

    codes: tuple[int, ...] = ()
    granted: tuple[Grant, ...] = ()
    end: ReasonCode | None = None
    text: str = ""


def judge_subscribe(packet: Subscribe, admission: Admission, router: Router) -> SubscribeJudgement:
    """Decide each filter."""
    if len(packet.requests) > MAX_FILTERS_PER_SUBSCRIBE:
        return SubscribeJudgement(end=ReasonCode.QUOTA_EXCEEDED, text="SUBSCRIBE with more than 8 filters")
    if packet.properties.subscription_ids:
        reason = ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED
        return SubscribeJudgement(end=reason, text="SUBSCRIBE with a subscription identifier")
    if any(options & SubscriptionOption.QOS_MASK > 1 for _, options in packet.requests):
        return SubscribeJudgement(end=ReasonCode.QOS_NOT_SUPPORTED, text="SUBSCRIBE with QoS 2")
    if any(_is_shared_no_local(*request) for request in packet.requests):
        return SubscribeJudgement(end=ReasonCode.PROTOCOL_ERROR, text="shared SUBSCRIBE with No Local")
    client_id, version = admission.connect.client_id, admission.connect.version
    had = set(router.filters_of(client_id))
    codes: list[int] = []
    granted: list[Grant] = []
    refused: list[str] = []
    end: ReasonCode | None = None
    for topic_filter, options in packet.requests:
        refusal = _refusal_of(topic_filter, admission)
        if refusal is None and len(had | {topic_filter}) > router.limits.subscriptions:
            refusal = end = ReasonCode.QUOTA_EXCEEDED
        if refusal is None:
            had.add(topic_filter)
            granted.append(Grant(topic_filter, options))
            codes.append(options & SubscriptionOption.QOS_MASK)
        else:
            refused.append(topic_filter)
            codes.append(refusal if version == MQTT_5 else SUBSCRIPTION_REFUSED)
    text = f"may not subscribe to {', '.join(refused)}" if refused else ""
    return SubscribeJudgement(tuple(codes), tuple(granted), end, text)


def _refusal_of(topic_filter: str, admission: Admission) -> ReasonCode | None:
    if not is_topic_filter(topic_filter) or not within_aws_limits(topic_filter):
        return ReasonCode.TOPIC_FILTER_INVALID
    if not admission.access.may_subscribe(topic_filter):
        return ReasonCode.NOT_AUTHORIZED
    return None


def _is_shared_no_local(topic_filter: str, options: int) -> bool:
    return topic_filter.startswith("$share/") and bool(options & SubscriptionOption.NO_LOCAL)
