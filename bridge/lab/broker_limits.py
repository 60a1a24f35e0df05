"""AWS IoT Core's quotas of the message broker, as values that a test can change.

Source: AWS General Reference, "AWS IoT Core message broker and protocol limits and quotas"; the maximum packet size
is what AWS's CONNACK says (seen in public logs of the AWS IoT Device SDK: 149504 bytes, receive maximum 100, topic
alias maximum 8, server keep-alive 1200).
"""

from dataclasses import dataclass
from typing import Final

MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_PACKET_BYTES: Final = 149_504
MAX_CLIENT_ID_BYTES: Final = 128
MAX_FILTERS_PER_SUBSCRIBE: Final = 8
MAX_KEEP_ALIVE_S: Final = 1200
MAX_IN_FLIGHT: Final = 100
MAX_TOPIC_ALIAS: Final = 8
MAX_MESSAGE_EXPIRY_S: Final = 604_800
_REMEMBERED: Final = 10_000


@dataclass(frozen=True)
class BrokerLimits:
    """Quotas of an account; None switches one off.

    Attributes:
        session_expiry_s: Longest life of a persistent session after its client went, and its life in MQTT 3.1.1.
        replay_per_s: Stored messages sent to a client that came back, beside the current ones.
        subscriptions: Subscriptions of one connection.
        publishes_per_s: Publish requests that one connection may send; more are discarded without an
            acknowledgement. AWS: 100. Off by default, so that load tests measure the broker.
        connects_per_s: CONNECTs with one client id; more are refused. AWS: 1. Off by default, so that tests can
            reconnect as fast as they like.
    """

    session_expiry_s: int = 3600
    replay_per_s: int | None = 10
    subscriptions: int = 50
    publishes_per_s: int | None = None
    connects_per_s: int | None = None


AWS_LIMITS: Final = BrokerLimits(publishes_per_s=100, connects_per_s=1)
"""Everything as on AWS."""


class RateLimit:
    """A bucket of ``per_s`` tokens that fills up again within a second."""

    def __init__(self, per_s: int, now_s: float) -> None:
        self._per_s = per_s
        self._tokens = float(per_s)
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Take a token; False when there is none."""
        self._tokens = min(self._per_s, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class ConnectQuota:
    """CONNECTs per second with one client id; only the latest ids are remembered.

    Args:
        per_s: How many, or None for any number.
    """

    def __init__(self, per_s: int | None) -> None:
        self._per_s = per_s
        self._buckets: dict[str, RateLimit] = {}

    def take(self, client_id: str, now_s: float) -> bool:
        """Whether this client id may connect now."""
        if self._per_s is None or not client_id:
            return True
        if len(self._buckets) >= _REMEMBERED:
            self._buckets.clear()
        return self._buckets.setdefault(client_id, RateLimit(self._per_s, now_s)).take(now_s)
