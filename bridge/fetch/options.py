"""How patient a download is, and the clock that it is patient by.

Reasons for the numbers are with them. A board takes 10 to 100 kB/s, so a download is rarely what an update waits for: the
limits are there to end what would never end.
"""

from dataclasses import dataclass
from typing import Protocol

from bridge import clock


@dataclass(frozen=True)
class DownloadOptions:
    """Limits of one download.

    Attributes:
        fragment_bytes: Most that one range request asks for. 1 MiB: nearly every application image is one request and
            a full modem image six, so a round trip of 100 ms costs little; and yet an URL that expires, an object
            that changes and a proxy that cuts long answers are noticed after at most 1 MiB.
        connect_timeout_s: For TCP and TLS, each.
        read_timeout_s: Longest silence on an open connection; half of ``no_progress_timeout_s`` if that is less, so
            that there is time for another try.
        no_progress_timeout_s: Without new bytes for so long, all tries included, the download is given up; pauses that
            the server asked for do not count.
        drip_window_s: At least ``progress_bytes`` must arrive on a connection within so many seconds, else it counts as
            stalled although it drips.
        progress_bytes: So many new bytes are progress, and fill the retry budget again.
        total_timeout_s: Deadline for everything, waits included.
        retries: Failures in a row, without progress in between, that are forgiven; with growing pauses, ten of them
            outlast a server that is being restarted.
        redirects: Redirects that are followed for one request (RFC 9110 leaves the number to the client).
        restarts: How often content may change under our hands.
        refreshes: How often in a row a fresh URL is asked for.
        first_backoff_s: Pause before a retry; it doubles up to ``max_backoff_s``, and a random part of up to half
            is taken off, so that many bridges do not come back at once.
        max_backoff_s: See above; a longer ``Retry-After`` is cut to ``longest_retry_after_s``.
        longest_retry_after_s: See above.
        max_size_bytes: More than this is no image for an nRF91 (a full modem image has 6 MB).
    """

    fragment_bytes: int = 1024 * 1024
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    no_progress_timeout_s: float = 60.0
    drip_window_s: float = 30.0
    progress_bytes: int = 4096
    total_timeout_s: float = 3600.0
    retries: int = 10
    redirects: int = 10
    restarts: int = 3
    refreshes: int = 2
    first_backoff_s: float = 0.5
    max_backoff_s: float = 30.0
    longest_retry_after_s: float = 300.0
    max_size_bytes: int = 256 * 1024 * 1024

    def pause_s(self, failures: int) -> float:
        """Pause before the next try, after so many failures in a row (1 or more)."""
        longest: float = min(self.max_backoff_s, self.first_backoff_s * 2 ** min(failures - 1, 16))
        return longest * (0.5 + clock.uniform() / 2)


class Clock(Protocol):
    """Time, and waiting that can be interrupted."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wait(self, interrupted: clock.Event, seconds: float) -> bool:
        """Wait; True if the event ended it."""
        ...


class MonotonicClock:
    """The system's clock."""

    def now_s(self) -> float:
        """Seconds of :func:`bridge.clock.monotonic`."""
        return clock.monotonic()

    def wait(self, interrupted: clock.Event, seconds: float) -> bool:
        """Wait on the event."""
        return interrupted.wait(seconds)
