"""AWS IoT's control plane, as much as deployment tools need: things, jobs, executions.

Source: botocore's ``iot`` model (members, errors). What a request asks for and this service does not do, such
as rollout rates or thing groups, is refused, not ignored. Lists come on one page.
"""

from collections.abc import Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bridge.lab.jobs_limits import check_integer, check_thing_name, invalid
from bridge.lab.jobs_model import JobStatus
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_values import (
    execution_summary,
    job_body,
    job_reference,
    job_summary,
    nested_integer,
    query_flag,
    read_object,
    retry_criteria,
    targets,
    thing_arn,
    thing_body,
    wanted_status,
)

_JOB_MEMBERS: Final = frozenset(
    {
        "document",
        "targets",
        "description",
        "targetSelection",
        "presignedUrlConfig",
        "timeoutConfig",
        "jobExecutionsRetryConfig",
        "tags",
    }
)


class ControlRest:
    """HTTP handlers of the control plane over a store.

    Args:
        store: The jobs.
        clock: The store's clock.
        mqtt_endpoint: ``host:port`` that DescribeEndpoint names.
    """

    def __init__(self, store: JobsStore, clock: Clock, mqtt_endpoint: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._mqtt_endpoint = mqtt_endpoint

    async def describe_endpoint(self, _request: Request) -> Response:
        """Where devices connect."""
        return JSONResponse({"endpointAddress": self._mqtt_endpoint()})

    async def create_thing(self, request: Request) -> Response:
        """CreateThing; idempotent."""
        thing_name = check_thing_name(request.path_params["thing"])
        self._store.add_thing(thing_name)
        return JSONResponse(thing_body(thing_name))

    async def describe_thing(self, request: Request) -> Response:
        """DescribeThing."""
        thing_name = request.path_params["thing"]
        self._store.list_thing_executions(thing_name)  # raises ResourceNotFound
        return JSONResponse(
            {**thing_body(thing_name), "defaultClientId": thing_name, "attributes": {}, "version": 1}
        )

    async def list_things(self, _request: Request) -> Response:
        """ListThings, on one page."""
        return JSONResponse({"things": [thing_body(name) | {"version": 1} for name in self._store.things]})

    async def delete_thing(self, request: Request) -> Response:
        """DeleteThing."""
        self._store.remove_thing(request.path_params["thing"])
        return JSONResponse({})

    async def create_job(self, request: Request) -> Response:
        """CreateJob."""
        body = await read_object(request)
        if unknown := sorted(set(body) - _JOB_MEMBERS):
            raise invalid(f"not emulated by the local cloud: {', '.join(unknown)}")
        if body.get("targetSelection", "SNAPSHOT") != "SNAPSHOT":
            raise invalid("not emulated by the local cloud: continuous jobs")
        if not isinstance(document := body.get("document"), str):
            raise invalid("document is missing")
        job = self._store.create_job(
            request.path_params["job_id"],
            targets(body.get("targets")),
            document,
            description=str(body.get("description", "")),
            in_progress_timeout_minutes=nested_integer(body, "timeoutConfig", "inProgressTimeoutInMinutes"),
            retry_criteria=retry_criteria(body),
            presigned_expires_in_s=nested_integer(body, "presignedUrlConfig", "expiresInSec"),
        )
        return JSONResponse(job_reference(job))

    async def describe_job(self, request: Request) -> Response:
        """DescribeJob."""
        job = self._store.describe_job(request.path_params["job_id"])
        return JSONResponse({"job": job_body(job, self._store.list_executions(job.job_id))})

    async def job_document(self, request: Request) -> Response:
        """GetJobDocument, before substitution."""
        job = self._store.describe_job(request.path_params["job_id"])
        return JSONResponse({"document": job.document_text})

    async def list_jobs(self, request: Request) -> Response:
        """ListJobs, on one page."""
        wanted = request.query_params.get("status")
        if wanted is not None and wanted not in {*JobStatus}:
            return JSONResponse({"jobs": []})
        jobs = self._store.list_jobs(status=None if wanted is None else JobStatus(wanted))
        return JSONResponse({"jobs": [job_summary(job) for job in jobs]})

    async def cancel_job(self, request: Request) -> Response:
        """CancelJob."""
        body = await read_object(request)
        job = self._store.cancel_job(
            request.path_params["job_id"],
            force=query_flag(request, "force"),
            reason_code=body.get("reasonCode"),
            comment=body.get("comment"),
        )
        return JSONResponse(job_reference(job))

    async def delete_job(self, request: Request) -> Response:
        """DeleteJob."""
        self._store.delete_job(request.path_params["job_id"], force=query_flag(request, "force"))
        return JSONResponse({})

    async def describe_execution(self, request: Request) -> Response:
        """DescribeJobExecution."""
        number = check_integer("executionNumber", request.query_params.get("executionNumber"))
        execution = self._store.describe_execution(
            request.path_params["job_id"], request.path_params["thing"], number=number
        )
        body = execution_summary(execution) | {
            "jobId": execution.job_id,
            "thingArn": thing_arn(execution.thing_name),
            "forceCanceled": execution.force_canceled,
            "statusDetails": {"detailsMap": dict(execution.status_details)},
            "versionNumber": execution.version_number,
        }
        if execution.deadline is not None:
            body["approximateSecondsBeforeTimedOut"] = max(0, int(execution.deadline - self._clock()))
        return JSONResponse({"execution": body})

    async def list_executions_for_job(self, request: Request) -> Response:
        """ListJobExecutionsForJob, on one page."""
        found = self._store.list_executions(request.path_params["job_id"], status=wanted_status(request))
        return JSONResponse(
            {
                "executionSummaries": [
                    {"thingArn": thing_arn(one.thing_name), "jobExecutionSummary": execution_summary(one)}
                    for one in found
                ]
            }
        )

    async def list_executions_for_thing(self, request: Request) -> Response:
        """ListJobExecutionsForThing, on one page."""
        wanted = wanted_status(request)
        found = self._store.list_thing_executions(request.path_params["thing"])
        return JSONResponse(
            {
                "executionSummaries": [
                    {"jobId": one.job_id, "jobExecutionSummary": execution_summary(one)}
                    for one in found
                    if wanted in {None, one.status}
                ]
            }
        )

    async def cancel_execution(self, request: Request) -> Response:
        """CancelJobExecution."""
        body = await read_object(request)
        self._store.cancel_execution(
            request.path_params["job_id"],
            request.path_params["thing"],
            force=query_flag(request, "force"),
            expected_version=check_integer("expectedVersion", body.get("expectedVersion")),
            details=body.get("statusDetails"),
        )
        return JSONResponse({})

    async def delete_execution(self, request: Request) -> Response:
        """DeleteJobExecution."""
        self._store.delete_execution(
            request.path_params["job_id"],
            request.path_params["thing"],
            request.path_params["number"],
            force=query_flag(request, "force"),
        )
        return JSONResponse({})
