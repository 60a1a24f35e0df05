"""Writing by ``#XDFU`` without waiting: commands and their data in one go, while flash works on what came before.

While the nRF91 erases a page (87 ms) its CPU stands still, and its UART receives no more than its DMA buffers hold. A host
that waits for each answer leaves the line idle meanwhile; one that sends the next command and its data at once fills those
buffers. Answers come in the order of the commands: ``OK`` when data mode begins, ``#XDATAMODE: 0`` when the announced bytes
have arrived, and the statuses later, when the line is idle.

What makes it safe to send data before its command was accepted: **no such piece holds the letters "AT"** (in any case).
Pieces are cut between the two; where that would make them too short, a piece waits until its command was accepted. If a
command is refused or was garbled, or the board restarts, its data arrive where commands are expected; nothing there begins
like one, and Serial Modem drops it. The next ``AT#XDFUWRITE`` would be taken, and its bytes appended in the wrong place; but
then an answer is missing or is ``ERROR``, and the whole transfer starts again. One loss no answer tells of, here and with
chunks one by one: a digit of the announced count, which makes the board take fewer bytes; MCUboot then refuses the image.
Without RTS/CTS bytes are lost while flash is busy, so then nothing is streamed.

Sources: ncs-serial-modem ``app/src/sm_at_host.c`` (data mode begins before ``OK`` is sent; what follows the announced bytes is
taken as commands; bytes before ``AT`` are ignored; waiting URCs are kept in 4096 bytes and all dropped when these are full),
``app/src/sm_uart_handler.c`` (three DMA buffers of 256 bytes).
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from bridge import clock
from bridge.board import AtClient, Link
from bridge.dfu.xdfu_chunk import BytesLostError
from bridge.dfu.xdfu_tuning import STREAM_WINDOW_BYTES, XdfuTiming, piece_end
from bridge.errors import LinkError
from bridge.wire.xdfu import DATA_MODE_EXIT_URC, XdfuOperation, XdfuStatus, parse_status

_COMMAND_LETTERS: Final = re.compile(rb"(?<=[Aa])(?=[Tt])")
_NUDGE: Final = "AT"
_OK_MARGIN_S: Final = 0.5
_RATE_BYTES: Final = 8 * 1024
_SHORTEST_PIECE_BYTES: Final = 256
_MOST_UNDER_WAY: Final = 24
DRAIN_BYTES: Final = 128 * 1024
_MOST_PENDING_STATUSES: Final = 200
"""Statuses wait on the board until the line is idle, in a buffer that holds some 290 of them."""


class XdfuStream:
    """A run of ``#XDFUWRITE`` commands of which several are under way.

    Args:
        at: The AT conversation.
        link: Its link, which must use RTS/CTS.
        command: Makes the command for an offset and a size.
        timing: How long the board may take.

    Attributes:
        failed: The first status that told of a failed write.
    """

    def __init__(
        self, at: AtClient, link: Link, command: Callable[[int, int], str], timing: XdfuTiming
    ) -> None:
        self._at = at
        self._link = link
        self._command = command
        self._timing = timing
        self._under_way: deque[int] = deque()
        self._statuses_due = 0
        self._statuses: list[XdfuStatus] = []
        self._since_drain_bytes = 0
        self._pace = _Pace(link.baud)
        self.failed: XdfuStatus | None = None

    @property
    def is_drained(self) -> bool:
        """Whether all that was sent was reported on."""
        return not self._statuses_due

    def send(self, offset: int, data: bytes) -> None:
        """Send bytes; returns when all but a window of them are known to have arrived, or a write has failed.

        Raises:
            BytesLostError: An answer is missing, or a command was refused.
            LinkError: The link is lost.
        """
        if not self._under_way:
            self._pace.restart()
        for piece in cut(
            data, offset, lambda at: piece_end(at, self._link.baud, line_bound=self._pace.line_bound)
        ):
            if self.failed is not None:
                return
            self._make_room(len(piece))
            (self._send_blind if is_harmless(piece) else self._send_accepted)(offset, piece)
            self._statuses_due += 1
            self._since_drain_bytes += len(piece)
            offset += len(piece)
            if self._since_drain_bytes >= DRAIN_BYTES or self._statuses_due >= _MOST_PENDING_STATUSES:
                self.drain()

    def _make_room(self, size_bytes: int) -> None:
        while self._under_way and (
            sum(self._under_way) + size_bytes > STREAM_WINDOW_BYTES or len(self._under_way) >= _MOST_UNDER_WAY
        ):
            self._await_oldest()

    def _send_blind(self, offset: int, piece: bytes) -> None:
        self._write(self._command(offset, len(piece)), piece)
        self._under_way.append(len(piece))

    def _send_accepted(self, offset: int, piece: bytes) -> None:
        """Send a piece that could be mistaken for commands only when data mode is sure."""
        while self._under_way:
            self._await_oldest()
        self._write(self._command(offset, len(piece)), b"")
        self._await_ok(self._timing.command_s)
        wait_s = len(piece) * self._byte_s + self._timing.margin_s
        self._at.write_raw(piece, wait_s)
        self._awaited(DATA_MODE_EXIT_URC, wait_s, "the end of a piece")
        self._pace.restart()

    def drain(self) -> None:
        """Wait until everything has arrived and was written; :attr:`failed` then tells of the first write that was not.

        Raises:
            BytesLostError: An answer or a status is missing.
            LinkError: The link is lost.
        """
        if self.is_drained:
            return
        while self._under_way:
            self._await_oldest()
        self._write(_NUDGE, b"")
        self._await_ok(self._timing.margin_s)
        deadline = clock.monotonic() + self._timing.margin_s
        while len(self._statuses) < self._statuses_due:
            urc = self._awaited(_is_write_status, deadline - clock.monotonic(), "a status")
            status = parse_status(urc)
            assert status is not None
            self._statuses.append(status)
        self.failed = self.failed or next((status for status in self._statuses if not status.ok), None)
        self._statuses.clear()
        self._statuses_due = self._since_drain_bytes = 0

    def settle(self) -> None:
        """After something irregular: wait until the board has worked off what was sent."""
        quiet_s = STREAM_WINDOW_BYTES * 10 / self._link.baud + self._timing.settle_s
        while self._at.poll_result(quiet_s) is not None:
            pass

    def _write(self, command: str, data: bytes) -> None:
        wire_s = (sum(self._under_way) + len(data)) * self._byte_s
        try:
            self._at.send_streamed(command, data, wire_s + self._timing.margin_s)
        except LinkError as error:
            if error.reason == "write-timeout":
                raise BytesLostError(error.message) from error
            raise

    @property
    def _byte_s(self) -> float:
        return 10 / self._link.baud + 1 / self._timing.flash_bytes_per_s

    def _await_oldest(self) -> None:
        size_bytes = self._under_way[0]
        wait_s = sum(self._under_way) * self._byte_s + self._timing.margin_s
        self._awaited(DATA_MODE_EXIT_URC, wait_s, "the end of a piece")
        self._await_ok(_OK_MARGIN_S)
        self._under_way.popleft()
        self._pace.arrived(size_bytes)

    def _await_ok(self, timeout_s: float) -> None:
        result = self._at.poll_result(timeout_s)
        if result is None:
            raise BytesLostError("the board did not answer a command")
        if not result.ok:
            raise BytesLostError(f"the board answered {result.text} in the middle of the transfer")

    def _awaited(self, wanted: str | Callable[[str], bool], timeout_s: float, what: str) -> str:
        try:
            return self._at.wait_urc(wanted, timeout_s)
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            raise BytesLostError(f"{what} was not reported within {timeout_s:.1f} s") from error


class _Pace:
    """Whether the line or the board is the slower one."""

    def __init__(self, baud: int) -> None:
        self._line_bytes_per_s = baud / 10
        self.line_bound = False
        self.restart()

    def restart(self) -> None:
        self._began_s = clock.monotonic()
        self._bytes = 0

    def arrived(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        if self._bytes >= _RATE_BYTES:
            rate = self._bytes / max(1e-6, clock.monotonic() - self._began_s)
            self.line_bound = rate > 0.93 * self._line_bytes_per_s
            self.restart()


def cut(data: bytes, offset: int, end_of: Callable[[int], int]) -> Iterator[bytes]:
    """Cut data into pieces that do not hold the letters "AT", unless that would make them short.

    Args:
        data: The data.
        offset: Where they begin in the image.
        end_of: Tells for the offset of each piece where in the image it should end at the latest.
    """
    start = 0
    while start < len(data):
        end = min(end_of(offset + start) - offset, len(data))
        between = _COMMAND_LETTERS.search(data, start + 1, end)
        if between is not None and between.start() - start >= _SHORTEST_PIECE_BYTES:
            end = between.start()
        yield data[start:end]
        start = end


def is_harmless(piece: bytes) -> bool:
    """Whether a piece cannot be taken for a command, wherever it arrives."""
    return _COMMAND_LETTERS.search(piece) is None


def _is_write_status(urc: str) -> bool:
    status = parse_status(urc)
    return status is not None and status.operation is XdfuOperation.WRITE
