"""Writing down one update: each event before the effect that follows it, the end before anybody is told."""

import json
import time
from collections.abc import Mapping
from typing import Final

from bridge import clock
from bridge.errors import BridgeError
from bridge.fota.earlier_run import EFFECT_STAGES, EarlierRun
from bridge.fota.events import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    ImageJudged,
    Notice,
    Outcome,
    Progress,
    StageStarted,
    UpdateEvent,
    Waiting,
)
from bridge.fota.journal_db import JournalDb
from bridge.fota.journal_values import JournalEntry, Order, Report

PROGRESS_INTERVAL_S: Final = 0.5
"""Offsets are written this often: they only tell a story, the board knows better where it is."""


class UpdateRecord:
    """The journal's view of one update while it runs.

    Args:
        db: The journal's file.
        entry: The update as it was before this process.
        run: Which process this is, counted from 1.

    Attributes:
        entry: The update as it was before this process.
    """

    def __init__(self, db: JournalDb, entry: JournalEntry, *, run: int) -> None:
        self.entry = entry
        self._db = db
        self._run = run
        self._offset_at_s = 0.0
        self._waits_for: str | None = None

    @property
    def earlier(self) -> EarlierRun | None:
        """What an earlier process may have done to the board; None if it did not get that far."""
        entry = self.entry
        if entry.reached is None:
            return None
        return EarlierRun(entry.reached, entry.from_version, entry.digest, entry.board_id, entry.changed_at)

    def take_up(self, order: Order) -> None:
        """Note that another process goes on with it."""
        self._write(
            "taken-up",
            {"runs": self._run, "name": order.name or self.entry.order.name},
            f"was in {self.entry.stage}",
        )

    def taken(self, job_version: int) -> None:
        """Note the version at which the cloud has the job, which a job made anew under its name does not have."""
        self._write(None, {"job_version": job_version})

    def take(self, event: UpdateEvent) -> None:
        """Write an event down; what it announces may happen when this returns.

        Raises:
            BenchError: It cannot be written.
        """
        match event:
            case StageStarted(stage=stage):
                members: dict[str, object] = {"stage": stage}
                if stage in EFFECT_STAGES:
                    members["reached"] = stage
                self._write(stage, members)
            case BoardIdentified():
                self._write(None, {"board": event.board, "board_id": event.imei, "route": event.route})
            case ImageAccepted():
                self._write(
                    None,
                    {
                        "kind": event.kind,
                        "name": event.name,
                        "size_bytes": event.size_bytes,
                        "from_version": event.from_version,
                        "to_version": event.to_version,
                    },
                )
            case ImageJudged():
                self._write(None, {"sha256": event.sha256, "digest": event.digest})
            case Progress():
                self._take_progress(event)
            case Notice():
                self._write("note", {}, event.text)
            case Waiting() if event.text != self._waits_for:  # it comes again and again
                self._waits_for = event.text
                self._write("note", {}, event.text)

    def end(
        self,
        finished: Finished,
        error: BridgeError | None = None,
        *,
        details: Mapping[str, str] | None = None,
        report: Report = Report.NONE,
    ) -> None:
        """Write down how it ended; an update whose process was told to stop stays open.

        Args:
            finished: The end.
            error: Why it did not succeed.
            details: What the cloud is going to be told.
            report: Whether the cloud is to be told.

        Raises:
            BenchError: It cannot be written.
        """
        versions: dict[str, object] = {"running_version": finished.running_version}
        if finished.outcome is Outcome.INTERRUPTED:
            self._write("interrupted", versions, finished.message)
            return
        self._write(
            "ended",
            {
                **versions,
                "stage": finished.stage,
                "outcome": finished.outcome,
                "reason": finished.reason,
                "from_version": finished.from_version,
                "to_version": finished.to_version,
                "message": finished.message,
                "exit_code": error.exit_code if error else 0,
                "details": json.dumps(dict(details or {})),
                "report": report,
            },
            f"{finished.outcome}: {finished.message}",
        )

    def reported(self, report: Report, note: str) -> None:
        """Write down that the cloud was told, or does not want to know."""
        self._write("reported", {"report": report}, note)

    def _take_progress(self, event: Progress) -> None:
        now = clock.monotonic()
        if event.done_bytes < event.total_bytes and now - self._offset_at_s < PROGRESS_INTERVAL_S:
            return
        self._offset_at_s = now
        self._write(None, {"offset_bytes": event.done_bytes}, durable=False)

    def _write(
        self,
        what: str | None,
        members: Mapping[str, object],
        note: str | None = None,
        *,
        durable: bool = True,
    ) -> None:
        now = time.time()
        # What is not known now may have been known earlier, and stays.
        known = {"changed_at": now, **{key: value for key, value in members.items() if value is not None}}
        columns = ", ".join(f"{name} = ?" for name in known)
        with self._db.transaction(durable=durable) as connection:
            connection.execute(
                f"UPDATE updates SET {columns} WHERE id = ?",  # noqa: S608 - names of our columns
                (*known.values(), self.entry.number),
            )
            if what is not None:
                connection.execute(
                    "INSERT INTO steps (update_id, run, at, what, note, offset_bytes) SELECT id, ?, ?, ?, ?, offset_bytes"
                    " FROM updates WHERE id = ?",
                    (self._run, now, what, note, self.entry.number),
                )
