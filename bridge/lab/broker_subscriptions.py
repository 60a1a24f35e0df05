"""All subscriptions of a broker in one tree, level by level, so that a message finds its receivers without asking all.

Matching is that of :func:`bridge.lab.mqtt_topics.topic_matches`. Shared subscriptions hang in the same tree: each
group gets one copy for the receiver that the caller picks (AWS IoT Developer Guide, "Shared subscriptions").
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.lab.mqtt_topics import split_shared


@dataclass(frozen=True)
class Subscription:
    """What a client asked for: the highest QoS, and MQTT 5's options."""

    qos: int
    no_local: bool = False
    retain_as_published: bool = False


@dataclass
class Matches:
    """Receivers of one message: clients with their best subscription, and name and members of each group."""

    direct: dict[str, Subscription] = field(default_factory=dict)
    groups: list[tuple[str, dict[str, Subscription]]] = field(default_factory=list)


class _Node:
    __slots__ = ("children", "direct", "groups")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.direct: dict[str, Subscription] = {}
        self.groups: dict[str, dict[str, Subscription]] = {}

    @property
    def is_empty(self) -> bool:
        return not (self.children or self.direct or self.groups)


class SubscriptionTree:
    """Who subscribed to what."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, client_id: str, topic_filter: str, subscription: Subscription) -> bool:
        """Add or change a subscription; whether it is new."""
        share_name, plain = split_shared(topic_filter)
        node = self._root
        for level in plain.split("/"):
            node = node.children.setdefault(level, _Node())
        members = node.groups.setdefault(share_name, {}) if share_name else node.direct
        is_new = client_id not in members
        members[client_id] = subscription
        return is_new

    def remove(self, client_id: str, topic_filter: str) -> bool:
        """Forget a subscription; whether there was one."""
        share_name, plain = split_shared(topic_filter)
        path = [self._root]
        levels = plain.split("/")
        for level in levels:
            if (child := path[-1].children.get(level)) is None:
                return False
            path.append(child)
        members = path[-1].groups.get(share_name, {}) if share_name else path[-1].direct
        if members.pop(client_id, None) is None:
            return False
        if share_name and not members:
            del path[-1].groups[share_name]
        for parent, level in zip(reversed(path[:-1]), reversed(levels), strict=True):
            if not parent.children[level].is_empty:
                break
            del parent.children[level]
        return True

    def match(self, topic: str) -> Matches:
        """Receivers of a message on this topic."""
        found = Matches()
        for node in self._nodes(topic):
            for client_id, subscription in node.direct.items():
                best = found.direct.get(client_id)
                if best is None or subscription.qos > best.qos:
                    found.direct[client_id] = subscription
            found.groups += node.groups.items()
        return found

    def _nodes(self, topic: str) -> Iterator[_Node]:
        levels = topic.split("/")
        reached = [self._root]
        for index, level in enumerate(levels):
            wild = bool(index) or not topic.startswith("$")
            following = []
            for node in reached:
                if wild and (rest := node.children.get("#")) is not None:
                    yield rest
                if wild and (any_level := node.children.get("+")) is not None:
                    following.append(any_level)
                if (exact := node.children.get(level)) is not None:
                    following.append(exact)
            reached = following
        yield from reached
