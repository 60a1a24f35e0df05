"""The board's UART: paced bytes, what it holds while the processor is away, and RTS when that is full.

Sources: ncs-serial-modem ``app/src/sm_uart_handler.c``: the driver reports received bytes when a buffer is full or the
line has been idle for 2 ms; with no free buffer reception ends. RTS then stops a host that uses hardware flow control;
without it the bytes on the line are lost. The other models are in :mod:`bridge.virtual.uart_options`.
"""

import functools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from bridge.virtual import line_noise
from bridge.virtual.cable import DEFAULT_BAUD, HostEnd
from bridge.virtual.clock import NS_PER_S, NS_PER_US, Timeline, Timer
from bridge.virtual.faults import ByteFaults
from bridge.virtual.uart_options import Reception, UartOptions
from bridge.virtual.uart_reception import make_memory

RX_BUFFER_BYTES: Final = 256
TX_BUFFER_BYTES: Final = 256
BAUD_RATES: Final = (115_200, 230_400, 460_800, 921_600, 1_000_000)

_BITS_PER_BYTE: Final = 10
_TX_PIECE_BYTES: Final = 64
_LOST_PIECE_BYTES: Final = 256


class BoardSide(Protocol):
    """The board's end of what connects it to the host."""

    def pending(self) -> int:
        """Bytes that wait for the board."""
        ...

    def take(self, size: int) -> bytes:
        """Take up to ``size`` of them."""
        ...

    def deliver(self, data: bytes) -> None:
        """Hand bytes to the host."""
        ...

    def host_end_now(self) -> HostEnd:
        """The host's settings at this moment."""
        ...


def _duration_ns(size_bytes: int, baud: int) -> int:
    return size_bytes * _BITS_PER_BYTE * NS_PER_S // baud


