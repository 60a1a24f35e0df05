"""A bench as values: its boards, whose jobs they work, and how they are switched off."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.board.power import PowerControl
from bridge.errors import UsageError
from bridge.fota.choose_route import Transport


@dataclass(frozen=True)
class BoardCredentials:
    """Who a board's thing is to the broker.

    Attributes:
        ca_file: CA of the broker (PEM); None for the system's.
        cert_file: Certificate of the thing (PEM).
        key_file: Its private key (PEM).
    """

    ca_file: Path | None
    cert_file: Path
    key_file: Path


@dataclass(frozen=True)
class BenchBoard:
    """One board of a bench.

    Attributes:
        name: Short name, unique on the bench; the serial number if the file gives none.
        serial_number: USB serial number, which is the board's key on the bench.
        port: Device or URL; None finds the port by serial number each time.
        baud: Bit rate that the board uses after a reset.
        flow_control: RTS/CTS.
        transfer_baud: Bit rate of transfers; None stays at ``baud``.
        timeout_s: How long the board may take to answer at all.
        line_bytes: Longest SMP line that it takes.
        recovery: Over SMP: restart its application into MCUboot's recovery first.
        confirm: Whether the bridge confirms an image that runs on trial; else the application must.
        model: Board model, such as ``nrf9151dk``, if the file says.
        transport: Route into flash.
        thing: Thing whose jobs it works, if it works any.
        credentials: Who it is to the broker, if it works jobs.
        power: The switch in its supply, if there is one.
        groups: Names by which boards are chosen together.
        notes: What the file's author wants to remember.
    """

    name: str
    serial_number: str
    port: str | None = None
    baud: int = 115_200
    flow_control: bool = True
    transfer_baud: int | None = 1_000_000
    timeout_s: float = 10.0
    line_bytes: int = 127
    recovery: bool = False
    confirm: bool = True
    model: str | None = None
    transport: Transport = Transport.AUTO
    thing: str | None = None
    credentials: BoardCredentials | None = None
    power: PowerControl | None = None
    groups: frozenset[str] = frozenset()
    notes: str = ""


@dataclass(frozen=True)
class Bench:
    """A bench.

    Attributes:
        name: What it is called; the file's directory if the file says nothing.
        boards: Its boards, in the file's order.
        endpoint: Broker, ``HOST`` or ``HOST:PORT``, if the file says.
        download_ca_file: CA of the image server, if it is not a public one.
        file: Where it was read from, if it was.
    """

    name: str
    boards: tuple[BenchBoard, ...]
    endpoint: str | None = None
    download_ca_file: Path | None = None
    file: Path | None = field(default=None, compare=False)

    def board(self, name: str) -> BenchBoard:
        """A board by name, serial number, or enough of the serial number's last digits.

        Raises:
            UsageError: None has it, or several do (``unknown-board``).
        """
        exact = [board for board in self.boards if name in {board.name, board.serial_number}]
        ending = [board for board in self.boards if board.serial_number.endswith(name)]
        for found in (exact, ending):
            if len(found) == 1:
                return found[0]
        known = ", ".join(board.name for board in self.boards)
        raise UsageError(
            f"the bench {self.name} has no single board {name}",
            reason="unknown-board",
            hint=f"Its boards are {known}.",
        )

    def select(self, names: Iterable[str] = (), groups: Iterable[str] = ()) -> tuple[BenchBoard, ...]:
        """The boards that are named or are in one of the groups; all of them when nothing is asked for.

        Raises:
            UsageError: A board is unknown (``unknown-board``), or a group has no board (``unknown-group``).
        """
        wanted, named = frozenset(groups), {self.board(name).serial_number for name in names}
        known = frozenset(group for board in self.boards for group in board.groups)
        if not wanted <= known:
            raise UsageError(
                f"the bench {self.name} has no board in the group {min(wanted - known)}",
                reason="unknown-group",
                hint=f"Its groups are {', '.join(sorted(known))}." if known else "It has no groups.",
            )
        if not wanted and not named:
            return self.boards
        return tuple(
            board
            for board in self.boards
            if board.serial_number in named or not wanted.isdisjoint(board.groups)
        )
