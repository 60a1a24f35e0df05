"""Serial Modem's AT host: commands in, replies out, data mode, and URCs that wait until the line is idle.

Source: ncs-serial-modem ``app/src/sm_at_host.c``. Two rules there shape what a host sees. Results go out at
once, but URCs wait in a ring until no command is being received or executed and the idle timer is off; a
timer that expires in data mode is started again, which puts the URC after a data transfer on a 100 ms grid.
And the bytes that have arrived are worked off completely before waiting URCs are looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bridge.virtual.clock import NS_PER_MS, Timeline, Timer
from bridge.virtual.cpu import Cpu
from bridge.virtual.faults import ReplyFaults
from bridge.virtual.uart import RX_BUFFER_BYTES, Uart
from bridge.wire.at_command import AtCommand, AtCommandReader, Terminator, parse_command
from bridge.wire.xdfu import DATA_MODE_EXIT_URC

URC_RETRY_NS: Final = 100 * NS_PER_MS
ECHO_URC_DELAY_NS: Final = 1_000 * NS_PER_MS
DATA_MODE_BUFFER_BYTES: Final = 4096
URC_BUFFER_BYTES: Final = 4096
UART_RX_MARGIN_MS: Final = 10
_CRLF: Final = "\r\n"


@dataclass(frozen=True)
class Reply:
    """Answer to a command.

    Attributes:
        final: ``OK``, ``ERROR``, ``+CME ERROR: n``, or empty when the command answers later by itself.
        lines: Information text before it.
        after: Called when the final result has been handed to the UART.
    """

    final: str
    lines: tuple[str, ...] = ()
    after: Callable[[], None] | None = None

    @property
    def text(self) -> str:
        """On the wire: CRLF before everything, and once more before the final result."""
        information = _CRLF + _CRLF.join(self.lines) + _CRLF if self.lines else ""
        return f"{information}{_CRLF}{self.final}{_CRLF}" if self.final else information


OK: Final = Reply("OK")
ERROR: Final = Reply("ERROR")
SILENT: Final = Reply("")


class DataSink(Protocol):
    """Takes the bytes of data mode."""

    def send(self, data: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """All announced bytes have been sent, or data mode was left."""


class AtHost:
    """One AT interface on the UART.

    Args:
        timeline: Board time.
        cpu: The work queue.
        uart: The line.
        execute: Carries out a command; runs on the CPU and may let time pass.
        replies: What happens to replies on purpose.
        terminator: What ends a command line.
        urcs_wait: URCs wait until the line is idle; older firmware sends them at once.
    """

    def __init__(
        self,
        timeline: Timeline,
        cpu: Cpu,
        uart: Uart,
        execute: Callable[[AtCommand], Reply],
        *,
        replies: ReplyFaults,
        terminator: Terminator = Terminator.CR,
        urcs_wait: bool = True,
    ) -> None:
        self._timeline = timeline
        self._cpu = cpu
        self._uart = uart
        self._execute = execute
        self._replies = replies
        self._urcs_wait = urcs_wait
        self._reader = AtCommandReader(terminator)
        self.echo = False
        self.data_time_limit_ms = 0
        self._executing = False
        self._urcs = bytearray()
        self._idle_timer: Timer | None = None
        self._grid_origin_ns: int | None = None
        self._sink: DataSink | None = None
        self._data_left = 0
        self._data = bytearray()
        self._inactivity: Timer | None = None

    # --- what the application uses --------------------------------------------------------------------------

    @property
    def in_data_mode(self) -> bool:
        """Whether received bytes are data."""
        return self._sink is not None

    @property
    def data_left(self) -> int:
        """Bytes that data mode still waits for."""
        return self._data_left

    def enter_data_mode(self, sink: DataSink, size_bytes: int) -> bool:
        """Treat the next ``size_bytes`` bytes as data; False when that is so already."""
        if self._sink is not None:
            return False
        self._sink, self._data_left = sink, size_bytes
        self._data.clear()
        if self.data_time_limit_ms == 0:
            self.data_time_limit_ms = self.minimum_time_limit_ms
        return True

    @property
    def minimum_time_limit_ms(self) -> int:
        """Shortest inactivity time in data mode: one receive buffer at the current rate, and a margin."""
        return RX_BUFFER_BYTES * 10 * 1000 // self._uart.baud + UART_RX_MARGIN_MS

    def urc(self, text: str) -> None:
        """Send an unsolicited line when the line is idle."""
        if not self._urcs_wait:
            self._transmit_reply(text)
            return
        data = text.encode("latin-1")
        if len(self._urcs) + len(data) > URC_BUFFER_BYTES:
            self._urcs.clear()  # what has waited that long is taken to be outdated
            return
        self._urcs += data
        if self._idle:
            self._notify()
        else:
            self._start_idle_timer(restart=False)

    def respond(self, text: str) -> None:
        """Send a response at once."""
        if self._idle:
            self._flush_urcs()
        self._transmit(text.encode("latin-1"))

    def set_echo(self, enabled: bool) -> None:
        """Send every received character back, or not."""
        self.echo = enabled
        self._stop_idle_timer()

    # --- received bytes -------------------------------------------------------------------------------------

    def on_received(self) -> None:
        """The UART has bytes."""
        self._cpu.submit(self._work_off)

    def _work_off(self) -> None:
        data = self._uart.take_buffer()
        if not data:
            return
        if self._inactivity is not None:
            self._inactivity.cancel()
        while data:
            data = self._take_data(data) if self.in_data_mode else self._take_commands(data)
        if self.in_data_mode:
            limit_ns = self.data_time_limit_ms * NS_PER_MS
            self._inactivity = self._cpu.submit_after(limit_ns, self._flush_data)
        # Look again before anything else runs: bytes may have arrived while the CPU was busy.
        self._cpu.submit(self._work_off, first=True)

    def _take_commands(self, data: bytes) -> bytes:
        self._reader.feed(data)
        self._start_idle_timer(restart=True)
        line = self._reader.next_line()
        unread = self._reader.take_unread()
        if self.echo:
            self._transmit(data[: len(data) - len(unread)])
        if line is not None:
            command = None if line.too_long else parse_command(line.text)
            self._answer(command)
            self._stop_idle_timer()
            self._notify()
        return unread

    def _answer(self, command: AtCommand | None) -> None:
        self._executing = True
        reply = ERROR if command is None else self._execute(command)
        self._executing = False
        if reply.text:
            self._transmit_reply(reply.text)
        if reply.after is not None:
            reply.after()

    def _take_data(self, data: bytes) -> bytes:
        part, rest = data[: self._data_left], data[self._data_left :]
        self._data_left -= len(part)
        while part:
            room = DATA_MODE_BUFFER_BYTES - len(self._data)
            if room == 0:
                self._flush_data()
                continue
            self._data += part[:room]
            part = part[room:]
        if self._data_left == 0:
            self._flush_data()
            self._leave_data_mode()
        return rest

    def _flush_data(self) -> None:
        data = bytes(self._data)
        self._data.clear()
        if data and self._sink is not None:
            self._sink.send(data)

    def _leave_data_mode(self) -> None:
        sink, self._sink = self._sink, None
        if self._grid_origin_ns is not None:
            periods = max(1, -((self._grid_origin_ns - self._cpu.now_ns) // URC_RETRY_NS))
            self._idle_timer = self._timeline.at(self._grid_origin_ns + periods * URC_RETRY_NS, self._notify)
            self._grid_origin_ns = None
        if sink is not None:
            sink.finish()
        self.respond(f"{_CRLF}{DATA_MODE_EXIT_URC}{_CRLF}")
        self._notify()

    # --- when URCs may go out -------------------------------------------------------------------------------

    @property
    def _idle(self) -> bool:
        timer_runs = self._idle_timer is not None and self._idle_timer.active
        return not (self.in_data_mode or self._executing or timer_runs)

    def _start_idle_timer(self, *, restart: bool) -> None:
        if self._idle_timer is not None and self._idle_timer.active:
            if not restart:
                return
            self._idle_timer.cancel()
        slow = self.echo and (restart or self._reader.partial)
        delay_ns = ECHO_URC_DELAY_NS if slow else URC_RETRY_NS
        if self.in_data_mode:
            # The timer would expire and start again until the data is complete. Only its phase matters then.
            if self._grid_origin_ns is None:
                self._grid_origin_ns = self._cpu.now_ns
        else:
            self._idle_timer = self._timeline.at(self._cpu.now_ns + delay_ns, self._notify)

    def _stop_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def _notify(self) -> None:
        self._cpu.submit(self._after_event)

    def _after_event(self) -> None:
        if self._idle:
            self._flush_urcs()
        else:
            self._start_idle_timer(restart=False)

    def _flush_urcs(self) -> None:
        if self._urcs:
            data = bytes(self._urcs)
            self._urcs.clear()
            self._transmit_reply(data.decode("latin-1"))

    # --- sending --------------------------------------------------------------------------------------------

    def _transmit_reply(self, text: str) -> None:
        self._replies.give(text.encode("latin-1"), self._transmit, self._cpu.submit_after)

    def _transmit(self, data: bytes) -> None:
        self._cpu.wait_until(self._uart.send(data, self._cpu.now_ns))
