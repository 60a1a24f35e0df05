"""After a crash: what the journal has open is compared with the cloud and the board, and settled.

A job that the service still has IN_PROGRESS is offered again as the next one and goes on there. What is settled here is the
rest: an outcome that nobody was told, and a job that is gone, of which something may be left on the board.
"""

import logging
from collections.abc import Iterator
from typing import Final

from bridge import clock
from bridge.board import BoardIdentity, BootReport
from bridge.cloud import JobExecution, JobGoneError
from bridge.dfu import TransferImage
from bridge.errors import BoardRefusedError, BridgeError, VerificationError
from bridge.fota.earlier_run import (
    EFFECT_STAGES,
    EarlierRun,
    Position,
    find_position,
    not_taken_error,
    patient,
)
from bridge.fota.events import Finished, Outcome, UpdateCanceledError, UpdateEvent
from bridge.fota.job_result import STATUS
from bridge.fota.journal import Journal
from bridge.fota.journal_record import UpdateRecord
from bridge.fota.journal_values import JournalEntry, Order, Report
from bridge.fota.leftovers import discard, tell_leftover
from bridge.fota.outcome import outcome_of
from bridge.fota.proof import WantedImage
from bridge.fota.proving import Proving
from bridge.fota.reporter import JobReporter, JobUpdater
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead, ImageKind

_log = logging.getLogger(__name__)

_CONFIRM_S: Final = 5.0
"""How long an image may take to confirm itself."""


def order_of(execution: JobExecution, thing: str, place: str) -> Order:
    """What the journal knows a job execution by."""
    return Order(
        place,
        thing=thing,
        job_id=execution.job_id,
        execution_number=execution.execution_number,
        queued_at=execution.queued_at,
        job_version=execution.version_number,
    )


class Reconciler:
    """Settles what earlier processes left of the jobs of one thing.

    Args:
        jobs: Jobs client of the thing.
        journal: The journal.
        open_route: Opens the thing's board.
        thing: Its name.
        stop: Set when the process shall end.
    """

    def __init__(
        self, jobs: JobUpdater, journal: Journal, open_route: RouteOpener, thing: str, stop: clock.Event
    ) -> None:
        self._jobs = jobs
        self._journal = journal
        self._open_route = open_route
        self._thing = thing
        self._stop = stop

    def run(self) -> bool:
        """Settle everything that can be settled now.

        Returns:
            Whether nothing is left: a board that is not there, for example, is waited for.

        Raises:
            CloudError: The cloud cannot be reached.
            InterruptedUpdateError: Told to stop.
        """
        settled = [self._settle(entry) for entry in self._journal.unsettled_jobs(self._thing)]
        return all(settled)

    def report(self, entry: JournalEntry, execution: JobExecution) -> Report:
        """Tell the cloud an outcome that was reached before, and note what it said.

        Args:
            entry: The update.
            execution: Its job execution as the service has it.

        Raises:
            CloudError: The broker will never accept us again.
            InterruptedUpdateError: Told to stop before the cloud could be reached.
        """
        assert entry.outcome is not None
        status = STATUS[entry.outcome]
        _log.info("job %s ended %s in an earlier run; telling the cloud", execution.job_id, status)
        record = self._journal.record_of(entry)
        try:
            JobReporter(self._jobs, execution, self._stop).finish(status, entry.details)
        except JobGoneError as error:
            record.reported(Report.GONE, error.message)
            return Report.GONE
        record.reported(Report.TAKEN, status)
        return Report.TAKEN

    def _settle(self, entry: JournalEntry) -> bool:
        execution = self._seen(entry)
        if entry.outcome is not None:
            if execution is not None:
                self.report(entry, execution)
            else:
                self._ask_whether_told(entry)
            return True
        if execution is not None:
            return True  # it is offered again
        record = self._journal.record_of(entry)
        try:
            self._close(entry, record)
        except BridgeError as error:
            _log.warning(
                "job %s is gone; what an earlier run left of it on the board is looked at later: %s",
                entry.order.job_id,
                error.message,
            )
            return False
        return True

    def _ask_whether_told(self, entry: JournalEntry) -> None:
        """The execution is gone: because its end was reported, or because nobody wants it any more."""
        order, outcome = entry.order, entry.outcome
        assert order.job_id is not None
        assert outcome is not None
        told = self._jobs.has_taken(order.job_id, order.execution_number or 1, STATUS[outcome], entry.details)
        record = self._journal.record_of(entry)
        if told:
            record.reported(Report.TAKEN, f"{STATUS[outcome]}, before an earlier run ended")
        else:
            record.reported(Report.GONE, "the service has no such execution open")

    def _seen(self, entry: JournalEntry) -> JobExecution | None:
        """The entry's execution, if the service still has it open."""
        assert entry.order.job_id is not None
        try:
            execution = self._jobs.describe(entry.order.job_id)
        except JobGoneError:
            return None
        if execution.status.terminal:
            return None
        same = self._journal.find_job(order_of(execution, self._thing, entry.order.place))
        return execution if same is not None and same.number == entry.number else None

    def _close(self, entry: JournalEntry, record: UpdateRecord) -> None:
        earlier = record.earlier
        gone = UpdateCanceledError(f"job {entry.order.job_id} is gone; an earlier run of it was cut off")
        if earlier is None or earlier.stage not in EFFECT_STAGES or entry.kind is None:
            gone.args = (f"{gone.message} before anything was written",)
            _close_entry(entry, record, gone, entry.from_version)
            return
        head = ImageHead(ImageKind(entry.kind), entry.order.name, entry.to_version)
        with patient(self._open_route, earlier, self._stop.is_set)(head) as route:
            before = route.identify()
            _LeftBoard(entry, record, earlier, route, before).settle(gone)


