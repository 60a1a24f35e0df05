"""What a download asks of the web: one request at a time, judged, streamed, and cut when nobody wants it any more.

:class:`~bridge.fetch.http_client.HttpClient` is the one over HTTP(S).
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from bridge.fetch.answer import Verdict
from bridge.fetch.question import Question


class WebAnswer(Protocol):
    """An answer whose body can be read."""

    @property
    def verdict(self) -> Verdict:
        """What its head means."""
        ...

    @property
    def ends_with_connection(self) -> bool:
        """Whether only the connection's end will end the body, which is no proof that it is complete."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            RetryableError: The connection was lost, the server fell silent or sent too little.
            CloudError: It will never come.
        """
        ...


class Web(Protocol):
    """Sends range requests; for one thread, except :meth:`cut`."""

    def check(self) -> None:
        """See whether what it was made with can be used.

        Raises:
            UsageError: It cannot.
        """
        ...

    def get(
        self, url: str, question: Question, timeouts_s: tuple[float, float]
    ) -> AbstractContextManager[WebAnswer]:
        """Ask for bytes.

        Args:
            url: Where.
            question: What.
            timeouts_s: For connecting, and for silence.

        Raises:
            RetryableError: See :meth:`WebAnswer.chunks`.
            CloudError: The answer is final and bad.
        """
        ...

    def cut(self) -> None:
        """End the request in progress and all to come; from any thread."""
        ...

    def close(self) -> None:
        """Close kept connections."""
        ...
