"""Which reply belongs to which request: by ``clientToken``, unique for each request, and by topic.

Source: AWS IoT Developer Guide, "Jobs device MQTT API": the service echoes the token on both kinds of reply.
Replies may come twice (QoS 1, overlapping filters), late, or for somebody else who shares the topic: all
those are ignored.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from bridge import clock
from bridge.cloud.job_messages import Reply


class ExpectedReply:
    """The reply to one request; made by :meth:`ReplyDesk.expect`.

    Attributes:
        token: ``clientToken`` to send with the request.
        request_topic: Topic of the request.
    """

    def __init__(self, changed: clock.Condition, request_topic: str) -> None:
        self.token = secrets.token_hex(16)
        self.request_topic = request_topic
        self._changed = changed
        self._reply: Reply | None = None
        self._interrupted = False

    def wait(self, timeout_s: float) -> Reply | None:
        """Block until the reply is here; None when time is up or the connection changed."""
        with self._changed:
            self._changed.wait_for(lambda: self._reply is not None or self._interrupted, timeout=timeout_s)
            return self._reply

    def resolve(self, reply: Reply) -> bool:
        """Take the reply if it is the one, and the first; called with the desk's lock held."""
        if reply.request_topic != self.request_topic or self._reply is not None:
            return False
        self._reply = reply
        return True

    def interrupt(self) -> None:
        """End the wait without a reply; called with the desk's lock held."""
        self._interrupted = True


class ReplyDesk:
    """Hands replies to those who wait for them. Thread-safe: any number of threads may wait at a time."""

    def __init__(self) -> None:
        self._changed = clock.condition()
        self._expected: dict[str, ExpectedReply] = {}

    @contextmanager
    def expect(self, request_topic: str) -> Iterator[ExpectedReply]:
        """Get ready for the reply to a request on this topic; good until the block ends."""
        expected = ExpectedReply(self._changed, request_topic)
        with self._changed:
            self._expected[expected.token] = expected
        try:
            yield expected
        finally:
            with self._changed:
                del self._expected[expected.token]

    def deliver(self, reply: Reply) -> bool:
        """Hand a reply to whoever waits for it; False when nobody does."""
        with self._changed:
            expected = self._expected.get(reply.token or "")
            if expected is None or not expected.resolve(reply):
                return False
            self._changed.notify_all()
            return True

    def interrupt(self) -> None:
        """End all waits: replies may be lost with the connection, so the requests must be repeated."""
        with self._changed:
            for expected in self._expected.values():
                expected.interrupt()
            self._changed.notify_all()

    def pause(self, pause_s: float) -> None:
        """Do nothing for a time, or until interrupted."""
        with self.expect("") as nothing:
            nothing.wait(pause_s)
