"""The journal's SQLite file: opened by one process, written durably, refused before it can hurt when it cannot be used.

Source: https://www.sqlite.org/wal.html, and ``PRAGMA synchronous``: in WAL mode only FULL makes a commit survive a power cut
of the host.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bridge import clock
from bridge.errors import UsageError
from bridge.fota.holder_lock import HolderLock
from bridge.fota.journal_errors import corrupt_error, journal_error, shown, unusable_error
from bridge.fota.journal_schema import MIGRATIONS, check_identity, migrate

BALLAST_BYTES: Final = 256 * 1024
"""Room that an update has from its beginning on, so that the disk does not get full under it."""
_SHARERS: Final = 16
"""How many updates the ballast is enough for."""
_PRAGMAS: Final = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "wal_autocheckpoint = 50",  # pages: the log starts again before it has used up the ballast
)


class JournalDb:
    """An opened journal file; thread-safe.

    Args:
        file: Made when it does not exist; None for one in memory.
        owner: Shown to processes that come later, such as ``nrf91-bridge run``.

    Raises:
        BenchError: ``journal-held`` (the holder is named), ``journal-unusable``, ``journal-full``,
            ``journal-corrupt`` or ``journal-newer``. The file is as it was.
    """

    def __init__(self, file: Path | None, owner: str) -> None:
        self.file = file
        self._mutex = threading.RLock()
        self._sharers, self._reserved_s = _SHARERS, 0.0
        self._lock = None if file is None else lock_journal(file, owner)
        try:
            self._connection = _connect(file)
        except BaseException:
            self._release()
            raise

    def close(self) -> None:
        """Close the file and let the next process in; may be called twice."""
        with self._mutex:
            self._connection.close()
            self._release()

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Do everything in the block, or nothing of it.

        Args:
            durable: Wait until the disk has it. What only tells a story need not hold up all the others; it gets there
                with the next transaction that is durable.

        Raises:
            BenchError: It could not be written.
        """
        with self._mutex, self._errors(), self._synchronous("FULL" if durable else "NORMAL"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:  # SQLite has rolled back already when the disk is full
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise journal_error(self.file, error) from error

    @contextmanager
    def _synchronous(self, mode: str) -> Iterator[None]:
        """FULL is what the connection has anyway."""
        if mode == "FULL":
            yield
            return
        self._connection.execute(f"PRAGMA synchronous = {mode}")
        try:
            yield
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")

    def rows(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """Read.

        Raises:
            BenchError: It could not be read.
        """
        with self._mutex, self._errors():
            return self._connection.execute(query, values).fetchall()

    def reserve(self) -> None:
        """Have the file system give us what one update will write, before it begins.

        Those that waited for each other share one reservation.

        Raises:
            BenchError: There is no room (``journal-full``).
        """
        asked_s = clock.monotonic()
        with self._mutex:
            self._sharers += 1
            if self._sharers < _SHARERS and self._reserved_s > asked_s:
                return
            self._write_ballast()
            self._sharers, self._reserved_s = 0, clock.monotonic()

    def _write_ballast(self) -> None:
        with self.transaction() as connection:
            connection.execute("INSERT INTO ballast VALUES (zeroblob(?))", (BALLAST_BYTES,))
        with self.transaction() as connection:
            connection.execute("DELETE FROM ballast")
        self.rows(
            "PRAGMA wal_checkpoint(PASSIVE)"
        )  # later commits use the log's file again from its beginning

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


def lock_journal(file: Path, owner: str) -> HolderLock:
    """Make sure that no other process works with a journal.

    Raises:
        BenchError: One does (``journal-held``), or the directory cannot be used (``journal-unusable``).
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return HolderLock(
            file.with_name(f"{file.name}.lock"),
            shown(file),
            owner=owner,
            reason="journal-held",
            hint="Stop that process, or give this one a journal of its own with --journal.",
        )
    except OSError as error:
        raise unusable_error(file, error) from error


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """A journal to be read only, also while another process writes it.

    Raises:
        UsageError: There is none (``no-journal``).
        BenchError: It cannot be read.
    """
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"there is no journal {file}", reason="no-journal") from error
    except OSError as error:
        raise unusable_error(file, error) from error
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            check_identity(connection, file)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise journal_error(file, error) from error


def _connect(file: Path | None) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            check_identity(connection, file)
            _check_whole(connection, file)
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
            migrate(connection, file, MIGRATIONS)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise journal_error(file, error) from error
    return connection


def _check_whole(connection: sqlite3.Connection, file: Path | None) -> None:
    answer: Any = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if answer != "ok":
        raise corrupt_error(file, str(answer).splitlines()[-1])
