"""The Jobs data plane over HTTPS: the same four calls as over MQTT, with the document as a string.

Source: botocore's ``iot-jobs-data`` model.
"""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.lab.jobs_api import execution_body, pending_body, state_body
from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_model import Execution
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_values import query_flag, read_object


class DeviceRest:
    """HTTP handlers of the data plane over a store."""

    def __init__(self, store: JobsStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def pending(self, request: Request) -> Response:
        """GetPendingJobExecutions."""
        return JSONResponse(pending_body(self._store.device.pending(request.path_params["thing"])))

    async def start_next(self, request: Request) -> Response:
        """StartNextPendingJobExecution."""
        body = await read_object(request)
        started = self._store.device.start_next(
            request.path_params["thing"],
            details=body.get("statusDetails"),
            step_timeout_minutes=body.get("stepTimeoutInMinutes"),
        )
        return JSONResponse({} if started is None else {"execution": self._body(started, with_document=True)})

    async def describe(self, request: Request) -> Response:
        """DescribeJobExecution."""
        found = self._store.device.describe(
            request.path_params["thing"],
            request.path_params["job_id"],
            number=request.query_params.get("executionNumber"),
        )
        if found is None:
            return JSONResponse({})
        with_document = query_flag(request, "includeJobDocument", default=True)
        return JSONResponse({"execution": self._body(found, with_document=with_document)})

    async def update(self, request: Request) -> Response:
        """UpdateJobExecution."""
        body = await read_object(request)
        if "status" not in body:
            raise invalid("status is missing")
        job_id = request.path_params["job_id"]
        updated = self._store.device.update(
            request.path_params["thing"],
            job_id,
            body["status"],
            details=body.get("statusDetails"),
            expected_version=body.get("expectedVersion"),
            number=body.get("executionNumber"),
            step_timeout_minutes=body.get("stepTimeoutInMinutes"),
        )
        answer: dict[str, object] = {}
        if body.get("includeJobExecutionState"):
            answer["executionState"] = state_body(updated)
        if body.get("includeJobDocument"):
            answer["jobDocument"] = json.dumps(self._store.device.document(job_id))
        return JSONResponse(answer)

    def _body(self, execution: Execution, *, with_document: bool) -> dict[str, object]:
        body = execution_body(execution, self._clock())
        if with_document:
            body["jobDocument"] = json.dumps(self._store.device.document(execution.job_id))
        return body
