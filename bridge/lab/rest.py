"""Routes of the local cloud's AWS-like HTTP API, for boto3, curl and the bridge's own commands.

Source: ``requestUri`` members of botocore's ``iot`` and ``iot-jobs-data`` models. The two services share
paths; with one host name for both, the service named in the SigV4 credential scope tells them apart. A request
without one is a device's if it came with a client certificate, and otherwise for the control plane. Signatures are
not verified: whoever reaches the port may use it.
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bridge.lab.jobs_model import JobsRejectedError
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest_control import ControlRest
from bridge.lab.rest_device import DeviceRest
from bridge.lab.rest_errors import error_response
from bridge.lab.rest_identity import forbidden, is_signed, thing_of

Handler = Callable[[Request], Awaitable[Response]]

DATA_PLANE_SERVICE: Final = "iot-jobs-data"
_SIGV4_SERVICE: Final = re.compile(r"Credential=[^/,]+/[0-9]{8}/[^/]+/([^/]+)/aws4_request")


def jobs_routes(
    store: JobsStore, *, mqtt_endpoint: Callable[[], str], clock: Clock = time.time
) -> list[BaseRoute]:
    """Give starlette routes for both planes.

    Args:
        store: The jobs.
        mqtt_endpoint: Gives the ``host:port`` that DescribeEndpoint names.
        clock: The store's clock.
    """
    control, device = ControlRest(store, clock, mqtt_endpoint), DeviceRest(store, clock)
    table: list[tuple[str, str, Handler]] = [
        ("GET", "/endpoint", control.describe_endpoint),
        ("GET", "/things", control.list_things),
        ("POST", "/things/{thing}", control.create_thing),
        ("GET", "/things/{thing}", control.describe_thing),
        ("DELETE", "/things/{thing}", control.delete_thing),
        ("GET", "/things/{thing}/jobs", _by_service(control.list_executions_for_thing, device.pending)),
        ("PUT", "/things/{thing}/jobs/$next", _for_device(device.start_next)),
        ("GET", "/things/{thing}/jobs/{job_id}", _by_service(control.describe_execution, device.describe)),
        ("POST", "/things/{thing}/jobs/{job_id}", _for_device(device.update)),
        ("PUT", "/things/{thing}/jobs/{job_id}/cancel", control.cancel_execution),
        ("DELETE", "/things/{thing}/jobs/{job_id}/executionNumber/{number:int}", control.delete_execution),
        ("GET", "/jobs", control.list_jobs),
        ("PUT", "/jobs/{job_id}", control.create_job),
        ("GET", "/jobs/{job_id}", control.describe_job),
        ("DELETE", "/jobs/{job_id}", control.delete_job),
        ("PUT", "/jobs/{job_id}/cancel", control.cancel_job),
        ("GET", "/jobs/{job_id}/job-document", control.job_document),
        ("GET", "/jobs/{job_id}/things", control.list_executions_for_job),
    ]
    return [Route(path, _translating(handler), methods=[method]) for method, path, handler in table]


def _by_service(control: Handler, device: Handler) -> Handler:
    async def choose(request: Request) -> Response:
        match = _SIGV4_SERVICE.search(request.headers.get("authorization", ""))
        if match is not None:
            wanted = device if match.group(1) == DATA_PLANE_SERVICE else control
        else:
            wanted = control if is_signed(request) or thing_of(request) is None else _for_device(device)
        return await wanted(request)

    return choose


def _for_device(handler: Handler) -> Handler:
    async def guarded(request: Request) -> Response:
        return forbidden(request) or await handler(request)

    return guarded


def _translating(handler: Handler) -> Handler:
    async def translated(request: Request) -> Response:
        try:
            return await handler(request)
        except JobsRejectedError as rejection:
            return error_response(rejection)

    return translated
