"""What goes out: which messages may, and which the broker has not confirmed yet.

Source of the limits: AWS IoT Core quotas (message size, topic length and depth; ``$aws`` topics count like
others).
"""

from collections.abc import Sequence
from typing import Final

from bridge.errors import CloudError

MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_TOPIC_BYTES: Final = 256
MAX_TOPIC_SLASHES: Final = 7


class Ledger:
    """Message ids that were sent and not confirmed yet. Not thread-safe: its owner's lock guards it.

    A confirmation may be noted before the sender gets to note the message: the network thread is fast.
    """

    def __init__(self) -> None:
        self._pending: dict[int, Sequence[str]] = {}
        self._early: set[int] = set()

    @property
    def pending(self) -> frozenset[int]:
        """What is not confirmed."""
        return frozenset(self._pending)

    def sent(self, message_id: int, names: Sequence[str] = ()) -> None:
        """Note a message that was handed to the MQTT client, and what it was about."""
        if message_id in self._early:
            self._early.discard(message_id)
        else:
            self._pending[message_id] = names

    def confirmed(self, message_id: int) -> Sequence[str]:
        """Note a confirmation; returns what the message was about, as far as known."""
        if message_id not in self._pending:
            self._early.add(message_id)
            return ()
        return self._pending.pop(message_id)


def check_message(topic: str, payload: bytes) -> None:
    """Refuse what AWS IoT answers by closing the connection; the client would resend it after each reconnect.

    Raises:
        CloudError: ``bad-topic`` or ``message-too-large``.
    """
    length = len(topic.encode(errors="replace"))
    if not 0 < length <= MAX_TOPIC_BYTES or topic.count("/") > MAX_TOPIC_SLASHES or set(topic) & set("+#\0"):
        raise CloudError(f"{topic[:80]!r} is no topic to publish on", reason="bad-topic")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise CloudError(
            f"a message of {len(payload)} bytes is too large; AWS IoT takes {MAX_PAYLOAD_BYTES}",
            reason="message-too-large",
        )
