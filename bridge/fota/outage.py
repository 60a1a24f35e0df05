"""Asking a cloud that may be out of reach, while a job is worked."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from bridge import clock
from bridge.cloud import TAKEN_OVER, JobGoneError
from bridge.errors import CloudError, InterruptedUpdateError
from bridge.fota.events import UpdateCanceledError
from bridge.fota.reporter import JobUpdater

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

RETRY_S: Final = 5.0
"""Pause before a cloud that could not be reached is asked again; a reconnect ends it early."""
GATE_TIMEOUT_S: Final = 600.0
"""How long an update that is ready to be scheduled waits for a cloud that cannot be reached, before it is given up."""
GO_ON: Final = "`nrf91-bridge run` with the same options goes on with the job."


def through_outage(ask: Callable[[], _T], jobs: JobUpdater, stop: clock.Event) -> _T:
    """Ask the cloud, again and again while it cannot be reached.

    Args:
        ask: The question; asked in this thread.
        jobs: Jobs client, to wait for the cloud.
        stop: Set when we shall end.

    Raises:
        UpdateCanceledError: The job is gone.
        CloudError: The cloud could not be reached for too long.
        InterruptedUpdateError: Told to stop, or the cloud is lost for good; the next process goes on with the job.
    """
    deadline_s = clock.monotonic() + GATE_TIMEOUT_S
    while True:
        try:
            return ask()
        except JobGoneError as error:
            raise canceled(error) from error
        except CloudError as error:
            if clock.monotonic() > deadline_s:
                raise
            _log.warning("waiting for the cloud: %s", error.message)
            _wait(jobs)
        if stop.is_set():
            raise InterruptedUpdateError("told to stop while the cloud could not be reached", hint=GO_ON)


def _wait(jobs: JobUpdater) -> None:
    """A cloud that will never take us again ends our process, but not the job: the next process goes on with it."""
    try:
        jobs.wait_for_job_change(RETRY_S)
    except CloudError as error:
        raise InterruptedUpdateError(f"the cloud is lost for good: {error.message}") from error


def canceled(error: JobGoneError) -> UpdateCanceledError:
    """What the update is told about a job that is gone."""
    reason = TAKEN_OVER if error.reason == TAKEN_OVER else None
    return UpdateCanceledError(f"not wanted any more: {error.message}", reason=reason)
