"""How the boards of a bench are doing: is the port there, who has it, what runs on the board, how its last job ended."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from bridge.board import BoardIdentity, choose_port
from bridge.board.answering import open_answering
from bridge.board.port_errors import find_holder
from bridge.errors import BenchError, BoardNotFoundError, BridgeError
from bridge.fota.bench_file import BenchBoard
from bridge.fota.choose_route import Transport
from bridge.fota.journal import KEPT_UPDATES
from bridge.fota.journal_rows import read_history
from bridge.fota.journal_values import JournalEntry


class BoardState(StrEnum):
    """What was found at a board's place.

    ``ANSWERS``: the board said who it is. ``FOUND``: its port is there; nobody asked further. ``HELD``: somebody works on
    it. ``SILENT``: the port is there, the board says nothing. ``MISSING``: there is no such port. ``FAULTY``: the port
    cannot be used.
    """

    ANSWERS = "answers"
    FOUND = "found"
    HELD = "held"
    SILENT = "silent"
    MISSING = "missing"
    FAULTY = "faulty"


@dataclass(frozen=True)
class BoardStatus:
    """How one board is doing.

    Attributes:
        board: The board, as the file has it.
        state: What was found.
        port: Its port, if it was found.
        holder: Who works on it, if somebody does.
        identity: What it said.
        error: Why it is silent, missing or faulty.
        last: Its last update in the journal.
    """

    board: BenchBoard
    state: BoardState
    port: str | None = None
    holder: str | None = None
    identity: BoardIdentity | None = None
    error: BridgeError | None = None
    last: JournalEntry | None = None

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        board, identity = self.board, self.identity
        return {
            "board_name": board.name,
            "serial_number": board.serial_number,
            "groups": sorted(board.groups),
            "thing": board.thing,
            "state": self.state,
            "port": self.port,
            "holder": self.holder,
            "model": board.model,
            "identity": None if identity is None else identity.to_dict(),
            "power": board.power is not None,
            "reason": None if self.error is None else self.error.reason,
            "message": None if self.error is None else self.error.message,
            "last_update": None if self.last is None else self.last.to_dict(),
        }


Hold = Callable[[BenchBoard], AbstractContextManager[None]]
"""Keeps others off a board as long as the block lasts; raises ``BenchError`` (``port-held``) when somebody has it."""


def look_at(
    boards: Sequence[BenchBoard], *, hold: Hold, journal: Path | None = None, ask: bool = True
) -> list[BoardStatus]:
    """Look at all boards at once.

    Args:
        boards: The boards.
        hold: Keeps others off a board while it is asked.
        journal: The bench's journal; it may be in use, or not exist.
        ask: Ask boards that nobody works on who they are.

    Returns:
        One status for each board, in their order.

    Raises:
        BenchError: The journal cannot be read.
    """
    last = _last_updates(journal)
    with ThreadPoolExecutor(max(1, len(boards)), "status") as executor:
        return list(
            executor.map(lambda board: _look(board, hold, last.get(board.thing or ""), ask=ask), boards)
        )


def _look(board: BenchBoard, hold: Hold, last: JournalEntry | None, *, ask: bool) -> BoardStatus:
    try:
        return replace(_found(board, hold, ask=ask), last=last)
    except BridgeError as error:
        holder: str | None = None
        match error:
            case BenchError(reason="port-held"):
                state, holder = BoardState.HELD, error.message.rpartition(" by ")[2]
            case BoardNotFoundError(reason="board-silent"):
                state = BoardState.SILENT
            case BoardNotFoundError():
                state = BoardState.MISSING
            case _:
                state = BoardState.FAULTY
        return BoardStatus(board, state, board.port, holder, error=error, last=last)


def _found(board: BenchBoard, hold: Hold, *, ask: bool) -> BoardStatus:
    if board.transport is Transport.PROBE:  # whether a probe is there only its own software knows
        with hold(board):
            return BoardStatus(board, BoardState.FOUND)
    port = _port_of(board)
    with hold(board):
        holder = find_holder(port)
        if holder is not None:
            return BoardStatus(board, BoardState.HELD, port, holder)
        if not ask:
            return BoardStatus(board, BoardState.FOUND, port)
        return BoardStatus(board, BoardState.ANSWERS, port, identity=_ask(board, port))


def _port_of(board: BenchBoard) -> str:
    port = choose_port(board.port, board.serial_number)
    if port.startswith("/") and not Path(port).exists():
        raise BoardNotFoundError(f"there is no port {port}", reason="port-missing")
    return port


def _ask(board: BenchBoard, port: str) -> BoardIdentity:
    with open_answering(
        port,
        baud=board.baud,
        flow_control=board.flow_control,
        line_bytes=board.line_bytes,
        timeout_s=board.timeout_s,
    ) as opened:
        return opened.identify()


def _last_updates(journal: Path | None) -> Mapping[str, JournalEntry]:
    """The newest update of each thing."""
    if journal is None or not journal.exists():
        return {}
    newest_first: Iterable[JournalEntry] = (entry for entry, _ in read_history(journal, KEPT_UPDATES))
    last: dict[str, JournalEntry] = {}
    for entry in newest_first:
        last.setdefault(entry.order.thing or "", entry)
    return last