class _LeftBoard:
    """An opened board on which an update of a job that is gone was cut off."""

    def __init__(
        self,
        entry: JournalEntry,
        record: UpdateRecord,
        earlier: EarlierRun,
        route: Route,
        before: BoardIdentity,
    ) -> None:
        assert entry.kind is not None
        self._entry = entry
        self._record = record
        self._earlier = earlier
        self._route = route
        self._kind = ImageKind(entry.kind)
        self._proof = route.proof(self._kind, before)
        self._position = find_position(earlier, self._proof, before, entry.to_version)
        self._running = self._proof.version_of(before)

    def settle(self, gone: BridgeError) -> None:
        """Prove what was installed already; invalidate what was not, or bring it to its end if the board keeps it."""
        error: BridgeError | None = None
        if self._position is Position.RUNNING:
            error = self._prove(self._proving.confirm(BootReport((), 0.0), 0.0))
        else:
            target = self._route.target(self._kind)
            error = (
                not_taken_error(self._earlier, self._kind) if self._position is Position.NOT_TAKEN else gone
            )
            if target.in_place:
                error = _unfinished()
            else:
                left = discard(target, self._image)
                if isinstance(left, BoardRefusedError) and self._position is Position.WAITING:
                    error = self._prove(self._proving.reboot(target, _CONFIRM_S))
                else:
                    tell_leftover(error, left, in_place=False)
        _close_entry(self._entry, self._record, error, self._running)

    @property
    def _proving(self) -> Proving:
        wanted = WantedImage(self._entry.to_version, self._earlier.digest)
        return Proving(self._route, self._proof, wanted, self._saw)

    def _prove(self, events: Iterator[UpdateEvent]) -> VerificationError | None:
        try:
            for event in events:
                self._record.take(event)
        except VerificationError as failure:
            return failure
        return None

    def _saw(self, version: str | None) -> None:
        self._running = version

    @property
    def _image(self) -> TransferImage:
        return TransferImage(self._kind, self._entry.size_bytes or 0, self._entry.sha256)


def _unfinished() -> VerificationError:
    return VerificationError(
        "what the board ran is partly overwritten: the job that did it was cut off, and is gone",
        reason="left-unfinished",
        hint="Update the board again.",
    )


def _close_entry(
    entry: JournalEntry, record: UpdateRecord, error: BridgeError | None, running: str | None
) -> None:
    outcome = Outcome.SUCCEEDED if error is None else outcome_of(error)
    message = "the board runs the image; the job that ordered it is gone" if error is None else error.message
    finished = Finished(
        entry.stage,
        outcome,
        None if error is None else error.reason,
        message,
        entry.from_version,
        entry.to_version,
        running,
    )
    record.end(finished, error, report=Report.GONE)
    _log.warning("job %s: %s", entry.order.job_id, message)
