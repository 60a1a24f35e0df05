"""Finding out whether AT or SMP answers on a port.

``AT`` and a carriage return are noise to an SMP server, which a line feed ends; an SMP frame is noise to an AT host, which
drops what comes before ``AT``. So both may be asked.
"""

import logging
from typing import Final

from bridge.board.board import Board
from bridge.board.link import DEFAULT_BAUD, Link
from bridge.board.port_errors import shown_url
from bridge.board.smp_board import SmpBoard
from bridge.errors import BoardNotFoundError, LinkError
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES

_log = logging.getLogger(__name__)

_AT_S: Final = 1.5
_SMP_S: Final = 1.5


def open_answering(
    url: str,
    *,
    baud: int = DEFAULT_BAUD,
    flow_control: bool = True,
    line_bytes: int = DEFAULT_LINE_BYTES,
    timeout_s: float = 10.0,
) -> Board | SmpBoard:
    """Open a port by the protocol that is answered there: AT first, then SMP, then AT with all means.

    Args:
        url: Device name or pyserial URL.
        baud: Bit rate that the board uses after a reset.
        flow_control: RTS/CTS.
        line_bytes: Longest SMP line that the board takes.
        timeout_s: How long to try.

    Raises:
        BoardNotFoundError: No such port, or nothing answers either (reason ``board-silent``).
        BenchError: The port is held by another program.
    """
    found = find_answering(url, baud=baud, flow_control=flow_control, line_bytes=line_bytes)
    if found is not None:
        return found
    try:
        return Board.open(url, baud=baud, flow_control=flow_control, timeout_s=timeout_s)
    except BoardNotFoundError as error:
        if error.reason != "board-silent":
            raise
        raise BoardNotFoundError(
            f"nothing on {shown_url(url)} answers AT or SMP at {baud} baud",
            reason="board-silent",
            hint="Is the board switched on, are port and baud rate right, does its firmware speak AT or SMP, or is it in"
            " MCUboot's recovery? The DKs are silent while DTR is low, and a UART without RTS/CTS needs"
            " --no-flow-control.",
        ) from error


def find_answering(
    url: str, *, baud: int, flow_control: bool, line_bytes: int = DEFAULT_LINE_BYTES
) -> Board | SmpBoard | None:
    """Ask once for AT and once for SMP, without the means that bring back a board in data mode.

    Raises:
        BoardNotFoundError: No such port.
        BenchError: The port is held by another program.
    """
    at_board = Board(Link(url, baud=baud, flow_control=flow_control))
    if _answers_at(at_board):
        return at_board
    smp_board = SmpBoard(Link(url, baud=baud, flow_control=flow_control), line_bytes=line_bytes)
    return smp_board if _answers_smp(smp_board) else None


def _answers_at(board: Board) -> bool:
    board.link.open()
    try:
        board.at.synchronise(_AT_S)
    except LinkError as error:
        board.close()
        if error.reason not in {"no-answer", "write-timeout"}:
            raise
        return False
    except BaseException:
        board.close()
        raise
    return True


def _answers_smp(board: SmpBoard) -> bool:
    board.link.open()
    try:
        found = board.probe(_SMP_S)
    except BaseException:
        board.close()
        raise
    if not found:
        board.close()
    return found
