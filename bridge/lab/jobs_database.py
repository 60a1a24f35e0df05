"""The Jobs service's SQLite file: every transaction of the store is one of the database, so a killed process loses nothing.

Rows are JSON under a key, a table for each kind; the store works on its memory and reads the file only at the start. In WAL
mode with ``synchronous = NORMAL`` a commit survives the death of the process, and a power cut leaves an older state, never a
broken one (https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from bridge.errors import CloudError, UsageError
from bridge.lab import jobs_rows as rows
from bridge.lab.jobs_tables import JobsTables, Row

APPLICATION_ID: Final = 0x6E52394A
"""In the file's header, so that no other program's database is taken for ours."""
_KINDS: Final = ("counters", "things", "thing_groups", "memberships", "tags", "jobs", "executions")
_MIGRATIONS: Final = (
    "; ".join(
        f"CREATE TABLE {kind} (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID" for kind in _KINDS
    ),
)
"""What makes version n + 1 of the schema out of version n."""


class JobsDatabase:
    """An opened file, held against other processes.

    Args:
        file: Made if it is not there.

    Raises:
        UsageError: Another process has it, it is newer than this program, or it cannot be used (``jobs-database``).
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=0)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._unusable(error) from error
        except UsageError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let the next process in."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, tables: JobsTables) -> None:
        """Put everything into tables; what they hold already, such as things added before the start, is written to the file."""
        try:
            found = {
                kind: [
                    (json.loads(key), json.loads(body))
                    for key, body in self._connection.execute(f"SELECT key, body FROM {kind}")  # noqa: S608 - our own names
                ]
                for kind in _KINDS
            }
        except (sqlite3.Error, ValueError) as error:
            raise self._unusable(error) from error
        before = set(rows.rows_of(tables))
        rows.restore(found, tables)
        tables.changed.clear()
        tables.changed.update(before)
        self.save(tables)

    def save(self, tables: JobsTables) -> None:
        """Write what has changed, all of it or nothing.

        Raises:
            CloudError: It could not be written (``jobs-database``); it is tried again with the next change.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                for row in tables.changed:
                    self._write(row, rows.body_of(tables, row))
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise CloudError(
                f"the jobs in {self._file} cannot be written: {error}", reason="jobs-database"
            ) from error
        tables.changed.clear()

    def _write(self, row: Row, body: object) -> None:
        kind, key = row
        text = json.dumps(key)
        if body is None:
            self._connection.execute(f"DELETE FROM {kind} WHERE key = ?", (text,))  # noqa: S608 - our own names
        else:
            query = f"INSERT OR REPLACE INTO {kind} VALUES (?, ?)"  # noqa: S608 - our own names
            self._connection.execute(query, (text, json.dumps(body)))

    def _prepare(self) -> None:
        run: Callable[[str], sqlite3.Cursor] = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA wal_autocheckpoint = 50")  # pages: the log starts again at 200 KB, and not at 4 MB
        run("BEGIN IMMEDIATE")
        version, identity = (
            run(f"PRAGMA {name}").fetchone()[0] for name in ("user_version", "application_id")
        )
        if version and identity != APPLICATION_ID:
            raise self._unusable("it is a database of another program")
        if version > len(_MIGRATIONS):
            raise self._unusable(f"its schema is version {version}, this program knows {len(_MIGRATIONS)}")
        for migration in _MIGRATIONS[version:]:
            for statement in migration.split("; "):
                run(statement)
        run(f"PRAGMA application_id = {APPLICATION_ID}")
        run(f"PRAGMA user_version = {len(_MIGRATIONS)}")
        run("COMMIT")

    def _unusable(self, why: object) -> UsageError:
        busy = isinstance(why, sqlite3.OperationalError) and "locked" in str(why)
        return UsageError(
            f"the jobs in {self._file} cannot be used: {'another local cloud has them' if busy else why}",
            reason="jobs-database",
            hint="Stop the other local cloud, or choose another --state directory.",
        )
