"""Rows of the journal as values, and a look into a journal that another process may be writing."""

import json
import sqlite3
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from bridge.fota.events import Outcome, Stage
from bridge.fota.journal_db import reading
from bridge.fota.journal_values import JournalEntry, JournalStep, Order, Report

_ORDER_COLUMNS: Final = {"sha256": "order_sha256"}
_ORDER_MEMBERS: Final = tuple(field.name for field in fields(Order))
_PLAIN_MEMBERS: Final = (
    *(
        "started_at",
        "changed_at",
        "runs",
        "route",
        "board",
        "board_id",
        "kind",
        "size_bytes",
        "sha256",
        "digest",
    ),
    *("offset_bytes", "from_version", "to_version", "running_version", "reason", "message", "exit_code"),
)


def entry_of(row: sqlite3.Row) -> JournalEntry:
    """An update as it stands in the table."""
    order: dict[str, Any] = {name: row[_ORDER_COLUMNS.get(name, name)] for name in _ORDER_MEMBERS}
    plain: dict[str, Any] = {name: row[name] for name in _PLAIN_MEMBERS}
    return JournalEntry(
        number=row["id"],
        order=Order(**order),
        stage=Stage(row["stage"]),
        reached=Stage(row["reached"]) if row["reached"] else None,
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        details=json.loads(row["details"] or "{}"),
        report=Report(row["report"]),
        **plain,
    )


def read_history(file: Path, limit: int) -> list[tuple[JournalEntry, tuple[JournalStep, ...]]]:
    """The newest updates of a journal with their stories, newest first; the journal may be in use.

    Raises:
        UsageError: There is no such file.
        BenchError: It is no journal, or damaged.
    """
    with reading(file) as connection:
        connection.execute("BEGIN")  # one moment, however long it takes
        updates = connection.execute("SELECT * FROM updates ORDER BY id DESC LIMIT ?", (limit,)).fetchall()
        return [(entry_of(row), _steps(connection, row["id"])) for row in updates]


def _steps(connection: sqlite3.Connection, number: int) -> tuple[JournalStep, ...]:
    rows = connection.execute(
        "SELECT run, at, what, note, offset_bytes FROM steps WHERE update_id = ? ORDER BY id", (number,)
    )
    return tuple(JournalStep(*row) for row in rows)
