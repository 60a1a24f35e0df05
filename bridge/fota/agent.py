"""Jobs in, updates run, statuses out: what Nordic's AWS FOTA library does on the device, for one board on a cable."""

import logging
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from bridge import clock
from bridge.cloud import TAKEN_OVER, JobDocument, JobExecution, JobGoneError, JobStatus, parse_document
from bridge.errors import BenchError, BridgeError, InterruptedUpdateError
from bridge.fota.earlier_run import EarlierRun
from bridge.fota.events import (
    Finished,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
)
from bridge.fota.job_queue import JobQueue, Jobs
from bridge.fota.job_result import STATUS, JobResult, result_from
from bridge.fota.journal import Journal
from bridge.fota.journal_record import UpdateRecord
from bridge.fota.journal_values import Report
from bridge.fota.outage import GO_ON, canceled, through_outage
from bridge.fota.outcome import outcome_of
from bridge.fota.policy import Expectations
from bridge.fota.reconcile import Reconciler, order_of
from bridge.fota.reporter import JobReporter
from bridge.fota.route import RouteOpener
from bridge.fota.status_details import StatusDetails
from bridge.fota.update import Update
from bridge.fota.update_options import UpdateOptions
from bridge.fota.window import Admission
from bridge.image import ImageSource

_log = logging.getLogger(__name__)


SourceMaker = Callable[[JobDocument, Callable[[], str]], ImageSource]
"""Starts the download that a document names; the second argument fetches a fresh URL."""

EventSink = Callable[[JobExecution, UpdateEvent], None]


