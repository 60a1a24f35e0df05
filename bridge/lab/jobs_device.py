"""The four calls a device may make: list pending, start next, describe, update.

Source: AWS IoT Developer Guide, "Jobs device MQTT API" (members, error codes), and botocore's
``iot-jobs-data`` model.
"""

from typing import Final

from bridge.lab.jobs_document import Presigner, read_document
from bridge.lab.jobs_limits import (
    check_details,
    check_integer,
    check_job_id,
    check_status,
    check_step_timeout,
    check_thing_name,
    invalid,
)
from bridge.lab.jobs_model import (
    DEVICE_STATUSES,
    Execution,
    ExecutionStatus,
    JobsRejectedError,
    RejectionCode,
)
from bridge.lab.jobs_state import JobsState

NEXT: Final = "$next"


class DevicePlane:
    """What a device may do with the executions of its thing."""

    def __init__(self, state: JobsState, presigner: Presigner | None) -> None:
        self._state = state
        self._presigner = presigner

    def pending(self, thing_name: str) -> tuple[Execution, ...]:
        """Executions that are not terminal, IN_PROGRESS first, then in the order of creation."""
        with self._state.transaction():
            self._require_thing(thing_name)
            return self._state.pending(thing_name)

    def start_next(
        self, thing_name: str, *, details: object = None, step_timeout_minutes: object = None
    ) -> Execution | None:
        """Start the next pending execution; one that is IN_PROGRESS already is given back unchanged."""
        with self._state.transaction() as now:
            self._require_thing(thing_name)
            new_details, minutes = check_details(details), check_step_timeout(step_timeout_minutes)
            head = next(iter(self._state.pending(thing_name)), None)
            if head is None or head.status is ExecutionStatus.IN_PROGRESS:
                return head
            return self._state.change(
                head, ExecutionStatus.IN_PROGRESS, now, details=new_details, step_timeout_minutes=minutes
            )

    def describe(self, thing_name: str, job_id: str, *, number: object = None) -> Execution | None:
        """Describe a pending execution; None only for ``$next`` with an empty queue."""
        with self._state.transaction():
            self._require_thing(thing_name)
            wanted = check_integer("executionNumber", number)
            if job_id == NEXT:
                return next(iter(self._state.pending(thing_name)), None)
            execution = self._state.tables.execution(thing_name, check_job_id(job_id), wanted)
            if execution.status.terminal:
                raise JobsRejectedError(
                    RejectionCode.TERMINAL_STATE_REACHED,
                    f"job {job_id} is {execution.status} on {thing_name}",
                )
            return execution

    def update(
        self,
        thing_name: str,
        job_id: str,
        status: object,
        *,
        details: object = None,
        expected_version: object = None,
        number: object = None,
        step_timeout_minutes: object = None,
    ) -> Execution:
        """Report progress or the end of an execution.

        Raises:
            JobsRejectedError: InvalidRequest, ResourceNotFound, VersionMismatch or InvalidStateTransition.
        """
        with self._state.transaction() as now:
            self._require_thing(thing_name)
            check_job_id(job_id)
            new_status, new_details = check_status(status), check_details(details)
            minutes, version = (
                check_step_timeout(step_timeout_minutes),
                check_integer("expectedVersion", expected_version),
            )
            if new_status not in DEVICE_STATUSES:
                raise invalid(f"a device must not set {new_status}")
            execution = self._state.tables.execution(
                thing_name, job_id, check_integer("executionNumber", number)
            )
            if version is not None and version != execution.version_number:
                raise JobsRejectedError(
                    RejectionCode.VERSION_MISMATCH,
                    f"expected version {version}, but job {job_id} is at version {execution.version_number}",
                    execution=execution,
                )
            if execution.status.terminal:
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION,
                    f"job {job_id} cannot go from {execution.status} to {new_status}",
                    execution=execution,
                )
            return self._state.change(
                execution, new_status, now, details=new_details, step_timeout_minutes=minutes
            )

    def document(self, job_id: str) -> object:
        """The job's document as a device reads it now, presigned URLs minted."""
        with self._state.transaction():
            job = self._state.tables.job(job_id)
        return read_document(job.document_text, self._presigner, job.settings.presigned_expires_in_s)

    def _require_thing(self, thing_name: str) -> None:
        self._state.tables.require_thing(check_thing_name(thing_name))
