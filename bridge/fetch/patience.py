"""When to try again and when to give up: a retry budget that progress refills, pauses, stalls, and one deadline over all."""

from typing import NoReturn

from bridge.clock import Event
from bridge.errors import CloudError
from bridge.fetch.failure import RetryableError
from bridge.fetch.options import Clock, DownloadOptions

_LEAST_TIMEOUT_S = 0.05


class Patience:
    """Counts failures, and the time.

    Args:
        options: The limits.
        clock: The time.
        closed: Ends pauses.
    """

    def __init__(self, options: DownloadOptions, clock: Clock, closed: Event) -> None:
        self._options = options
        self._clock = clock
        self._closed = closed
        self._deadline_s = clock.now_s() + options.total_timeout_s
        self._progress_s = clock.now_s()
        self._failures = 0
        self._new_bytes = 0
        self._window_start_s = 0.0
        self._window_bytes = 0
        self.retries = 0

    def timeouts_s(self) -> tuple[float, float]:
        """Timeouts of the next request, for connecting and for silence; none outlasts the deadline.

        Raises:
            CloudError: The deadline has passed (reason ``timeout``).
        """
        left_s = self._deadline_s - self._clock.now_s()
        if left_s <= 0:
            self._too_late()
        silence_s = min(self._options.read_timeout_s, self._options.no_progress_timeout_s / 2)
        return (
            max(_LEAST_TIMEOUT_S, min(self._options.connect_timeout_s, left_s)),
            max(_LEAST_TIMEOUT_S, min(silence_s, left_s)),
        )

    def begin_body(self) -> None:
        """A body begins to arrive."""
        self._window_start_s, self._window_bytes = self._clock.now_s(), 0

    def progress(self, arrived_bytes: int, new_bytes: int) -> None:
        """Bytes arrived, some of them new.

        Raises:
            RetryableError: Too few in too long a time (reason ``stalled``).
            CloudError: The deadline has passed (reason ``timeout``).
        """
        now_s = self._clock.now_s()
        self._new_bytes += new_bytes
        if self._new_bytes >= self._options.progress_bytes:
            self._failures = self._new_bytes = 0
            self._progress_s = now_s
        if now_s > self._deadline_s:
            self._too_late()
        self._window_bytes += arrived_bytes
        if now_s - self._window_start_s >= self._options.drip_window_s:
            if self._window_bytes < self._options.progress_bytes:
                raise RetryableError("the image server sends next to nothing", reason="stalled")
            self._window_start_s, self._window_bytes = now_s, 0

    def count_retry(self) -> None:
        """Something is asked for in another way."""
        self.retries += 1

    def pause_or_give_up(self, failure: RetryableError, received_bytes: int) -> None:
        """Wait before the next try.

        Raises:
            CloudError: There is none; the failure's reason.
        """
        self._failures += 1
        now_s = self._clock.now_s()
        pause_s = self._options.pause_s(self._failures)
        if failure.pause_s is not None:
            asked_s = min(failure.pause_s, self._options.longest_retry_after_s)
            pause_s = max(pause_s, asked_s)
            self._progress_s += pause_s
        give_up_s = min(self._progress_s + self._options.no_progress_timeout_s, self._deadline_s)
        if self._failures > self._options.retries or now_s + pause_s >= give_up_s:
            tries = f"{self._failures} tries" if self._failures > 1 else "one try"
            raise CloudError(
                f"{failure}; given up after {tries} without progress",
                reason=failure.reason,
                offset=received_bytes,
                hint=failure.hint
                or "Check the network and the image server; what is here is kept for the next try.",
            )
        self.retries += 1
        self._clock.wait(self._closed, pause_s)

    def _too_late(self) -> NoReturn:
        raise CloudError(
            f"the download did not end within {self._options.total_timeout_s:g} s",
            reason="timeout",
            hint="What is here is kept for the next try.",
        )