class Agent:
    """Works the jobs of one thing on one board, one after the other.

    Args:
        jobs: Jobs client of the thing.
        open_route: Opens the board of the thing.
        make_source: Starts a download.
        options: How updates are done; what the document says is added for each job.
        on_event: Told about every event of every update.
        admission: When jobs may be taken; one that was taken is brought to its end at any time.
        journal: Where updates are written down; without one they are forgotten with the process.
        thing: The thing's name, for the journal.
        place: Where its board is, for the journal.
    """

    def __init__(
        self,
        jobs: Jobs,
        open_route: RouteOpener,
        make_source: SourceMaker,
        *,
        options: UpdateOptions | None = None,
        on_event: EventSink = lambda _execution, _event: None,
        admission: Admission | None = None,
        journal: Journal | None = None,
        thing: str = "",
        place: str = "",
    ) -> None:
        self._jobs = jobs
        self._open_route = open_route
        self._make_source = make_source
        self._options = options or UpdateOptions()
        self._on_event = on_event
        self._is_shown = True
        self._running: Update | None = None
        self._journal = journal or Journal()
        self._thing = thing
        self._place = place
        self._stop = clock.event()
        self._reconciler = Reconciler(jobs, self._journal, open_route, thing, self._stop)
        self._queue = JobQueue(
            jobs, self._reconciler.run, self._is_known, admission or Admission(), self._show
        )

    def stop(self) -> None:
        """End :meth:`run` soon; may be called from any thread.

        An update that was not scheduled yet is stopped, and its job stays IN_PROGRESS, to be taken up again by the
        next run; one that was scheduled is brought to its end.
        """
        self._stop.set()
        self._jobs.wake()
        if (update := self._running) is not None:
            update.stop(_told_to_stop())

    def run(self, *, once: bool = False) -> JobResult | None:
        """Work jobs until told to stop.

        Args:
            once: Return after the first job.

        Returns:
            The result of the last job, None if there was none.

        Raises:
            CloudError: The broker will never accept us (certificates, client id).
            BenchError: The journal cannot be written.
            InterruptedUpdateError: Told to stop while the end of a job could not be reported; it is in the journal.
        """
        last: JobResult | None = None
        while not self._stop.is_set():
            execution = self._queue.next()
            if execution is None:
                continue
            last = self.work(execution)
            if once or self._stop.is_set():
                break
        return last

    def work(self, execution: JobExecution) -> JobResult:
        """Take one job, run its update, and tell the cloud how it ended.

        One that ended in an earlier run, or whose report got lost, is only reported.

        Raises:
            BenchError: The journal cannot be written; nothing was done.
        """
        order = order_of(execution, self._thing, self._place)
        known = self._journal.find_job(order)
        if known is not None and known.outcome in STATUS:
            self._reconciler.report(known, execution)
            result = result_from(known, execution)
            self._show(execution, result.finished)
            return result
        record = self._journal.begin(order)
        self._running = None
        reporter = JobReporter(self._jobs, execution, self._stop, on_gone=self._give_up)
        reporter.start()
        try:
            result = self._update(execution, reporter, record)
            self._end(result, reporter, record)
        finally:
            reporter.close()
        return result

    def _end(self, result: JobResult, reporter: JobReporter, record: UpdateRecord) -> None:
        """Write down how it ended, then tell the cloud, then write down that it was told."""
        status = STATUS.get(result.finished.outcome)
        report = Report.DUE if status else Report.GONE
        try:
            record.end(result.finished, result.error, details=result.details, report=report)
        except BenchError as error:
            _log.warning(
                "the end of job %s is not in the journal: %s", result.execution.job_id, error.message
            )
        if isinstance(result.error, UpdateCanceledError) and result.error.reason == TAKEN_OVER:
            self._queue.leave_to_others(result.execution)
        if status is not None:
            self._tell(status, result, reporter, record)

    def _tell(
        self, status: JobStatus, result: JobResult, reporter: JobReporter, record: UpdateRecord
    ) -> None:
        try:
            reporter.finish(status, result.details)
            report, note = Report.TAKEN, str(status)
        except JobGoneError as gone:
            _log.warning(
                "job %s ended %s here, but the service says: %s",
                result.execution.job_id,
                status,
                gone.message,
            )
            report, note = Report.GONE, gone.message
        try:
            record.reported(report, note)
        except BenchError as error:
            _log.warning(
                "the report of job %s is not in the journal: %s", result.execution.job_id, error.message
            )

    def _is_known(self, execution: JobExecution) -> bool:
        known = self._journal.find_job(order_of(execution, self._thing, self._place))
        return known is not None and known.reason != TAKEN_OVER

    def _update(self, execution: JobExecution, reporter: JobReporter, record: UpdateRecord) -> JobResult:
        earlier = record.earlier or _earlier_in_cloud(execution)
        # Until the board was asked, the cloud keeps what it knows of an earlier run: it is all there is without a journal.
        details = StatusDetails(execution.status_details if earlier else {})
        fetch = StageStarted(Stage.FETCH)
        details.take(fetch)
        try:
            current = through_outage(lambda: reporter.milestone(details.to_dict()), self._jobs, self._stop)
            record.taken(current.version_number)
            document = parse_document(current.document)
        except BridgeError as error:
            error.stage = error.stage or Stage.FETCH
            return self._ended(execution, error, details)
        update = self._prepare(execution, document, reporter, details, record, earlier)
        self._running = update
        with closing(iter(update)) as events:
            for event in events:
                if details.take(event) and not isinstance(event, Finished):
                    reporter.progress(details.to_dict())
                self._show(execution, event)
                if isinstance(event, Finished):
                    return JobResult(execution, event, details.to_dict(), update.error)
                self._stop_if_unwanted(update, reporter)
        raise AssertionError("an update ends with Finished")

    def _show(self, execution: JobExecution, event: UpdateEvent) -> None:
        """Whoever looks on must not end an update: a pipe that nobody reads any more, or a full disk under its output."""
        try:
            self._on_event(execution, event)
        except Exception:  # noqa: BLE001 - whatever it is, it is not the update
            if self._is_shown:
                _log.exception("what happens cannot be shown any more; the work goes on")
            self._is_shown = False
        else:
            self._is_shown = True

    def _give_up(self, gone: JobGoneError) -> None:
        if (update := self._running) is not None:
            update.stop(canceled(gone))

    def _stop_if_unwanted(self, update: Update, reporter: JobReporter) -> None:
        if reporter.gone is not None:
            update.stop(canceled(reporter.gone))
        elif self._stop.is_set():
            update.stop(_told_to_stop())

    def _prepare(  # noqa: PLR0917 - the parts of one job
        self,
        execution: JobExecution,
        document: JobDocument,
        reporter: JobReporter,
        details: StatusDetails,
        record: UpdateRecord,
        earlier: EarlierRun | None,
    ) -> Update:
        def fresh_url() -> str:
            try:
                return parse_document(self._jobs.describe(execution.job_id).document).url
            except JobGoneError as error:
                raise canceled(error) from error

        def gate(stage: Stage) -> None:
            through_outage(
                lambda: reporter.milestone({**details.to_dict(), "stage": stage}), self._jobs, self._stop
            )

        options = replace(
            self._options,
            expected=Expectations(document.operation, document.fw_version, document.board, document.requires),
            earlier=earlier,
            image_index=document.image_index,
        )
        source = self._make_source(document, fresh_url)
        return Update(source, self._open_route, options=options, commit_gate=gate, record=record.take)

    def _ended(self, execution: JobExecution, error: BridgeError, details: StatusDetails) -> JobResult:
        """An end before the update line began: no job any more, or a document that makes no sense."""
        finished = Finished(Stage.FETCH, outcome_of(error), error.reason, error.message, None, None, None)
        details.take(finished)
        self._show(execution, finished)
        return JobResult(execution, finished, details.to_dict(), error)


def _earlier_in_cloud(execution: JobExecution) -> EarlierRun | None:
    in_progress = execution.status is JobStatus.IN_PROGRESS
    return EarlierRun.from_details(execution.status_details) if in_progress else None


def _told_to_stop() -> InterruptedUpdateError:
    return InterruptedUpdateError("told to stop", hint=GO_ON)
