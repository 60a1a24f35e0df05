"""Which job is worked next, and when: the head of the cloud's queue, unless it has to wait or is somebody else's."""

import logging
from collections.abc import Callable
from typing import Final, Protocol

from bridge.cloud import JobExecution, JobStatus
from bridge.errors import CloudError
from bridge.fota.events import Stage, Waiting
from bridge.fota.outage import RETRY_S
from bridge.fota.reporter import JobUpdater
from bridge.fota.window import Admission

_log = logging.getLogger(__name__)

IDLE_WAIT_S: Final = 60.0
"""Without a notification the next job is asked for this often; a notification can get lost (QoS 1 or not)."""
WATCH_S: Final = 2.0
"""A job in progress that this host's journal does not know is somebody's; before it is taken over the connection must last so
long. A client that another one with our id throws out comes back after a second or so, and throws us out."""
MAX_LOOKS: Final = 6


class Jobs(JobUpdater, Protocol):
    """The Jobs client as the agent needs it."""

    def next_job(self) -> JobExecution | None:
        """The execution at the head of the queue."""
        ...

    def wake(self) -> None:
        """End a ``wait_for_job_change``."""
        ...


class JobQueue:
    """The jobs of a thing as the agent gets them.

    Args:
        jobs: Jobs client of the thing.
        settle: Reports what earlier runs left unreported, and tells whether all of it is done; before that no job is taken.
        is_known: Whether this host's journal has an execution.
        admission: When jobs may be taken; one that was taken is brought to its end at any time.
        on_waiting: Told about a job that waits for a maintenance window.
    """

    def __init__(
        self,
        jobs: Jobs,
        settle: Callable[[], bool],
        is_known: Callable[[JobExecution], bool],
        admission: Admission,
        on_waiting: Callable[[JobExecution, Waiting], None],
    ) -> None:
        self._jobs = jobs
        self._settle = settle
        self._is_known = is_known
        self._admission = admission
        self._on_waiting = on_waiting
        self._settled = False
        self._left_to_others: set[tuple[str, int]] = set()
        self._watched: tuple[str, int] | None = None
        self._looks = 0

    def next(self) -> JobExecution | None:
        """The job to be worked now; None after a wait, when there was none.

        Raises:
            CloudError: The broker will never accept us (certificates, client id).
            BenchError: The journal cannot be written.
        """
        execution = self._head()
        if execution is None or self._waits_for_window(execution) or self._may_be_anothers(execution):
            return None
        return execution

    def leave_to_others(self, execution: JobExecution) -> None:
        """Do not take this one again: somebody else works it."""
        self._left_to_others.add(_identity(execution))

    def _head(self) -> JobExecution | None:
        try:
            if not self._settled:
                self._settled = self._settle()
            execution = self._jobs.next_job()
        except CloudError as error:
            _log.warning("cannot ask for jobs: %s", error.message)
            self._jobs.wait_for_job_change(RETRY_S)
            return None
        if execution is None or _identity(execution) in self._left_to_others:
            self._jobs.wait_for_job_change(IDLE_WAIT_S)
            return None
        return execution

    def _waits_for_window(self, execution: JobExecution) -> bool:
        """Leave a queued job in the queue until a maintenance window opens; the queue may change meanwhile."""
        opens_at = self._admission.opens_at()
        if opens_at is None or execution.status is not JobStatus.QUEUED:
            return False
        text = f"the job waits in the queue for the maintenance window, which opens at {opens_at.isoformat()}"
        self._on_waiting(execution, Waiting(Stage.QUEUED, "maintenance-window", text))
        self._jobs.wait_for_job_change(max(0.0, min(IDLE_WAIT_S, self._admission.left_s())))
        return True

    def _may_be_anothers(self, execution: JobExecution) -> bool:
        """Look whether the connection lasts before a job is taken over.

        Of two clients with one id neither connection lasts, and the one that came later must not take the other's work. A
        look that is cut short is repeated, twice as long each time; the connection ends such a fight before the looks do.
        """
        if execution.status is not JobStatus.IN_PROGRESS:
            return False
        if self._is_known(execution):
            return False
        if self._watched == _identity(execution) or self._looks >= MAX_LOOKS:
            return False
        _log.info("job %s is in progress, but not here; looking before it is taken over", execution.job_id)
        if self._jobs.wait_for_job_change(WATCH_S * 2**self._looks):
            self._looks += 1
        else:
            self._looks, self._watched = 0, _identity(execution)
        return True


def _identity(execution: JobExecution) -> tuple[str, int]:
    return execution.job_id, execution.execution_number
