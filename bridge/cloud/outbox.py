"""What goes out: which messages may, and which the broker has not confirmed yet.

Source of the limits: AWS IoT Core quotas (message size, topic length and depth; ``$aws`` topics count like
others).
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from bridge.errors import CloudError

MAX_PAYLOAD_BYTES: Final = 128 * 1024
MAX_TOPIC_BYTES: Final = 256
MAX_TOPIC_SLASHES: Final = 7
_JOB_TOPIC_LEVELS: Final = 6
"""``$aws/things/<thing>/jobs/<job>/update``."""
MAX_DEATHS: Final = 3
"""So many connections in a row that ended while a message of an area was unconfirmed make the area a suspect."""
REFUSED_S: Final = 900.0
"""How long nothing more is published in an area that the broker refuses; its policy may be put right meanwhile."""


class Ledger:
    """Message ids that were sent and not confirmed yet. Not thread-safe: its owner's lock guards it.

    A confirmation, or the loss of the connection, may be noted before the sender gets to note the message's id: the
    network thread is fast. So :meth:`begin` comes before the message is handed to the MQTT client.
    """

    def __init__(self) -> None:
        self._begun: list[Sequence[str]] = []
        self._pending: dict[int, Sequence[str]] = {}
        self._early: set[int] = set()

    @property
    def pending(self) -> frozenset[int]:
        """What is not confirmed."""
        return frozenset(self._pending)

    @property
    def names(self) -> list[str]:
        """What the unconfirmed messages are about, in the order in which they were sent."""
        return [name for names in [*self._pending.values(), *self._begun] for name in names]

    def begin(self, names: Sequence[str]) -> None:
        """Note what a message is about that the MQTT client gets now; :meth:`sent` or :meth:`withdraw` follows."""
        self._begun.append(names)

    def withdraw(self, names: Sequence[str]) -> None:
        """The MQTT client did not take the message."""
        self._begun.remove(names)

    def sent(self, message_id: int, names: Sequence[str]) -> bool:
        """The MQTT client has the message, under this id; tells whether it is confirmed already."""
        self._begun.remove(names)
        if early := message_id in self._early:
            self._early.discard(message_id)
        else:
            self._pending[message_id] = names
        return early

    def confirmed(self, message_id: int) -> Sequence[str]:
        """Note a confirmation; returns what the message was about, as far as known."""
        if message_id not in self._pending:
            self._early.add(message_id)
            return ()
        return self._pending.pop(message_id)


class Suspects:
    """Finds whose messages the broker answers by closing the connection, where several things share one.

    AWS IoT does that to a publish that the policy denies, and the MQTT client sends an unconfirmed message again after each
    reconnect: one thing without a permission would keep all others from working. Not thread-safe: its owner's lock guards it.
    """

    def __init__(self) -> None:
        self._deaths: Counter[str] = Counter()
        self._refused_until_s: dict[str, float] = {}

    def confirmed(self, topics: Sequence[str]) -> None:
        """The broker has taken a message on a topic."""
        for topic in topics:
            self._deaths.pop(_area(topic), None)

    def lost(self, topics: Sequence[str], now_s: float) -> str | None:
        """The connection ended while messages on these topics were unconfirmed.

        Returns:
            The area in which nothing is published for some time from now on, if one is clearly to blame.
        """
        areas = dict.fromkeys(map(_area, topics))
        self._deaths = Counter({area: self._deaths[area] + 1 for area in areas})
        # Messages are resent in their order, and those before the refused one are confirmed: the first is the one.
        guilty = next((area for area in areas if self._deaths[area] >= MAX_DEATHS), None)
        if guilty is not None:
            self.refuse(guilty, now_s)
        return guilty

    def refuse(self, topic: str, now_s: float) -> None:
        """Publish nothing in the area of this topic for some time: the broker refuses it."""
        self._refused_until_s[_area(topic)] = now_s + REFUSED_S
        self._deaths.clear()

    def check(self, topic: str, now_s: float) -> None:
        """Refuse to publish where the broker has refused it.

        Raises:
            CloudError: ``publish-refused``.
        """
        if self._refused_until_s.get(_area(topic), 0.0) > now_s:
            raise CloudError(
                f"the broker ends the connection when we publish on {topic}, so nothing is published there for now",
                reason="publish-refused",
                hint="The policy of our certificate must allow iot:Publish on the jobs topics of this thing too.",
            )


def kind_of(name: str) -> str:
    """A topic without what differs from job to job: what the broker grants for one it grants for all."""
    parts = name.split("/")
    if len(parts) == _JOB_TOPIC_LEVELS and parts[0] == "$aws":
        parts[-2] = "+"
    return "/".join(parts)


def _area(topic: str) -> str:
    """What one permission is about: ``$aws/things/<thing>``."""
    return "/".join(topic.split("/", 3)[:3])


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
