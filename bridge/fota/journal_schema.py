"""The journal's tables, and how a journal of an earlier release is brought up to date.

The version is SQLite's ``user_version``: the number of steps of :data:`MIGRATIONS` that were done. A step that was
released is never changed; what is new is a new step at the end.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bridge.errors import BenchError
from bridge.fota.journal_errors import corrupt_error, shown

APPLICATION_ID: Final = 0x6E52_3931
"""``nR91``: tells a journal from other programs' SQLite files."""

_UPDATES_AND_STEPS: Final = (
    """
    CREATE TABLE updates (
        id INTEGER PRIMARY KEY,
        thing TEXT,
        job_id TEXT,
        execution_number INTEGER,
        queued_at INTEGER,
        job_version INTEGER,
        place TEXT NOT NULL,
        name TEXT NOT NULL,
        order_sha256 TEXT,
        started_at REAL NOT NULL,
        changed_at REAL NOT NULL,
        runs INTEGER NOT NULL,
        stage TEXT NOT NULL,
        reached TEXT,
        route TEXT,
        board TEXT,
        board_id TEXT,
        kind TEXT,
        size_bytes INTEGER,
        sha256 TEXT,
        digest TEXT,
        offset_bytes INTEGER,
        from_version TEXT,
        to_version TEXT,
        running_version TEXT,
        outcome TEXT,
        reason TEXT,
        message TEXT,
        exit_code INTEGER,
        details TEXT,
        report TEXT NOT NULL
    )
    """,
    "CREATE INDEX updates_by_job ON updates (thing, job_id, execution_number)",
    """
    CREATE TABLE steps (
        id INTEGER PRIMARY KEY,
        update_id INTEGER NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
        run INTEGER NOT NULL,
        at REAL NOT NULL,
        what TEXT NOT NULL,
        note TEXT,
        offset_bytes INTEGER
    )
    """,
    "CREATE INDEX steps_by_update ON steps (update_id)",
    "CREATE TABLE ballast (data BLOB)",
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (_UPDATES_AND_STEPS,)


def check_identity(connection: sqlite3.Connection, file: Path | None, newest: int = len(MIGRATIONS)) -> int:
    """Make sure that this is a journal which this release understands.

    Returns:
        Its schema version; 0 for a file without anything in it.

    Raises:
        BenchError: It is another program's database or damaged (``journal-corrupt``), or made by a later release
            (``journal-newer``).
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    identity = int(connection.execute("PRAGMA application_id").fetchone()[0])
    empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and identity != APPLICATION_ID:
        raise corrupt_error(file, "it is another program's database")
    if version > newest:
        raise BenchError(
            f"{shown(file)} was written by a later release (schema {version}; this one knows up to {newest})",
            reason="journal-newer",
            hint="Update nrf91-bridge, or choose another file with --journal.",
        )
    return version


def migrate(
    connection: sqlite3.Connection,
    file: Path | None,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> None:
    """Bring a journal to the newest schema; each step is done whole or not at all.

    Args:
        connection: In autocommit mode.
        file: For messages.
        migrations: Statements of each step.

    Raises:
        BenchError: See :func:`check_identity`.
        sqlite3.Error: It cannot be written.
    """
    version = check_identity(connection, file, len(migrations))
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
