"""One ``#XDFU`` chunk at a time: command, raw bytes, and right behind them an ``AT`` that makes the status come.

Sources: ncs-serial-modem ``app/src/sm_at_host.c``: data mode ends only with the announced count, and the ``#XDFU`` URC waits
for the end of a command or for a 100 ms grid.
"""

from typing import Final

from bridge import clock
from bridge.board import AtClient, Link
from bridge.dfu.xdfu_tuning import BUFFERED_BYTES, XdfuTiming
from bridge.errors import LinkError
from bridge.wire.xdfu import DATA_MODE_EXIT_URC, XdfuOperation, XdfuStatus, XdfuType, parse_status

_NUDGE: Final = "AT"


class BytesLostError(Exception):
    """The board did not get all bytes, or nobody knows."""


def write_chunk(
    at: AtClient, link: Link, command: str, chunk: bytes, *, dfu_type: XdfuType, timing: XdfuTiming
) -> XdfuStatus:
    """Send one chunk and wait for its status.

    Args:
        at: The AT conversation.
        link: Its link.
        command: The ``#XDFUWRITE`` that announces the chunk.
        chunk: The bytes.
        dfu_type: What is written, which the status repeats.
        timing: How long the board may take.

    Raises:
        BytesLostError: The board waits for bytes, or did not say how it went.
        BoardRefusedError: It refused the command.
        LinkError: The link is lost.
    """
    forget_statuses(at)
    wire_s = len(chunk) * (10 / link.baud + 1 / timing.flash_bytes_per_s)
    try:
        at.command(command, timeout_s=timing.command_s)
        at.send_then_command(chunk, _NUDGE, wire_s + timing.margin_s)
    except LinkError as error:
        if error.reason in {"no-answer", "write-timeout"}:
            raise BytesLostError(error.message) from error
        raise
    buffered_s = wire_s * min(1.0, BUFFERED_BYTES / len(chunk))
    _wait_nudge(at, buffered_s + timing.margin_s)
    return wait_status(at, dfu_type, XdfuOperation.WRITE, timing.margin_s)


def wait_status(at: AtClient, dfu_type: XdfuType, operation: XdfuOperation, timeout_s: float) -> XdfuStatus:
    """Wait for the ``#XDFU`` URC that tells how an operation went.

    Raises:
        BytesLostError: It did not come.
        LinkError: The link is lost.
    """

    def wanted(urc: str) -> bool:
        status = parse_status(urc)
        return status is not None and (status.type, status.operation) == (dfu_type, operation)

    try:
        urc = at.wait_urc(wanted, timeout_s)
    except LinkError as error:
        if error.reason != "no-answer":
            raise
        raise BytesLostError("the board did not report how it went") from error
    status = parse_status(urc)
    assert status is not None
    return status


def forget_statuses(at: AtClient) -> None:
    """Drop what the board told of earlier chunks."""
    at.take_urcs(lambda urc: parse_status(urc) is not None)
    at.take_urcs(DATA_MODE_EXIT_URC)


def _wait_nudge(at: AtClient, timeout_s: float) -> None:
    """Only an answer to the nudge after the end of data mode proves that exactly all bytes have arrived.

    The end alone does not: if up to three bytes were lost, the nudge itself has filled their place.
    """
    deadline = clock.monotonic() + timeout_s
    while at.poll_result(deadline - clock.monotonic()) is not None:
        if at.take_urcs(DATA_MODE_EXIT_URC):
            return
    raise BytesLostError(f"the board still waits for data {timeout_s:.1f} s after the last byte")
