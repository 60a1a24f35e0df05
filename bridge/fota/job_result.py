"""How one job ended here, and what that is in the words of the Jobs service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bridge.cloud import JobExecution, JobStatus
from bridge.errors import (
    BenchError,
    BoardNotFoundError,
    BoardRefusedError,
    BridgeError,
    CloudError,
    ImageRefusedError,
    InterruptedUpdateError,
    LinkError,
    UsageError,
    VerificationError,
)
from bridge.fota.events import Finished, Outcome
from bridge.fota.journal_values import JournalEntry

STATUS: Final = {
    Outcome.SUCCEEDED: JobStatus.SUCCEEDED,
    Outcome.FAILED: JobStatus.FAILED,
    Outcome.REJECTED: JobStatus.REJECTED,
}
"""What the cloud is told; of other outcomes it is not told."""

_FAMILIES: Final = {
    family.exit_code: family
    for family in (
        *(UsageError, BoardNotFoundError, LinkError, ImageRefusedError, BoardRefusedError),
        *(VerificationError, CloudError, BenchError, InterruptedUpdateError),
    )
}


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


def result_from(entry: JournalEntry, execution: JobExecution) -> JobResult:
    """The result of a job that ended in an earlier process, as the journal has it."""
    assert entry.outcome is not None
    message = entry.message or ""
    finished = Finished(
        entry.stage,
        entry.outcome,
        entry.reason,
        message,
        entry.from_version,
        entry.to_version,
        entry.running_version,
    )
    error = None
    if entry.outcome is not Outcome.SUCCEEDED:
        family = _FAMILIES.get(entry.exit_code or 0, BridgeError)
        error = family(message, reason=entry.reason, stage=entry.stage)
    return JobResult(execution, finished, entry.details, error)
