"""Topic names and filters: validity, matching, and AWS IoT Core's limits on them.

Sources: OASIS MQTT 3.1.1, section 4.7; MQTT 5.0, section 4.8.2 (shared subscriptions); AWS IoT Developer Guide, "MQTT"
(``#`` does not match its parent level, which differs from the standard; shared subscriptions in 3.1.1 too) and service
quotas (256 bytes, 7 slashes, neither counting ``$share/<name>/`` nor the slashes of ``$aws/rules/<name>/``).
"""

from functools import lru_cache
from typing import Final

MAX_TOPIC_BYTES: Final = 256
MAX_TOPIC_SLASHES: Final = 7
MAX_SHARE_NAME_BYTES: Final = 128
_SHARED: Final = "$share/"
_BASIC_INGEST: Final = "$aws/rules/"


def is_topic_name(topic: str) -> bool:
    """Whether a message may be published to this name: not empty, no wildcards."""
    return bool(topic) and not set(topic) & {"+", "#", "\0"}


def is_topic_filter(topic_filter: str) -> bool:
    """Whether wildcards stand where MQTT allows them: ``+`` fills a level, ``#`` fills the last one."""
    if topic_filter.startswith(_SHARED):
        share_name, _, topic_filter = topic_filter.removeprefix(_SHARED).partition("/")
        if not share_name or set(share_name) & {"+", "#"}:
            return False
    levels = topic_filter.split("/")
    return (
        bool(topic_filter)
        and "\0" not in topic_filter
        and all(level in {"+", "#"} or not set(level) & {"+", "#"} for level in levels)
        and "#" not in levels[:-1]
    )


def split_shared(topic_filter: str) -> tuple[str, str]:
    """Share name, which is empty for an ordinary subscription, and the filter without it."""
    if not topic_filter.startswith(_SHARED):
        return "", topic_filter
    share_name, _, plain = topic_filter.removeprefix(_SHARED).partition("/")
    return share_name, plain


def plain_filter(topic_filter: str) -> str:
    """The filter that a shared subscription shares, or the filter itself."""
    return split_shared(topic_filter)[1]


def within_aws_limits(topic: str) -> bool:
    """Whether AWS IoT Core takes a name or filter of this length and depth."""
    share_name, topic = split_shared(topic)
    slashes = topic.count("/") - (3 if topic.startswith(_BASIC_INGEST) else 0)
    return (
        len(share_name.encode()) <= MAX_SHARE_NAME_BYTES
        and len(topic.encode()) <= MAX_TOPIC_BYTES
        and slashes <= MAX_TOPIC_SLASHES
    )


def is_reserved(topic: str) -> bool:
    """Whether a topic belongs to AWS: nothing can be retained there."""
    return topic.startswith("$")


def has_wildcard(topic_filter: str) -> bool:
    """Whether a filter can match more than one topic."""
    return topic_filter.endswith("#") or "+" in topic_filter


@lru_cache(maxsize=4096)
def topic_matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter matches a valid topic name.

    A filter that begins with a wildcard matches no topic that begins with ``$`` (MQTT 3.1.1, 4.7.2).
    """
    if topic.startswith("$") and topic_filter[:1] in {"+", "#"}:
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return len(levels) > index
        if index >= len(levels) or level not in {"+", levels[index]}:
            return False
    return len(levels) == len(wanted)
