"""Faults of the Jobs service on purpose: it throttles, as AWS does above its quotas.

Over MQTT the device reads RequestThrottled, over HTTPS ThrottlingException with 429.
"""

import threading

from bridge.lab.jobs_model import JobsRejectedError, RejectionCode


class JobsFaults:
    """Switches; thread-safe.

    Attributes:
        throttled: How many device requests were refused so far.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: int | None = 0
        self._call = ""
        self.throttled = 0

    def throttle(self, count: int | None = None, *, call: str = "") -> None:
        """Refuse device requests.

        Args:
            count: So many; None for all until :meth:`clear`.
            call: Only those to topics that end so, such as ``start-next`` or ``update``.
        """
        with self._lock:
            self._left, self._call = count, call

    def clear(self) -> None:
        """Answer everything again."""
        with self._lock:
            self._left, self._call = 0, ""

    def check(self, call: str) -> None:
        """Raise RequestThrottled if this request is to be refused.

        Args:
            call: End of its topic.
        """
        with self._lock:
            if self._left == 0 or not call.endswith(self._call):
                return
            self.throttled += 1
            if self._left is not None:
                self._left -= 1
        raise JobsRejectedError(RejectionCode.REQUEST_THROTTLED, "too many requests; slow down")
