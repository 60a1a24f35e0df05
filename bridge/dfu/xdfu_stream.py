"""Many ``#XDFUWRITE`` commands and their data in one stream, without waiting for each answer.

It is safe under these conditions, which :class:`~bridge.dfu.xdfu.XdfuTarget` sees to: both ends use RTS/CTS, and a first chunk
in lock-step has gone through two page erases without a loss, which it would not have without; nothing irregular has happened
since. Then an image is never silently shifted by more than lock-step risks: every piece must bring its ``OK``, its
``#XDATAMODE`` and its ``#XDFU`` status, in these numbers exactly; a byte lost from the data takes the first byte of the next
command, whose ``OK`` then is missing; and nothing is scheduled before everything has come. And no image data is executed as an
AT command that lock-step would not execute: pieces that contain anything like a command are sent in lock-step
(:func:`~bridge.wire.xdfu_stream.may_follow_blindly`). What lock-step cannot notice, this cannot either: a damaged or doubled
byte within the data, and digits of a length that became other digits.

Sources: ncs-serial-modem ``app/src/sm_at_host.c``: ``#XDATAMODE`` and ``OK`` leave at once, ``#XDFU`` statuses wait in a ring
of 4096 bytes for an idle line.
"""

from typing import Final

from bridge.board.at_client import AtClient
from bridge.board.link import Link
from bridge.dfu.xdfu_tuning import BUFFERED_BYTES, XdfuTiming
from bridge.errors import LinkError
from bridge.wire.at import encode_command
from bridge.wire.xdfu import DATA_MODE_EXIT_URC, XdfuType, write_command
from bridge.wire.xdfu_stream import may_follow_blindly, piece_sizes

NUDGE: Final = "AT"
_OUTSTANDING_BYTES: Final = 8 * 1024
"""Most data whose arrival is not confirmed: what a stall and the slowest adapter need, at 1 Mbaud."""


class BytesLostError(Exception):
    """The board did not get all bytes of a chunk, or nobody knows."""


class XdfuStream:
    """Writes chunks in a stream.

    Args:
        at: The AT conversation.
        link: Its link.
        timing: How long the board may take.
    """

    def __init__(self, at: AtClient, link: Link, timing: XdfuTiming) -> None:
        self._at = at
        self._link = link
        self._timing = timing
        self._sizes: list[int] = []
        self._sent = 0
        self._answered = 0
        self._exits = 0

    def write(self, kind: XdfuType, offset: int, chunk: bytes, *, slow_flash: bool = True) -> int:
        """Write a chunk; the statuses are still to be fetched.

        Args:
            kind: First parameter of the commands.
            offset: Where the chunk goes.
            chunk: The data.
            slow_flash: Flash takes time worth hiding.

        Returns:
            How many pieces it took, each of which has a status.

        Raises:
            BytesLostError: Something irregular happened; the board may be in data mode, or still work on what was sent.
            LinkError: The link is lost.
        """
        self._sizes = list(piece_sizes(offset, len(chunk), self._link.baud, slow_flash=slow_flash))
        self._sent = self._answered = self._exits = 0
        commands = []
        start = 0
        for size in self._sizes:
            commands.append(write_command(kind, offset + start, size))
            start += size
        commands.append(NUDGE)
        start = 0
        try:
            for number, size in enumerate(self._sizes):
                self._send(chunk[start : start + size], commands[number], commands[number + 1])
                start += size
        except LinkError as error:
            if error.reason != "write-timeout":
                raise
            raise BytesLostError(error.message) from error
        self._await_answers(len(commands))
        if self._exits != len(self._sizes):
            raise BytesLostError(f"the board left data mode {self._exits} times in {len(self._sizes)} writes")
        return len(self._sizes)

    def settle(self) -> None:
        """After something irregular: wait until the board has worked off what was sent."""
        quiet_s = (_OUTSTANDING_BYTES + BUFFERED_BYTES) * 10 / self._link.baud + self._timing.settle_s
        while self._at.poll_result(quiet_s) is not None:
            pass

    def _send(self, data: bytes, command: str, next_command: str) -> None:
        announced = encode_command(command, self._at.terminator)
        ending = encode_command(NUDGE, self._at.terminator) if next_command == NUDGE else b""
        while self._answered < self._sent and self._outstanding_bytes + len(data) > _OUTSTANDING_BYTES:
            self._await_answers(self._answered + 1)
        blind = may_follow_blindly(data, next_command)
        if not blind:
            self._await_exits()
        if self._sent == 0:
            self._at.send_then_command(b"", command, self._patience_s(len(command)))
        elif blind:
            data = announced + data
        else:
            self._at.write_raw(announced, self._patience_s(len(announced)))
        self._sent += 1
        if not blind:
            self._await_answers(self._sent)
        self._at.write_raw(data + ending, self._patience_s(len(data)))

    @property
    def _outstanding_bytes(self) -> int:
        arrived = max(self._exits, self._answered - 1)
        return sum(self._sizes[max(0, arrived) : self._sent])

    def _await_answers(self, count: int) -> None:
        """Wait until so many commands were answered; the answer to each shows that the data before it has arrived."""
        while self._answered < count:
            result = self._at.poll_result(self._patience_s(self._outstanding_bytes))
            if result is None:
                raise BytesLostError("the board does not answer in the middle of a stream")
            if not result.ok:
                raise BytesLostError(f"the board answered {result.text} in the middle of a stream")
            self._answered += 1
            self._exits += len(self._at.take_urcs(DATA_MODE_EXIT_URC))
            # More may have come already: URCs are sorted out before the results that came with them.
            if not self._answered - 1 <= self._exits <= self._sent:
                raise BytesLostError(
                    f"the board left data mode {self._exits} times before its answer number {self._answered}"
                )

    def _await_exits(self) -> None:
        """Wait until the board is in AT mode again after everything that was sent."""
        self._await_answers(self._sent)
        while self._exits < self._sent:
            try:
                self._at.wait_urc(DATA_MODE_EXIT_URC, self._patience_s(self._outstanding_bytes))
            except LinkError as error:
                if error.reason != "no-answer":
                    raise
                raise BytesLostError("the board still waits for data") from error
            self._exits += 1

    def _patience_s(self, size_bytes: int) -> float:
        return (
            size_bytes * (10 / self._link.baud + 1 / self._timing.flash_bytes_per_s) + self._timing.margin_s
        )
