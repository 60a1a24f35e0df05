"""The bench file: which boards are on this bench, whose jobs they work, and how they are switched off.

``bench.toml`` is read and checked as a whole (:mod:`bridge.fota.bench_schema`) before anything is opened. What is in it
becomes values; the boards themselves are not looked at here.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from bridge.board.power import CommandPower, PowerControl, PowerSwitch, UhubctlPower, VirtualPower
from bridge.board.socket_power import SocketPower
from bridge.errors import UsageError
from bridge.fota.bench import Bench, BenchBoard, BoardCredentials
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

__all__ = ["Bench", "BenchBoard", "BoardCredentials", "make_bench", "read_bench"]


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
