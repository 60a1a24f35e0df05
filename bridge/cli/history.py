"""``nrf91-bridge history``: what was updated on this host, how it ended, and what is still open."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from bridge.cli.journals import default_journals
from bridge.cli.options import JournalOption, JsonOption
from bridge.cli.output import console, emit_json, print_table, use_json
from bridge.errors import UsageError

if TYPE_CHECKING:
    from bridge.fota.journal_values import JournalEntry, JournalStep

_COLOURS = {"succeeded": "green", "failed": "red", "rejected": "red"}
_SIDE_FILES = ("", "-wal", "-shm")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history")(history)


def history(
    journal: JournalOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many updates to show, the newest ones.")] = 20,
    move_aside: Annotated[
        bool,
        typer.Option(
            "--move-aside",
            help="Rename --journal, damaged or not, so that the next command begins a new one.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show the journal: every update on this host, newest last; also while a command writes it."""
    use_json(json)
    if move_aside:
        _move_aside(journal, json=json)
        return
    from bridge.fota.journal_rows import read_history  # noqa: PLC0415

    files = [journal] if journal is not None else default_journals()
    found = [story for file in files for story in read_history(file, limit)]
    found = sorted(found, key=lambda story: story[0].changed_at)[-limit:]
    if json:
        for entry, steps in found:
            emit_json({"event": "update", **entry.to_dict(), "steps": [step.to_dict() for step in steps]})
    elif found:
        print_table(_table(found))
    else:
        console.print("Nothing was updated yet.")


def _table(found: "list[tuple[JournalEntry, tuple[JournalStep, ...]]]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("last change", "job or file", "board", "versions", "outcome", "why or where"):
        table.add_column(heading, overflow="fold")
    for entry, _ in found:
        outcome = entry.outcome or "open"
        table.add_row(
            datetime.fromtimestamp(entry.changed_at).astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            entry.order.job_id or entry.order.name,
            entry.order.place,
            f"{entry.from_version or '?'} -> {entry.to_version or '?'}",
            Text.assemble((outcome, _COLOURS.get(outcome, "yellow")), _told(entry)),
            entry.reason or ("" if entry.outcome else f"in stage {entry.stage}, run {entry.runs}"),
        )
    return table


def _told(entry: "JournalEntry") -> str:
    return {"due": ", not told yet", "gone": ", job gone"}.get(entry.report, "")


def _move_aside(journal: Path | None, *, json: bool) -> None:
    from bridge.fota.journal_db import lock_journal  # noqa: PLC0415

    if journal is None or not journal.exists():
        raise UsageError("--move-aside needs a --journal that exists", reason="no-journal")
    mark = f".aside-{time.strftime('%Y%m%d-%H%M%S')}"
    with lock_journal(journal, "nrf91-bridge history"):
        target = journal.with_name(f"{journal.name}{mark}")
        for side in _SIDE_FILES:
            part = journal.with_name(f"{journal.name}{side}")
            if part.exists():
                part.rename(f"{target}{side}")
    if json:
        emit_json({"event": "moved-aside", "journal": str(journal), "to": str(target)})
    else:
        console.print(f"the journal is now {target}", soft_wrap=True)
