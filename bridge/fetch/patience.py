"""How patient a download is: pauses between attempts, and when it is given up."""

import threading
import time
from dataclasses import dataclass

from bridge.errors import CloudError
from bridge.fetch.answers import TryAgainError


@dataclass(frozen=True)
class DownloadOptions:
    """How patient a download is.

    Attributes:
        fragment_bytes: Size of one range request. Large enough that its round trip does not matter beside it, small
            enough that little is lost when it breaks.
        connect_timeout_s: For a connection to be made.
        read_timeout_s: Longest silence of a server; then the rest is asked for again.
        no_progress_timeout_s: Without any new byte for so long, it is given up.
        total_timeout_s: However well it goes.
        first_backoff_s: Pause after the first failure; it doubles up to ``max_backoff_s``.
        max_backoff_s: Longest pause that the server did not ask for.
    """

    fragment_bytes: int = 1024 * 1024
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    no_progress_timeout_s: float = 60.0
    total_timeout_s: float = 3600.0
    first_backoff_s: float = 0.2
    max_backoff_s: float = 10.0


class Patience:
    """Waits between attempts, and knows when to give up.

    Args:
        options: How patient the download is; its time runs from now on.
    """

    def __init__(self, options: DownloadOptions) -> None:
        started_s = time.monotonic()
        self._options = options
        self._end_s = started_s + options.total_timeout_s
        self._progress_s = started_s
        self._backoff_s = options.first_backoff_s

    def renew(self) -> None:
        """Something came."""
        self._progress_s = time.monotonic()
        self._backoff_s = self._options.first_backoff_s

    def wait(self, error: TryAgainError, closed: threading.Event) -> None:
        """Pause after a failure.

        Raises:
            CloudError: It has failed for too long.
        """
        wait_s = error.wait_s if error.wait_s is not None else self._backoff_s
        self._backoff_s = min(2 * self._backoff_s, self._options.max_backoff_s)
        give_up_s = min(self._progress_s + self._options.no_progress_timeout_s, self._end_s)
        if time.monotonic() + wait_s > give_up_s:
            raise CloudError(
                error.message,
                reason=error.reason,
                hint="The download was tried again and again; check the server.",
            ) from error
        closed.wait(wait_s)
