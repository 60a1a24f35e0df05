"""The journal: every job and update of one process after the other, written before each effect, read after a crash.

One process works with a journal at a time. What it says is never guessed: an update whose process died has no outcome
until a later one has looked at the board and at the cloud (:mod:`bridge.fota.reconcile`).
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

from bridge.fota.events import Outcome, Stage
from bridge.fota.journal_db import JournalDb
from bridge.fota.journal_record import UpdateRecord
from bridge.fota.journal_rows import entry_of
from bridge.fota.journal_values import JournalEntry, Order, Report

KEPT_UPDATES: Final = 5_000
"""Older ones that are settled are forgotten, so that the file does not grow for ever."""

SUPERSEDED: Final = "superseded"


class Journal:
    """An opened journal; use as a context manager.

    Args:
        file: Made when it does not exist; None for one that ends with the process.
        owner: Shown to processes that find it in use, such as ``nrf91-bridge run``.
        kept_updates: Settled updates before so many are forgotten.

    Raises:
        BenchError: It cannot be used: ``journal-held`` (the holder is named), ``journal-unusable``, ``journal-full``,
            ``journal-corrupt``, ``journal-newer``. It was not changed.
    """

    def __init__(
        self, file: Path | None = None, *, owner: str = "nrf91-bridge", kept_updates: int = KEPT_UPDATES
    ) -> None:
        self._kept_updates = kept_updates
        self._db = JournalDb(file, owner)
        try:
            self._db.reserve()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, order: Order) -> UpdateRecord:
        """Enter an update, or take up again the one of the same order that has no outcome yet.

        Room for all that it will write is made first, so that a full disk is noticed before the board is touched.

        Raises:
            BenchError: It cannot be written.
        """
        self._db.reserve()
        now = time.time()
        found = self.find_job(order) if order.job_id else self._find_unfinished_file(order)
        if found is not None and found.outcome is None:
            record = UpdateRecord(self._db, found, run=found.runs + 1)
            record.take_up(order)
            return record
        with self._db.transaction() as connection:
            cursor = connection.execute(
                "INSERT INTO updates (thing, job_id, execution_number, queued_at, job_version, place, name, order_sha256,"
                " started_at, changed_at, runs, stage, report) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)",
                (
                    *(order.thing, order.job_id, order.execution_number, order.queued_at, order.job_version),
                    *(order.place, order.name, order.sha256, now, now, Stage.QUEUED, Report.NONE),
                ),
            )
            number = cursor.lastrowid
            assert number is not None
            if order.job_id is None:
                connection.execute(
                    "UPDATE updates SET outcome = ?, reason = ?, message = ? WHERE job_id IS NULL AND outcome IS NULL"
                    " AND place = ? AND id != ?",
                    (
                        Outcome.INTERRUPTED,
                        SUPERSEDED,
                        "another file was begun on this board",
                        order.place,
                        number,
                    ),
                )
            connection.execute(
                "DELETE FROM updates WHERE id <= ? AND outcome IS NOT NULL AND report != ?",
                (number - self._kept_updates, Report.DUE),
            )
        return UpdateRecord(self._db, self.entry(number), run=1)

    def entry(self, number: int) -> JournalEntry:
        """One update by its number."""
        return next(self._entries("id = ?", number))

    def record_of(self, entry: JournalEntry) -> UpdateRecord:
        """Go on writing about an update."""
        return UpdateRecord(self._db, entry, run=entry.runs)

    def find_job(self, order: Order) -> JournalEntry | None:
        """The last entry of a job execution, if it is one of the same job and not of an earlier one of that name."""
        found = next(
            self._entries(
                "thing IS ? AND job_id = ? AND execution_number = ? ORDER BY id DESC LIMIT 1",
                order.thing,
                order.job_id,
                order.execution_number,
            ),
            None,
        )
        return found if found is not None and _same_execution(found.order, order) else None

    def unsettled_jobs(self, thing: str) -> list[JournalEntry]:
        """Jobs of a thing without an outcome, or whose outcome was not told yet; oldest first."""
        found = self._entries(
            "thing = ? AND job_id IS NOT NULL AND (outcome IS NULL OR report = ?) ORDER BY id",
            thing,
            Report.DUE,
        )
        return list(found)

    def _find_unfinished_file(self, order: Order) -> JournalEntry | None:
        if order.sha256 is None:
            return None
        return next(
            self._entries(
                "job_id IS NULL AND outcome IS NULL AND place = ? AND order_sha256 = ? ORDER BY id DESC LIMIT 1",
                order.place,
                order.sha256,
            ),
            None,
        )

    def _entries(self, where: str, *values: object) -> Iterator[JournalEntry]:
        # The condition is ours; what came from outside is among the values.
        return map(entry_of, self._db.rows(f"SELECT * FROM updates WHERE {where}", values))  # noqa: S608


def _same_execution(known: Order, offered: Order) -> bool:
    """A job can be deleted and made again under its name; its queue time is then another one, or its version starts anew."""
    if None not in (known.queued_at, offered.queued_at) and known.queued_at != offered.queued_at:
        return False
    return (offered.job_version or 0) >= (known.job_version or 0)
