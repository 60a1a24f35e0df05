"""``nrf91-bridge bench status``: a table of the boards of a bench."""

from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from bridge.cli.bench_options import BenchOptions
from bridge.cli.journals import journal_file, place_of, port_for_us
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JournalOption, JsonOption
from bridge.cli.output import emit_json, print_table, use_json
from bridge.errors import BoardNotFoundError

if TYPE_CHECKING:
    from bridge.fota.bench_file import BenchBoard
    from bridge.fota.bench_status import BoardStatus
    from bridge.fota.journal_values import JournalEntry

_OWNER: Final = "nrf91-bridge bench status"
_COLOURS: Final = {"answers": "green", "found": "green", "held": "yellow"}


@takes_groups
def status(
    bench: BenchOptions,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask/--no-ask", help="Ask boards that nobody works on who they are and what they run."
        ),
    ] = True,
    journal: JournalOption = None,
    json: JsonOption = False,
) -> None:
    """Show the boards of a bench: port, holder, model, versions, and how the last job ended.

    The exit code is 3 when a board is missing, silent or faulty; one that somebody works on is not.
    """
    use_json(json)
    from bridge.fota.bench_status import BoardState, look_at  # noqa: PLC0415

    read, boards = bench.read()
    found = look_at(
        boards,
        hold=_hold,
        journal=journal_file(journal, f"bench {read.name}"),
        ask=ask,
    )
    if json:
        for one in found:
            emit_json({"event": "board-status", "bench": read.name, **one.to_dict()})
    else:
        print_table(_table(found))
    bad = [one for one in found if one.state in {BoardState.MISSING, BoardState.SILENT, BoardState.FAULTY}]
    if bad:
        names = ", ".join(f"{one.board.name} is {one.state}" for one in bad)
        raise BoardNotFoundError(
            f"{len(bad)} of {len(found)} boards cannot be worked: {names}",
            reason="boards-missing",
            hint="Check cables and power; `nrf91-bridge ports` lists what is there.",
        )


def _hold(board: "BenchBoard") -> AbstractContextManager[None]:
    return port_for_us(place_of(board.port, board.serial_number, board.transport), _OWNER)


def _table(found: "list[BoardStatus]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("board", "serial number", "state", "port", "model", "application", "modem", "last job"):
        table.add_column(heading, overflow="fold")
    for one in found:
        identity = one.identity
        table.add_row(
            one.board.name,
            one.board.serial_number,
            Text.assemble(
                (one.state, _COLOURS.get(one.state, "red")), f" by {one.holder}" if one.holder else ""
            ),
            one.port or "-",
            one.board.model or (identity and identity.model) or "-",
            (identity and identity.application_version) or _last_seen(one.last) or "-",
            (identity and (identity.short_modem_version or identity.modem_version)) or "-",
            _told(one.last),
        )
    return table


def _last_seen(entry: "JournalEntry | None") -> str | None:
    """What ran after the last update, for a board that is not asked now."""
    return None if entry is None or entry.kind != "application" else entry.running_version


def _told(entry: "JournalEntry | None") -> str:
    if entry is None:
        return "-"
    at = datetime.fromtimestamp(entry.changed_at).astimezone().strftime("%m-%d %H:%M")
    job = entry.order.job_id or entry.order.name
    if entry.outcome is None:
        done = 100 * (entry.offset_bytes or 0) // entry.size_bytes if entry.size_bytes else 0
        return f"{job}: open, {entry.stage} {done} % ({at})"
    return f"{job}: {entry.outcome}{f' ({entry.reason})' if entry.reason else ''} ({at})"
