"""Watching a job until it has ended, and what its end means.

The cloud is asked again and again, since AWS IoT tells operators nothing by itself; for details only of what has changed. A
request that fails for a passing reason is no end of the watch.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bridge.cloud.deploy_jobs import ExecutionState, JobsControl, JobState
from bridge.errors import CloudError

DEFAULT_INTERVAL_S: Final = 2.0
_PASSING: Final = frozenset({"throttled", "api-unreachable"})
_MAX_FAILURES: Final = 30
_SLOWER: Final = 2.0
_MAX_INTERVAL_S: Final = 60.0


@dataclass(frozen=True)
class JobSnapshot:
    """A job and its executions at one moment."""

    job: JobState
    executions: tuple[ExecutionState, ...]

    @property
    def idle(self) -> bool:
        """Whether every execution that there is has ended."""
        return bool(self.executions) and all(each.ended for each in self.executions)


class JobNotSucceededError(CloudError):
    """A job has ended, and not every thing runs what it should.

    Reasons: ``job-canceled``, ``job-failed`` (an execution failed, was rejected, timed out or was cancelled),
    ``job-without-things``, ``watch-timeout``.
    """

    default_reason = "job-failed"


class JobWatch:
    """Watches one job.

    Args:
        jobs: The account's jobs.
        job_id: Which.
        interval_s: Pause between two looks; longer while the cloud says that it is asked too often.
        wait: Pauses; tells True to end.
    """

    def __init__(
        self,
        jobs: JobsControl,
        job_id: str,
        *,
        interval_s: float = DEFAULT_INTERVAL_S,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._interval_s = interval_s
        self._wait = wait or threading.Event().wait
        self._known: dict[tuple[str, int], ExecutionState] = {}

    def look(self) -> JobSnapshot:
        """See how it stands now.

        Raises:
            CloudError: There is no such job, or the cloud does not answer.
        """
        # The job first: what ends between both questions then shows as ended executions of a job that goes on.
        job = self._jobs.describe(self._job_id)
        return JobSnapshot(
            job, tuple(self._with_details(each) for each in self._jobs.executions(self._job_id))
        )

    def follow(self, *, until_idle: bool = False, timeout_s: float | None = None) -> Iterator[JobSnapshot]:
        """Look again and again until the job has ended; the last look is the end.

        Args:
            until_idle: End also when every execution has ended, for continuous jobs, which never end.
            timeout_s: Give up after that time.

        Raises:
            JobNotSucceededError: Time is up (reason ``watch-timeout``).
            CloudError: There is no such job (any more), or the cloud does not answer for long.
        """
        started_s, failures, pause_s = time.monotonic(), 0, self._interval_s
        while True:
            try:
                snapshot = self.look()
                failures, pause_s = 0, self._interval_s
            except CloudError as error:
                failures += 1
                if error.reason not in _PASSING or failures > _MAX_FAILURES:
                    raise
                pause_s = min(_MAX_INTERVAL_S, pause_s * _SLOWER)
            else:
                yield snapshot
                if snapshot.job.ended or (until_idle and snapshot.idle):
                    return
            if timeout_s is not None and time.monotonic() - started_s + pause_s > timeout_s:
                raise JobNotSucceededError(
                    f"job {self._job_id} has not ended in {timeout_s:g} s", reason="watch-timeout"
                )
            if self._wait(pause_s):
                return

    def _with_details(self, execution: ExecutionState) -> ExecutionState:
        if execution.status == "QUEUED":
            return execution
        key = (execution.thing_name, execution.execution_number)
        known = self._known.get(key)
        moving = execution.status == "IN_PROGRESS"  # reports within one second of the clock look alike
        if (
            known is None
            or moving
            or (known.status, known.updated_at) != (execution.status, execution.updated_at)
        ):
            self._known[key] = known = self._jobs.execution(self._job_id, *key)
        return known


def require_success(snapshot: JobSnapshot) -> None:
    """Return if every thing of a job that has ended succeeded; things that left its targets do not count.

    Raises:
        JobNotSucceededError: Otherwise; the message counts, and tells the first thing's reason.
    """
    job, things = snapshot.job, [each for each in snapshot.executions if each.status != "REMOVED"]
    missed = [each for each in things if each.status != "SUCCEEDED"]
    counts = ", ".join(
        f"{sum(1 for each in things if each.status == status)} {status}"
        for status in dict.fromkeys(each.status for each in things)
    )
    if job.status == "CANCELED":
        comment = f" ({job.comment})" if job.comment else ""
        raise JobNotSucceededError(
            f"job {job.job_id} was cancelled{comment}: {counts or 'no executions'}", reason="job-canceled"
        )
    if not things:
        raise JobNotSucceededError(
            f"job {job.job_id} has no executions: its targets hold no things", reason="job-without-things"
        )
    if missed:
        first = missed[0]
        why = first.details.get("message") or first.details.get("reason")
        because = f"; {first.thing_name}: {why}" if why else ""
        raise JobNotSucceededError(
            f"job {job.job_id} did not succeed everywhere: {counts}{because}",
            hint=f"nrf91-bridge job show {job.job_id} tells more.",
        )
