"""Job executions over AWS IoT's control plane. Source: botocore's ``iot`` model (members, errors)."""

from collections.abc import Mapping
from typing import Any

from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_paging import page
from bridge.lab.rest_values import execution_summary, thing_arn


class ExecutionsRest:
    """Handlers over a store."""

    def __init__(self, store: JobsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.handlers = {
            "DescribeJobExecution": self.describe,
            "ListJobExecutionsForJob": self.list_for_job,
            "ListJobExecutionsForThing": self.list_for_thing,
            "CancelJobExecution": self.cancel,
            "DeleteJobExecution": self.delete,
        }

    def describe(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DescribeJobExecution."""
        execution = self._store.describe_execution(
            members["jobId"], members["thingName"], number=members.get("executionNumber")
        )
        body = execution_summary(execution) | {
            "jobId": execution.job_id,
            "thingArn": thing_arn(execution.thing_name),
            "forceCanceled": execution.force_canceled,
            "statusDetails": {"detailsMap": dict(execution.status_details)},
            "versionNumber": execution.version_number,
        }
        del body["retryAttempt"]  # only in summaries
        if execution.deadline is not None:
            body["approximateSecondsBeforeTimedOut"] = max(0, int(execution.deadline - self._clock()))
        return {"execution": body}

    def list_for_job(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListJobExecutionsForJob."""
        found = [
            one
            for one in self._store.list_executions(members["jobId"])
            if members.get("status") in {None, one.status.value}
        ]
        shown, more = page(found, lambda one: one.sequence, members, "executions")
        summaries = [
            {"thingArn": thing_arn(one.thing_name), "jobExecutionSummary": execution_summary(one)}
            for one in shown
        ]
        return {"executionSummaries": summaries, **more}

    def list_for_thing(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """ListJobExecutionsForThing."""
        if "namespaceId" in members:
            raise invalid("not emulated by the local cloud: namespaceId")
        found = [
            one
            for one in self._store.list_thing_executions(members["thingName"])
            if members.get("status") in {None, one.status.value}
            and members.get("jobId") in {None, one.job_id}
        ]
        shown, more = page(found, lambda one: one.sequence, members, "executions")
        summaries = [{"jobId": one.job_id, "jobExecutionSummary": execution_summary(one)} for one in shown]
        return {"executionSummaries": summaries, **more}

    def cancel(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """CancelJobExecution."""
        self._store.cancel_execution(
            members["jobId"],
            members["thingName"],
            force=members.get("force", False),
            expected_version=members.get("expectedVersion"),
            details=members.get("statusDetails"),
        )
        return {}

    def delete(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DeleteJobExecution."""
        if "namespaceId" in members:
            raise invalid("not emulated by the local cloud: namespaceId")
        self._store.delete_execution(
            members["jobId"],
            members["thingName"],
            members["executionNumber"],
            force=members.get("force", False),
        )
        return {}
