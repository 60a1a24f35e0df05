"""The board's UART: paced bytes, three DMA buffers of 256 bytes, and RTS when they are full.

Source: ncs-serial-modem ``app/src/sm_uart_handler.c``: the driver reports received bytes when a buffer is
full or the line has been idle for 2 ms; with no free buffer reception is disabled until everything reported
has been read. RTS then stops a host that uses hardware flow control; without it the bytes on the line are
lost.
"""

import functools
from collections.abc import Callable
from typing import Final

from bridge.virtual import line_noise
from bridge.virtual.cable import DEFAULT_BAUD, Cable
from bridge.virtual.clock import NS_PER_MS, NS_PER_S, Timeline, Timer
from bridge.virtual.faults import ByteFaults

RX_BUFFER_BYTES: Final = 256
RX_BUFFER_COUNT: Final = 3
TX_BUFFER_BYTES: Final = 256
BAUD_RATES: Final = (115_200, 230_400, 460_800, 921_600, 1_000_000)

_RX_IDLE_NS: Final = 2 * NS_PER_MS
_BITS_PER_BYTE: Final = 10
_TX_PIECE_BYTES: Final = 64


def _duration_ns(size_bytes: int, baud: int) -> int:
    return size_bytes * _BITS_PER_BYTE * NS_PER_S // baud


class Uart:
    """UART0 of the board with the cable to the host.

    Args:
        timeline: Board time.
        cable: The other end.
        on_received: Called when the driver reports received bytes.
        on_overrun: Called with the number of bytes that were lost because nobody stopped the host.
        flow_control: The board uses RTS/CTS (as on the DKs).
        rx_faults: What happens to bytes from the host on their way.
        tx_faults: What happens to bytes from the board on their way.
    """

    def __init__(
        self,
        timeline: Timeline,
        cable: Cable,
        *,
        on_received: Callable[[], None],
        on_overrun: Callable[[int], None],
        flow_control: bool = True,
        rx_faults: ByteFaults | None = None,
        tx_faults: ByteFaults | None = None,
    ) -> None:
        self._timeline = timeline
        self._cable = cable
        self._on_received = on_received
        self._on_overrun = on_overrun
        self._flow_control = flow_control
        self._rx_faults = rx_faults or ByteFaults()
        self._tx_faults = tx_faults or ByteFaults()
        self.baud = DEFAULT_BAUD
        self._on = False
        self._received = bytearray()
        self._reported_bytes = 0
        self._buffer_fill = 0
        self._rx_disabled = False
        self._arrival: Timer | None = None
        self._rx_idle: Timer | None = None
        self._rx_line_free_ns = 0
        self._tx_free_ns = 0
        self._tx_pieces: list[Timer] = []

    # --- power ----------------------------------------------------------------------------------------------

    def enable(self, baud: int = DEFAULT_BAUD) -> None:
        """Switch on with empty buffers."""
        self.disable()
        self.baud = baud
        self._on = True

    def disable(self) -> None:
        """Switch off: what is in the buffers and on the line is lost."""
        self._on = False
        for timer in (self._arrival, self._rx_idle, *self._tx_pieces):
            if timer is not None:
                timer.cancel()
        self._tx_pieces.clear()
        self._received.clear()
        self._reported_bytes = self._buffer_fill = 0
        self._rx_disabled = False
        self._tx_free_ns = 0

    # --- from the host --------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Notice that the host has begun to send."""
        if self._cable.pending() and (self._arrival is None or not self._arrival.active):
            self._receive_from(max(self._timeline.now_ns, self._rx_line_free_ns))

    def read(self) -> bytes:
        """Take everything that the driver has reported; reception goes on if it had stopped."""
        data = bytes(self._received[: self._reported_bytes])
        del self._received[: self._reported_bytes]
        self._reported_bytes = 0
        if self._rx_disabled:
            self._rx_disabled = False
            self.poll()
        return data

    @property
    def rts_asserted(self) -> bool:
        """Whether the board lets a host with flow control send."""
        return self._on and not self._rx_disabled

    @property
    def holds_host(self) -> bool:
        """Whether both ends use RTS/CTS, so that a board that does not read loses nothing."""
        return self._flow_control and self._cable.host_end_now().flow_control

    def _receive_from(self, start_ns: int) -> None:
        pending = self._cable.pending()
        if not pending:
            return
        host = self._cable.host_end_now()
        if self._on and self._rx_disabled and self._flow_control and host.flow_control:
            return  # RTS holds the host back until read() makes room
        size = min(pending, RX_BUFFER_BYTES - self._buffer_fill)
        end_ns = start_ns + _duration_ns(size, host.baud)
        self._arrival = self._timeline.at(end_ns, lambda: self._arrive(size, host.baud))

    def _arrive(self, size: int, host_baud: int) -> None:
        self._rx_line_free_ns = self._timeline.now_ns
        data = self._cable.take(size)
        if self._on:
            data = self._rx_faults.apply(line_noise.receive(data, host_baud, self.baud))
            if self._rx_disabled:
                self._on_overrun(len(data))
            else:
                self._store(data)
        self._receive_from(self._timeline.now_ns)

    def _store(self, data: bytes) -> None:
        self._received += data
        self._buffer_fill += len(data)
        if self._rx_idle is not None:
            self._rx_idle.cancel()
        if self._buffer_fill >= RX_BUFFER_BYTES:
            self._buffer_fill = 0
            self._rx_disabled = len(self._received) >= RX_BUFFER_BYTES * RX_BUFFER_COUNT
            self._report()
        else:
            self._rx_idle = self._timeline.after(_RX_IDLE_NS, self._report)

    def _report(self) -> None:
        self._reported_bytes = len(self._received)
        self._on_received()

    # --- to the host ----------------------------------------------------------------------------------------

    def send(self, data: bytes, now_ns: int) -> int:
        """Queue bytes for the host.

        Args:
            data: The bytes.
            now_ns: The moment of the caller, which may be ahead of board time.

        Returns:
            The moment when all but one transmit buffer has left, until which the caller blocks.
        """
        if not self._on:
            return now_ns
        data = self._tx_faults.apply(data)
        self._tx_pieces = [piece for piece in self._tx_pieces if piece.active]
        end_ns = max(now_ns, self._tx_free_ns)
        for start in range(0, len(data), _TX_PIECE_BYTES):
            piece = data[start : start + _TX_PIECE_BYTES]
            end_ns += _duration_ns(len(piece), self.baud)
            self._tx_pieces.append(self._timeline.at(end_ns, functools.partial(self._deliver, piece)))
        self._tx_free_ns = end_ns
        return max(now_ns, end_ns - _duration_ns(TX_BUFFER_BYTES, self.baud))

    @property
    def tx_free_ns(self) -> int:
        """The moment when the last queued byte has left."""
        return self._tx_free_ns

    def _deliver(self, piece: bytes) -> None:
        host_baud = self._cable.host_end_now().baud
        self._cable.deliver(line_noise.receive(piece, self.baud, host_baud))
