"""The Jobs data plane over HTTPS: the same four calls as over MQTT, with the document as a string.

Source: botocore's ``iot-jobs-data`` model.
"""

import json
from collections.abc import Mapping
from typing import Any

from bridge.lab.jobs_api import execution_body, pending_body, state_body
from bridge.lab.jobs_model import Execution
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore


class DeviceRest:
    """Handlers over a store."""

    def __init__(self, store: JobsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.handlers = {
            "GetPendingJobExecutions": self.pending,
            "StartNextPendingJobExecution": self.start_next,
            "DescribeJobExecution": self.describe,
            "UpdateJobExecution": self.update,
        }

    def pending(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """GetPendingJobExecutions."""
        self._store.faults.check("get")
        return pending_body(self._store.device.pending(members["thingName"]))

    def start_next(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """StartNextPendingJobExecution."""
        self._store.faults.check("start-next")
        started = self._store.device.start_next(
            members["thingName"],
            details=members.get("statusDetails"),
            step_timeout_minutes=members.get("stepTimeoutInMinutes"),
        )
        return {} if started is None else {"execution": self._body(started, with_document=True)}

    def describe(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """DescribeJobExecution."""
        self._store.faults.check(f"{members['jobId']}/get")
        found = self._store.device.describe(
            members["thingName"], members["jobId"], number=members.get("executionNumber")
        )
        if found is None:
            return {}
        return {"execution": self._body(found, with_document=members.get("includeJobDocument", True))}

    def update(self, members: Mapping[str, Any]) -> Mapping[str, object]:
        """UpdateJobExecution."""
        self._store.faults.check(f"{members['jobId']}/update")
        updated = self._store.device.update(
            members["thingName"],
            members["jobId"],
            members["status"],
            details=members.get("statusDetails"),
            expected_version=members.get("expectedVersion"),
            number=members.get("executionNumber"),
            step_timeout_minutes=members.get("stepTimeoutInMinutes"),
        )
        answer: dict[str, object] = {}
        if members.get("includeJobExecutionState"):
            answer["executionState"] = state_body(updated)
        if members.get("includeJobDocument"):
            answer["jobDocument"] = json.dumps(self._store.device.document(members["jobId"]))
        return answer

    def _body(self, execution: Execution, *, with_document: bool) -> dict[str, object]:
        body = execution_body(execution, self._clock())
        if with_document:
            body["jobDocument"] = json.dumps(self._store.device.document(execution.job_id))
        return body