class Uart:
    """UART0 of the board with the cable to the host.

    Args:
        timeline: Board time.
        cable: The other end.
        on_received: Called when the driver reports received bytes.
        on_overrun: Called with the number of bytes that were lost because nobody stopped the host.
        options: How it receives, unless :meth:`enable` says otherwise.
        rx_faults: What happens to bytes from the host on their way.
        tx_faults: What happens to bytes from the board on their way.
    """

    def __init__(
        self,
        timeline: Timeline,
        cable: BoardSide,
        *,
        on_received: Callable[[], None],
        on_overrun: Callable[[int], None],
        options: UartOptions | None = None,
        rx_faults: ByteFaults | None = None,
        tx_faults: ByteFaults | None = None,
    ) -> None:
        self._timeline = timeline
        self._cable = cable
        self._on_received = on_received
        self._on_overrun = on_overrun
        self._default_options = self._options = options or UartOptions()
        self._rx_faults = rx_faults or ByteFaults()
        self._tx_faults = tx_faults or ByteFaults()
        self.baud = DEFAULT_BAUD
        self._on = False
        self._memory = make_memory(self._options)
        self._stalls: deque[tuple[int, int]] = deque()
        self._fifo_fill = 0
        self._arrival: Timer | None = None
        self._rx_idle: Timer | None = None
        self._rx_line_free_ns = 0
        self._tx_free_ns = 0
        self._tx_pieces: list[Timer] = []

    # --- power ----------------------------------------------------------------------------------------------

    def enable(self, baud: int = DEFAULT_BAUD, options: UartOptions | None = None) -> None:
        """Switch on with empty buffers.

        Args:
            baud: Bit rate.
            options: How this firmware receives; None for the board's way. Whether there is RTS/CTS stays the board's.
        """
        self.disable()
        wires = self._default_options.flow_control
        self._options = replace(options or self._default_options, flow_control=wires)
        self._memory = make_memory(self._options)
        self.baud = baud
        self._on = True

    def disable(self) -> None:
        """Switch off: what is in the buffers and on the line is lost."""
        self._on = False
        for timer in (self._arrival, self._rx_idle, *self._tx_pieces):
            if timer is not None:
                timer.cancel()
        self._tx_pieces.clear()
        self._memory = make_memory(self._options)
        self._stalls.clear()
        self._fifo_fill = 0
        self._tx_free_ns = 0

    def stall(self, start_ns: int, end_ns: int, unbroken_ns: int) -> None:
        """The CPU stands still from ``start_ns`` to ``end_ns``; interrupts are served every ``unbroken_ns``.

        A page is erased in one go, but between the words of a write the interrupt handler gets its turn.
        """
        fits = unbroken_ns <= _duration_ns(self._options.fifo_bytes, self.baud)
        if self._options.reception is Reception.FIFO and not fits:
            self._stalls.append((start_ns, end_ns))

    # --- from the host --------------------------------------------------------------------------------------

    def poll(self) -> None:
        """Notice that the host has begun to send."""
        if self._cable.pending() and (self._arrival is None or not self._arrival.active):
            self._receive_from(max(self._timeline.now_ns, self._rx_line_free_ns))

    def read(self) -> bytes:
        """Take everything that the driver has reported; reception goes on if it had stopped."""
        return self._taken(self._memory.read())

    def take_buffer(self) -> bytes:
        """Take what was reported of one buffer, and keep that buffer occupied until the next call."""
        return self._taken(self._memory.take())

    @property
    def rts_asserted(self) -> bool:
        """Whether the board lets a host with flow control send."""
        return self._on and not self._memory.disabled and self._held_until_ns() is None

    def _taken(self, data: bytes) -> bytes:
        if not self._memory.disabled:
            self.poll()
        return data

    def _held_until_ns(self) -> int | None:
        """End of a stall with a full FIFO."""
        if self._fifo_fill < self._options.fifo_bytes or not self._stalls:
            return None
        return self._stalls[0][1]

    @property
    def holds_host(self) -> bool:
        """Whether both ends use RTS/CTS, so that a board that does not read loses nothing."""
        return self._options.flow_control and self._cable.host_end_now().flow_control

    def _receive_from(self, start_ns: int) -> None:
        pending = self._cable.pending()
        if not pending:
            return
        host = self._cable.host_end_now()
        if self._on and self._options.flow_control and host.flow_control:
            if self._memory.disabled:
                return  # RTS holds the host back until somebody makes room
            self._leave_stalls(start_ns)
            held_until_ns = self._held_until_ns()
            if held_until_ns is not None:
                self._arrival = self._timeline.at(
                    held_until_ns, functools.partial(self._resume, held_until_ns)
                )
                return
        if self._rx_idle is not None:
            self._rx_idle.cancel()  # the line is not idle
        size = min(pending, self._memory.room_bytes or _LOST_PIECE_BYTES)
        end_ns = start_ns + _duration_ns(size, host.baud)
        self._arrival = self._timeline.at(end_ns, functools.partial(self._arrive, start_ns, size, host))

    def _resume(self, held_until_ns: int) -> None:
        self._leave_stalls(held_until_ns)
        self._receive_from(held_until_ns)

    def _arrive(self, start_ns: int, size: int, host: HostEnd) -> None:
        assert self._arrival is not None
        self._rx_line_free_ns = self._timeline.now_ns
        kept: list[int] | None = None
        sent = size
        if self._on and self._stalls:
            kept, sent = self._through_fifo(start_ns, size, host)
        self._rx_line_free_ns = start_ns + _duration_ns(sent, host.baud)
        data = self._cable.take(sent)
        if self._on:
            data = line_noise.receive(data, host.baud, self.baud)
            if kept is not None:
                whole, data = data, bytes(data[number] for number in kept if number < len(data))
                self._lose(len(whole) - len(data))
            data = self._rx_faults.apply(data)
            if data:
                self._store(data)
        if not self._arrival.active:  # whoever was told may have read, which goes on receiving
            self._receive_from(self._rx_line_free_ns)

    def _through_fifo(self, start_ns: int, size: int, host: HostEnd) -> tuple[list[int], int]:
        """Which bytes are received, and how many have left the host, when the CPU does not always fetch them."""
        holds = self._options.flow_control and host.flow_control
        kept: list[int] = []
        for number in range(size):
            arrival_ns = start_ns + _duration_ns(number + 1, host.baud)
            self._leave_stalls(arrival_ns)
            stalled = bool(self._stalls) and self._stalls[0][0] < arrival_ns
            if stalled and self._fifo_fill >= self._options.fifo_bytes:
                if holds:
                    return kept, number
                continue
            self._fifo_fill += stalled
            kept.append(number)
        return kept, size

    def _lose(self, count: int) -> None:
        if count:
            self._on_overrun(count)

    def _leave_stalls(self, time_ns: int) -> None:
        while self._stalls and self._stalls[0][1] <= time_ns:
            self._stalls.popleft()
            self._fifo_fill = 0

    def _store(self, data: bytes) -> None:
        told = False
        while data:  # faults may have made more of them
            if self._memory.disabled:
                self._lose(len(data))
                return
            room = self._memory.room_bytes
            told = self._memory.store(data[:room])
            if told:
                self._on_received()
            data = data[room:]
        if not told:
            self._rx_idle = self._timeline.after(self._options.idle_us * NS_PER_US, self._report)

    def _report(self) -> None:
        self._memory.report()
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
