"""A USB serial adapter in the cable: every byte arrives later by a fixed time, both ways.

A DK's debug probe and a CDC device take about 1 ms each way; FTDI's chips keep received bytes for up to 16 ms (their
latency timer) unless the host asks for less. Source: FTDI AN232B-04, section 3.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.virtual.cable import Cable, HostEnd
from bridge.virtual.clock import Timeline, Timer

_CAPACITY_BYTES: Final = 4096


class UsbAdapter:
    """Stands between the cable and the board's UART.

    Args:
        cable: The host's end.
        timeline: Board time.
        latency_ns: How much later each byte arrives.
        on_available: Called when bytes for the board have come through.
    """

    def __init__(
        self, cable: Cable, timeline: Timeline, latency_ns: int, on_available: Callable[[], None]
    ) -> None:
        self._cable = cable
        self._to_board = _Delay(timeline, latency_ns, self._arrived)
        self._to_host = _Delay(timeline, latency_ns, self._deliver)
        self._available = bytearray()
        self._on_available = on_available

    def pending(self) -> int:
        """Bytes that have come through."""
        if not self._cable.host_end.connected:
            self._to_board.clear()
            self._available.clear()
        self._to_board.revive()
        self._to_host.revive()
        room = _CAPACITY_BYTES - len(self._available) - self._to_board.size_bytes
        size = min(room, self._cable.pending())
        if size > 0:
            self._to_board.put(self._cable.take(size))
        return len(self._available)

    def take(self, size: int) -> bytes:
        """Take up to ``size`` bytes for the board."""
        data = bytes(self._available[:size])
        del self._available[:size]
        return data

    def deliver(self, data: bytes) -> None:
        """Send bytes to the host."""
        self._to_host.put(data)

    def host_end_now(self) -> HostEnd:
        """The host's settings at this moment."""
        return self._cable.host_end_now()

    def _arrived(self, data: bytes) -> None:
        self._available += data
        self._on_available()

    def _deliver(self, data: bytes) -> None:
        self._cable.deliver(data)


class _Delay:
    """Bytes on their way; they survive a reset of the board, whose events do not."""

    def __init__(self, timeline: Timeline, latency_ns: int, arrive: Callable[[bytes], None]) -> None:
        self._timeline = timeline
        self._latency_ns = latency_ns
        self._arrive = arrive
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._timer: Timer | None = None

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _, data in self._pieces)

    def put(self, data: bytes) -> None:
        self._pieces.append((self._timeline.now_ns + self._latency_ns, data))
        self.revive()

    def clear(self) -> None:
        self._pieces.clear()

    def revive(self) -> None:
        if self._pieces and (self._timer is None or not self._timer.active):
            self._timer = self._timeline.at(self._pieces[0][0], self._come_through)

    def _come_through(self) -> None:
        if self._pieces and self._pieces[0][0] <= self._timeline.now_ns:
            _, data = self._pieces.popleft()
            self._arrive(data)
        self.revive()
