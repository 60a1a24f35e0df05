"""Jobs in, updates run, statuses out: what Nordic's AWS FOTA library does on the device, for one board on a cable."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

from bridge.cloud import JobDocument, JobExecution, JobGoneError, JobStatus, parse_document
from bridge.errors import BridgeError, CloudError, InterruptedUpdateError
from bridge.fota.events import (
    Finished,
    Outcome,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
    Waiting,
)
from bridge.fota.outcome import outcome_of
from bridge.fota.policy import Expectations
from bridge.fota.reporter import JobReporter, JobUpdater
from bridge.fota.route import RouteOpener
from bridge.fota.status_details import StatusDetails
from bridge.fota.update import Update
from bridge.fota.update_options import UpdateOptions
from bridge.fota.window import Admission
from bridge.image import ImageSource

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_STATUS: Final = {
    Outcome.SUCCEEDED: JobStatus.SUCCEEDED,
    Outcome.FAILED: JobStatus.FAILED,
    Outcome.REJECTED: JobStatus.REJECTED,
}
_STAGES_AFTER_SCHEDULING: Final = {
    Stage.TRANSFER,  # of an image that is written in place: nothing is asked any more behind its gate
    Stage.SCHEDULE,
    Stage.REBOOT,
    Stage.VERIFY,
    Stage.CONFIRM,
}
RETRY_S: Final = 5.0
"""Pause before a cloud that could not be reached is asked again; a reconnect ends it early."""
IDLE_WAIT_S: Final = 60.0
"""Without a notification the next job is asked for this often; a notification can get lost (QoS 1 or not)."""
GATE_TIMEOUT_S: Final = 600.0
"""How long an update that is ready to be scheduled waits for a cloud that cannot be reached, before it is given up."""


class Jobs(JobUpdater, Protocol):
    """The Jobs client as the agent needs it."""

    def next_job(self) -> JobExecution | None:
        """The execution at the head of the queue."""
        ...

    def wake(self) -> None:
        """End a ``wait_for_job_change``."""
        ...


SourceMaker = Callable[[JobDocument, Callable[[], str]], ImageSource]
"""Starts the download that a document names; the second argument fetches a fresh URL."""

EventSink = Callable[[JobExecution, UpdateEvent], None]


@dataclass(frozen=True)
class JobResult:
    """How one job ended here.

    Attributes:
        execution: The job execution as it was taken.
        finished: The last event of its update.
        details: The ``statusDetails`` that go with it.
        error: Why it did not succeed, if it did not.
    """

    execution: JobExecution
    finished: Finished
    details: Mapping[str, str]
    error: BridgeError | None


class Agent:
    """Works the jobs of one thing on one board, one after the other.

    Args:
        jobs: Jobs client of the thing.
        open_route: Opens the board of the thing.
        make_source: Starts a download.
        options: How updates are done; what the document says is added for each job.
        on_event: Told about every event of every update.
        admission: When jobs may be taken; one that was taken is brought to its end at any time.
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
    ) -> None:
        self._jobs = jobs
        self._open_route = open_route
        self._make_source = make_source
        self._options = options or UpdateOptions()
        self._on_event = on_event
        self._admission = admission or Admission()
        self._stop = threading.Event()
        self._last: JobResult | None = None

    def stop(self) -> None:
        """End :meth:`run` soon; may be called from any thread.

        An update that was not scheduled yet is stopped, and its job stays IN_PROGRESS, to be taken up again by the
        next run; one that was scheduled is brought to its end.
        """
        self._stop.set()
        self._jobs.wake()

    def run(self, *, once: bool = False) -> JobResult | None:
        """Work jobs until told to stop.

        Args:
            once: Return after the first job.

        Returns:
            The result of the last job, None if there was none.

        Raises:
            CloudError: The broker will never accept us (certificates, client id).
        """
        while not self._stop.is_set():
            execution = self._next_job()
            if execution is None or self._waits_for_window(execution):
                continue
            self._last = self.work(execution)
            if once or self._last.finished.outcome is Outcome.INTERRUPTED:
                break
        return self._last

    def work(self, execution: JobExecution) -> JobResult:
        """Take one job, run its update, and tell the cloud how it ended."""
        again = self._last
        if again is not None and _identity(again.execution) == _identity(execution):
            # Offered again although it ended here: the report got lost, not the work.
            self._tell(JobReporter(self._jobs, execution, self._stop), again)
            return again
        reporter = JobReporter(self._jobs, execution, self._stop)
        reporter.start()
        try:
            result = self._update(execution, reporter)
            self._tell(reporter, result)
        finally:
            reporter.close()
        return result

    def _next_job(self) -> JobExecution | None:
        try:
            execution = self._jobs.next_job()
        except CloudError as error:
            _log.warning("cannot ask for jobs: %s", error.message)
            self._jobs.wait_for_job_change(RETRY_S)
            return None
        if execution is None:
            self._jobs.wait_for_job_change(IDLE_WAIT_S)
        return execution

    def _waits_for_window(self, execution: JobExecution) -> bool:
        """Leave a queued job in the queue until a maintenance window opens; the queue may change meanwhile."""
        opens_at = self._admission.opens_at()
        if opens_at is None or execution.status is not JobStatus.QUEUED:
            return False
        text = f"the job waits in the queue for the maintenance window, which opens at {opens_at.isoformat()}"
        self._on_event(execution, Waiting(Stage.QUEUED, "maintenance-window", text))
        self._jobs.wait_for_job_change(max(0.0, min(IDLE_WAIT_S, self._admission.left_s())))
        return True

    def _update(self, execution: JobExecution, reporter: JobReporter) -> JobResult:
        details = StatusDetails()
        fetch = StageStarted(Stage.FETCH)
        details.take(fetch)
        try:
            current = self._through_outage(lambda: reporter.milestone(details.to_dict()))
            document = parse_document(current.document)
        except BridgeError as error:
            error.stage = error.stage or Stage.FETCH
            return self._ended(execution, error, details)
        update = self._prepare(execution, document, reporter, details)
        with closing(iter(update)) as events:
            for event in events:
                if details.take(event) and not isinstance(event, Finished):
                    reporter.progress(details.to_dict())
                self._on_event(execution, event)
                if isinstance(event, Finished):
                    return JobResult(execution, event, details.to_dict(), update.error)
                self._stop_if_unwanted(update, reporter)
        raise AssertionError("an update ends with Finished")

    def _stop_if_unwanted(self, update: Update, reporter: JobReporter) -> None:
        if reporter.gone is not None:
            update.stop(_canceled(reporter.gone))
        elif self._stop.is_set():
            update.stop(InterruptedUpdateError("told to stop; the job can be taken up again"))

    def _prepare(
        self, execution: JobExecution, document: JobDocument, reporter: JobReporter, details: StatusDetails
    ) -> Update:
        def fresh_url() -> str:
            return parse_document(self._jobs.describe(execution.job_id).document).url

        def gate(stage: Stage) -> None:
            self._through_outage(lambda: reporter.milestone({**details.to_dict(), "stage": stage}))

        earlier = execution.status_details
        interrupted = (
            execution.status is JobStatus.IN_PROGRESS and earlier.get("stage") in _STAGES_AFTER_SCHEDULING
        )
        options = replace(
            self._options,
            expected=Expectations(document.operation, document.fw_version, document.board),
            interrupted_from=earlier.get("from_version") if interrupted else None,
            image_index=document.image_index,
        )
        source = self._make_source(document, fresh_url)
        return Update(source, self._open_route, options=options, commit_gate=gate)

    def _through_outage(self, ask: Callable[[], _T]) -> _T:
        """Ask the cloud, again and again while it cannot be reached; a job that is gone cancels the update."""
        deadline_s = time.monotonic() + GATE_TIMEOUT_S
        while True:
            try:
                return ask()
            except JobGoneError as error:
                raise _canceled(error) from error
            except CloudError as error:
                if time.monotonic() > deadline_s:
                    raise
                _log.warning("waiting for the cloud: %s", error.message)
                self._jobs.wait_for_job_change(RETRY_S)
            if self._stop.is_set():
                raise InterruptedUpdateError("told to stop while the cloud could not be reached")

    def _ended(self, execution: JobExecution, error: BridgeError, details: StatusDetails) -> JobResult:
        """An end before the update line began: no job any more, or a document that makes no sense."""
        finished = Finished(Stage.FETCH, outcome_of(error), error.reason, error.message, None, None, None)
        details.take(finished)
        self._on_event(execution, finished)
        return JobResult(execution, finished, details.to_dict(), error)

    def _tell(self, reporter: JobReporter, result: JobResult) -> None:
        status = _STATUS.get(result.finished.outcome)
        if status is None:
            return
        try:
            reporter.finish(status, result.details)
        except JobGoneError as error:
            _log.warning(
                "job %s ended %s here, but the service says: %s", *_identity(result.execution), error.message
            )


def _identity(execution: JobExecution) -> tuple[str, int]:
    return execution.job_id, execution.execution_number


def _canceled(error: JobGoneError) -> UpdateCanceledError:
    return UpdateCanceledError(f"not wanted any more: {error.message}")
