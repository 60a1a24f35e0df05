"""Retained messages: the last one of each topic.

Source: AWS IoT Developer Guide, "MQTT retained messages": only a filter that is the very topic gets one, an empty payload
deletes it, and a shared subscription never gets one.
"""

from typing import Final

from bridge.lab.mqtt_session import Message

MAX_RETAINED: Final = 5000
"""AWS's quota of an account."""


class RetainedMessages:
    """One message for each topic; when there are too many, new topics are not kept."""

    def __init__(self) -> None:
        self._messages: dict[str, Message] = {}

    def keep(self, message: Message) -> None:
        """Take a message with the RETAIN flag."""
        topic = message.publish.topic
        if not message.publish.payload:
            self._messages.pop(topic, None)
        elif topic in self._messages or len(self._messages) < MAX_RETAINED:
            self._messages[topic] = message

    def for_filter(self, topic_filter: str) -> Message | None:
        """What a new subscription gets; a filter with wildcards or ``$share`` is no topic that anything is kept for."""
        return self._messages.get(topic_filter)
