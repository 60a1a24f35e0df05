"""Ways in which an image server goes wrong, switched on for one image and a number of requests."""

import threading
from collections import defaultdict, deque
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ImageFault:
    """What the server does instead of answering well.

    Attributes:
        status: Answer this status code with a body that is no image.
        retry_after_s: With it, as ``Retry-After``.
        cut_after_bytes: Promise everything, send so many bytes of the body, then close the connection.
        reset_after_bytes: The same, but reset the connection (TCP RST, no farewell of TLS); what was sent last may be lost.
        stall_after_bytes: Send so many bytes of the body, then nothing until the client gives up or the server stops.
        rate_bytes_per_s: Send the body no faster than this.
        ignore_range: Answer 200 with the whole file.
        content_range: Send this as ``Content-Range`` instead of the true one; empty for none at all.
        redirect_to: Answer 302 to this URL.
        chunked: Send the whole file without ``Content-Length``.
        page: Answer 200 with this text instead of the image.
        times: For so many requests; None for all.
    """

    status: int | None = None
    retry_after_s: int | None = None
    cut_after_bytes: int | None = None
    reset_after_bytes: int | None = None
    stall_after_bytes: int | None = None
    rate_bytes_per_s: int | None = None
    ignore_range: bool = False
    content_range: str | None = None
    redirect_to: str | None = None
    chunked: bool = False
    page: str | None = None
    times: int | None = 1


class ImageFaults:
    """The faults that are switched on; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_name: defaultdict[str, deque[ImageFault]] = defaultdict(deque)

    def add(self, name: str, fault: ImageFault) -> None:
        """Have a fault wait for the next requests of an image, after those that wait already."""
        with self._lock:
            self._by_name[name].append(fault)

    def clear(self) -> None:
        """Answer well again."""
        with self._lock:
            self._by_name.clear()

    def take(self, name: str) -> ImageFault | None:
        """The fault for this request, counted down."""
        with self._lock:
            waiting = self._by_name[name]
            if not waiting:
                return None
            fault = waiting[0]
            if fault.times is not None:
                if fault.times <= 1:
                    waiting.popleft()
                else:
                    waiting[0] = replace(fault, times=fault.times - 1)
            return fault
