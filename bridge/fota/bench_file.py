"""The bench file: which boards are on this bench, whose jobs they work, and how they are switched off.

``bench.toml`` is read and checked as a whole (:mod:`bridge.fota.bench_schema`) before anything is opened. What is in it
becomes values; the boards themselves are not looked at here.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.board.power import (
    CommandPower,
    PowerControl,
    PowerSwitch,
    SocketPower,
    UhubctlPower,
    VirtualPower,
)
from bridge.errors import UsageError
from bridge.fota.bench_schema import (
    BenchTable,
    BoardTable,
    CommandPowerTable,
    PowerTable,
    UhubctlPowerTable,
    VirtualPowerTable,
    check_tables,
)
from bridge.fota.choose_route import Transport

BENCH_FILE: Final = "bench.toml"


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


def read_bench(path: Path) -> Bench:
    """Read a bench file.

    Paths in it are relative to it. Neither boards nor certificates are looked at.

    Args:
        path: The file.

    Raises:
        UsageError: It cannot be read, is no TOML, or says something that makes no sense (``bad-bench``); the message
            names file, table and key, the hint says what to do.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read the bench file {path}: {error.strerror or error}",
            reason="bad-bench",
            hint="docs/bench.md shows one.",
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"the bench file {path} is no TOML: {error}", reason="bad-bench") from error
    checked = check_tables(tables, path)
    return make_bench(checked, path)


def make_bench(tables: BenchTable, path: Path) -> Bench:
    """A bench from checked tables; ``path`` is the file that relative paths start from."""
    directory = path.absolute().parent
    return Bench(
        name=tables.name or directory.name,
        boards=tuple(
            _board(serial_number, table, tables.cloud.ca, directory)
            for serial_number, table in tables.boards.items()
        ),
        endpoint=tables.cloud.endpoint,
        download_ca_file=_beside(directory, tables.cloud.download_ca),
        file=path,
    )


def _board(serial_number: str, table: BoardTable, ca: Path | None, directory: Path) -> BenchBoard:
    name = table.name or serial_number
    cert_file, key_file = _beside(directory, table.cert), _beside(directory, table.key)
    credentials = None
    if cert_file is not None and key_file is not None:
        credentials = BoardCredentials(_beside(directory, table.ca or ca), cert_file, key_file)
    port = _port(directory, table.port)
    return BenchBoard(
        name=name,
        serial_number=serial_number,
        port=port,
        baud=table.baud,
        flow_control=table.flow_control,
        transfer_baud=table.transfer_baud or None,
        timeout_s=table.timeout,
        line_bytes=table.line_bytes,
        recovery=table.recovery,
        confirm=table.confirm,
        model=table.model,
        transport=Transport(table.transport),
        thing=table.thing,
        credentials=credentials,
        power=_power(
            table.power,
            port,
            directory,
            {"NRF91_BRIDGE_SERIAL_NUMBER": serial_number, "NRF91_BRIDGE_BOARD": name},
        ),
        groups=frozenset(table.groups),
        notes=table.notes,
    )


def _power(
    table: PowerTable | None, port: str | None, directory: Path, environment: Mapping[str, str]
) -> PowerControl | None:
    match table:
        case None:
            return None
        case VirtualPowerTable(control=Path() as control):
            return SocketPower(directory / control.expanduser())
        case VirtualPowerTable():
            assert port is not None  # checked with the tables
            return VirtualPower(_virtual_board(port))
        case CommandPowerTable():
            return CommandPower(
                _command(table.on),
                _command(table.off),
                None if table.cycle is None else _command(table.cycle),
                off_s=table.off_time,
                timeout_s=table.timeout,
                directory=directory,
                environment=environment,
            )
        case UhubctlPowerTable():
            return UhubctlPower(
                table.hub, table.port, off_s=table.off_time, timeout_s=table.timeout, program=table.program
            )


def _command(command: str | list[str]) -> str | tuple[str, ...]:
    return command if isinstance(command, str) else tuple(command)


def _virtual_board(url: str) -> Callable[[], PowerSwitch]:
    def find() -> PowerSwitch:
        from bridge.virtual.board_url import open_board  # noqa: PLC0415 - real benches need no virtual board

        return open_board(url)

    return find


def _beside(directory: Path, path: Path | None) -> Path | None:
    return None if path is None else directory / path.expanduser()


def _port(directory: Path, port: str | None) -> str | None:
    """A device that is given as a relative path, such as a link to a pty, is beside the file; names stay names."""
    if port is None or "://" in port or "/" not in port:
        return port
    return str(directory / Path(port).expanduser())
