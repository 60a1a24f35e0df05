"""Telling the cloud how one job goes: progress without hurry, milestones without doubt, the end without fail."""

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from bridge import clock
from bridge.cloud import JobExecution, JobGoneError, JobStatus
from bridge.errors import CloudError, InterruptedUpdateError

_log = logging.getLogger(__name__)

STEP_TIMEOUT_MINUTES: Final = 60
"""Renewed with every report: a host that died is noticed by the service within this time. It is longer than the longest
silence of a healthy update (erasing and applying a modem delta take minutes)."""

MIN_INTERVAL_S: Final = 1.0
"""Progress is never sent more often."""

LOOK_S: Final = 5.0
"""Without progress, such as while an image server is silent, it is seen this often whether the job is still wanted. A
notification would not do: none comes when another client takes the job over."""


class JobUpdater(Protocol):
    """The part of the Jobs client that a reporter needs."""

    def describe(self, job_id: str) -> JobExecution:
        """Read the execution as the service has it."""
        ...

    def update(
        self,
        execution: JobExecution,
        status: JobStatus,
        details: Mapping[str, str],
        *,
        step_timeout_minutes: int | None = None,
        exclusive: bool = False,
    ) -> JobExecution:
        """Report a status; returns the execution with its new version. ``exclusive`` gives way to another client."""
        ...

    def has_taken(
        self, job_id: str, execution_number: int, status: JobStatus, details: Mapping[str, str]
    ) -> bool:
        """Whether an execution ended with a report of ours whose reply was lost; changes nothing."""
        ...

    def wait_for_job_change(self, timeout_s: float) -> bool:
        """Block until the queue may have changed, or the cloud is there again; raises if it never will be."""
        ...


class JobReporter:
    """Reports on one job execution; progress goes out on a thread of its own, so a slow broker never slows the flash.

    Args:
        jobs: The Jobs client.
        execution: The execution as last seen; the reporter owns its version from now on.
        stop: Set when the process shall end; waits are cut short by it.
        retry_s: Pause between attempts to report the end while the cloud cannot be reached.
        min_interval_s: Least time between two progress reports.
        on_gone: Told in the reporter's thread when that sees that the job is gone.

    Attributes:
        gone: Why the job is not ours any more, as soon as the service said so.
    """

    def __init__(
        self,
        jobs: JobUpdater,
        execution: JobExecution,
        stop: clock.Event,
        *,
        retry_s: float = 5.0,
        min_interval_s: float = MIN_INTERVAL_S,
        on_gone: Callable[[JobGoneError], None] = lambda _gone: None,
    ) -> None:
        self.gone: JobGoneError | None = None
        self._jobs = jobs
        self._execution = execution
        self._stop = stop
        self._retry_s = retry_s
        self._min_interval_s = min_interval_s
        self._on_gone = on_gone
        self._last: Mapping[str, str] = {}
        self._sending = clock.lock()
        self._wake = clock.condition()
        self._pending: dict[str, str] | None = None
        self._closed = False
        self._taken = False
        self._thread = clock.thread(self._send_progress, "job-reporter")

    def start(self) -> None:
        """Begin to send progress."""
        self._thread.start()

    def progress(self, details: Mapping[str, str]) -> None:
        """Hand over the newest progress; older progress that was not sent yet is forgotten."""
        with self._wake:
            self._pending = dict(details)
            self._wake.notify()

    def milestone(self, details: Mapping[str, str]) -> JobExecution:
        """Report progress and wait until the service has taken it, then check that the job is still wanted.

        Returns:
            The execution as the service has it, with a freshly signed document.

        Raises:
            JobGoneError: The job was cancelled, deleted, timed out or ended by someone else.
            CloudError: The cloud cannot be reached.
        """
        with self._wake:
            self._pending = None
        self._send(JobStatus.IN_PROGRESS, details)
        with self._sending:
            return self._describe()

    def finish(self, status: JobStatus, details: Mapping[str, str]) -> None:
        """Report the end; keeps trying until the service takes it.

        Raises:
            JobGoneError: The service does not want to know any more.
            CloudError: The broker will never accept us again.
            InterruptedUpdateError: The process was told to stop before the cloud could be reached.
        """
        self.close()
        while True:
            try:
                self._send(status, details)
            except JobGoneError:
                raise
            except CloudError as error:
                _log.warning("could not report %s yet: %s", status, error.message)
                if self._stop.is_set():
                    raise InterruptedUpdateError(f"stopped before {status} could be reported") from error
                self._jobs.wait_for_job_change(self._retry_s)
            else:
                return

    def close(self) -> None:
        """Stop sending progress."""
        with self._wake:
            self._closed = True
            self._pending = None
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _describe(self) -> JobExecution:
        """Read the execution, which must still be ours."""
        try:
            seen = self._jobs.describe(self._execution.job_id)
        except JobGoneError as error:
            self.gone = error
            raise
        if (
            seen.status is not JobStatus.IN_PROGRESS
            or seen.execution_number != self._execution.execution_number
        ):
            self.gone = JobGoneError(f"job {seen.job_id} is {seen.status}", execution=seen)
            raise self.gone
        return seen

    def _look(self) -> None:
        """See whether the job is still ours, once it was."""
        with self._sending:
            if not self._taken or self._describe().version_number == self._execution.version_number:
                return
        self._send(JobStatus.IN_PROGRESS, self._last)  # the service's answer tells who changed it

    def _send(self, status: JobStatus, details: Mapping[str, str]) -> None:
        with self._sending:
            try:
                # Whoever takes a job up last has it: we may take it from a process that died, and give way to one that
                # came later. The end is told in any case, if the service still takes it.
                self._execution = self._jobs.update(
                    self._execution,
                    status,
                    details,
                    step_timeout_minutes=STEP_TIMEOUT_MINUTES,
                    exclusive=self._taken and status is JobStatus.IN_PROGRESS,
                )
                self._taken = True
                self._last = dict(details)
            except JobGoneError as error:
                self.gone = error
                raise

    def _send_progress(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pending is not None or self._closed, timeout=LOOK_S)
                if self._closed:
                    return
                details, self._pending = self._pending, None
            try:
                if details is None:
                    self._look()
                else:
                    self._send(JobStatus.IN_PROGRESS, details)
            except JobGoneError as error:
                _log.info("job is gone: %s", error.message)
                self._on_gone(error)
                return
            except CloudError as error:
                _log.info("progress not reported: %s", error.message)
            self._rest(clock.monotonic() + self._min_interval_s)

    def _rest(self, until_s: float) -> None:
        with self._wake:
            self._wake.wait_for(lambda: self._closed, timeout=max(0.0, until_s - clock.monotonic()))
