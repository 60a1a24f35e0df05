"""Executions as an operator sees them: described, listed, cancelled, deleted one by one.

Source: botocore's ``iot`` model and its documentation texts (CancelJobExecution, DeleteJobExecution).
"""

from collections.abc import Mapping

from bridge.lab import jobs_lifecycle
from bridge.lab.jobs_limits import check_details
from bridge.lab.jobs_model import Execution, ExecutionStatus, JobsRejectedError, RejectionCode
from bridge.lab.jobs_state import JobsState


class ExecutionsPlane:
    """What an operator may do with executions."""

    def __init__(self, state: JobsState) -> None:
        self._state = state
        self._tables = state.tables

    def describe_execution(self, job_id: str, thing_name: str, *, number: int | None = None) -> Execution:
        """Give an execution as it stands, terminal or not (the latest unless numbered)."""
        with self._state.transaction():
            return self._tables.execution(thing_name, job_id, number)

    def list_executions(self, job_id: str, *, status: ExecutionStatus | None = None) -> list[Execution]:
        """Give all executions of a job, retries included."""
        with self._state.transaction():
            self._tables.job(job_id)
            found = self._tables.executions_of_job(job_id)
        return [execution for execution in found if status in {None, execution.status}]

    def list_thing_executions(self, thing_name: str) -> list[Execution]:
        """Give all executions on a thing, retries included."""
        with self._state.transaction():
            self._tables.require_thing(thing_name)
            return self._tables.executions_of_thing(thing_name)

    def cancel_execution(
        self,
        job_id: str,
        thing_name: str,
        *,
        force: bool = False,
        expected_version: int | None = None,
        details: Mapping[str, str] | None = None,
    ) -> Execution:
        """Cancel one execution; one in progress only with ``force``."""
        new_details = check_details(details)
        with self._state.transaction() as now:
            execution = self._tables.execution(thing_name, job_id)
            if expected_version not in {None, execution.version_number}:
                raise JobsRejectedError(
                    RejectionCode.VERSION_MISMATCH,
                    f"expected version {expected_version}, not {execution.version_number}",
                    execution=execution,
                )
            if execution.status.terminal or (execution.status is ExecutionStatus.IN_PROGRESS and not force):
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION,
                    f"job {job_id} is {execution.status} on {thing_name}",
                    execution=execution,
                )
            return self._state.change(
                execution, ExecutionStatus.CANCELED, now, details=new_details, forced=force
            )

    def delete_execution(self, job_id: str, thing_name: str, number: int, *, force: bool = False) -> None:
        """Delete one execution; one that is not terminal only with ``force``."""
        with self._state.transaction() as now:
            execution = self._tables.execution(thing_name, job_id, number)
            if not execution.status.terminal and not force:
                raise JobsRejectedError(
                    RejectionCode.INVALID_STATE_TRANSITION, f"job {job_id} is {execution.status}; needs force"
                )
            self._state.forget_execution(execution)
            jobs_lifecycle.complete_if_done(self._state, job_id, now)
