"""Who may publish and subscribe where: the local cloud's counterpart of an AWS IoT policy.

The default is the least a bridge needs (AWS IoT Developer Guide, "AWS IoT Core policies"): a certificate
speaks for the thing of its common name and for nothing else under ``$aws``.
"""

import re
from typing import Final, Protocol

from bridge.lab.mqtt_topics import is_topic_filter

_THING_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
MAX_CLIENT_ID_BYTES: Final = 128


class Policy(Protocol):
    """Decides by the certificate's common name (``identity``)."""

    def may_connect(self, identity: str, client_id: str) -> bool:
        """Whether this certificate may open a session under this client id."""
        ...

    def may_publish(self, identity: str, topic: str) -> bool:
        """Whether a message may be published; a refusal closes the connection."""
        ...

    def may_subscribe(self, identity: str, topic_filter: str) -> bool:
        """Whether a filter may be subscribed; a refusal is SUBACK 0x80."""
        ...


class ThingPolicy:
    """A thing reaches ``$aws/things/<itself>/…`` and some free topics; services reach everything.

    Args:
        free_prefixes: Topic prefixes that every thing may use, for experiments beside the jobs.
        services: Common names without limits, such as that of a Jobs service that is itself an MQTT client.
    """

    def __init__(
        self, *, free_prefixes: tuple[str, ...] = ("lab/",), services: frozenset[str] = frozenset()
    ) -> None:
        self._free_prefixes = free_prefixes
        self._services = services

    def may_connect(self, identity: str, client_id: str) -> bool:
        """A thing may use any client id; Jobs does not tie the two together, and neither does this policy."""
        return identity in self._services or _THING_NAME.fullmatch(identity) is not None

    def may_publish(self, identity: str, topic: str) -> bool:
        """Own thing's topics and the free ones."""
        return identity in self._services or topic.startswith(
            (f"$aws/things/{identity}/", *self._free_prefixes)
        )

    def may_subscribe(self, identity: str, topic_filter: str) -> bool:
        """Filters that cannot reach beyond the own thing's topics and the free ones."""
        return is_topic_filter(topic_filter) and self.may_publish(identity, topic_filter)
