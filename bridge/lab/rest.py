"""Routes of the local cloud's AWS-like HTTP API, for boto3, curl and the bridge's own commands.

Method, path and members of every call come from AWS's models (:mod:`bridge.lab.aws_shapes`); a handler gets the members of a
request that keeps to its shape, and gives those of the response. The two services share paths; with one host name for both, the
service named in the SigV4 credential scope tells them apart. A request without one is a device's if it came with a client
certificate, and otherwise for the control plane. Signatures are not verified: whoever reaches the port may use it.
"""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from bridge.lab.aws_shapes import Operation, ServiceName, service
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode
from bridge.lab.jobs_state import Clock
from bridge.lab.jobs_store import JobsStore
from bridge.lab.principal import PrincipalSource
from bridge.lab.registry_model import RegistryRefusedError
from bridge.lab.rest_control import ControlRest, DocumentReader
from bridge.lab.rest_device import DeviceRest
from bridge.lab.rest_errors import error_response, refusal_response
from bridge.lab.rest_executions import ExecutionsRest
from bridge.lab.rest_groups import GroupsRest
from bridge.lab.rest_identity import DeviceGate, certificate_of
from bridge.lab.rest_members import read_members
from bridge.lab.rest_tags import TagsRest
from bridge.lab.rest_things import Attached, ThingsRest

_log = logging.getLogger(__name__)

Members = Mapping[str, Any]
Handler = Callable[[Members], Mapping[str, object]]
"""Takes the members of a request, gives those of the response, or raises JobsRejectedError."""
Handlers = Mapping[str, Handler]
"""By the operation's name."""
_Endpoint = Callable[[Request], Awaitable[Response]]

CONTROL_PLANE: Final[ServiceName] = "iot"
DATA_PLANE: Final[ServiceName] = "iot-jobs-data"
NOT_EMULATED: Final = tuple(
    name for name in service(CONTROL_PLANE).operations if "JobTemplate" in name or "Dynamic" in name
)
"""Calls that are refused by name."""
_SIGV4_SERVICE: Final = re.compile(r"Credential=[^/,]+/[0-9]{8}/[^/]+/([^/]+)/aws4_request")


def jobs_routes(
    store: JobsStore,
    *,
    mqtt_endpoint: Callable[[], str],
    clock: Clock = time.time,
    read_document: DocumentReader | None = None,
    principals: PrincipalSource | None = None,
    attached: Attached | None = None,
) -> list[BaseRoute]:
    """Give starlette routes for both planes.

    Args:
        store: The jobs.
        mqtt_endpoint: Gives the ``host:port`` that DescribeEndpoint names.
        clock: The store's clock.
        read_document: Reads the S3 object that a job's ``documentSource`` names; without it such jobs are refused.
        principals: Who is behind a client certificate; without it, the thing of its common name.
        attached: Certificates attached to a thing; without it, none ever is.
    """
    return routes_of(jobs_handlers(store, mqtt_endpoint, clock, read_document, attached), principals)


def jobs_handlers(
    store: JobsStore,
    mqtt_endpoint: Callable[[], str],
    clock: Clock = time.time,
    read_document: DocumentReader | None = None,
    attached: Attached | None = None,
) -> dict[ServiceName, Handlers]:
    """Give the handlers behind :func:`jobs_routes`; whoever knows more of an operation may replace its handler."""
    control: dict[str, Handler] = {
        **ThingsRest(store, mqtt_endpoint, attached).handlers,
        **ControlRest(store, clock, read_document).handlers,
        **ExecutionsRest(store, clock).handlers,
        **GroupsRest(store).handlers,
        **TagsRest(store).handlers,
        **{name: _refusal(name) for name in NOT_EMULATED},
    }
    return {CONTROL_PLANE: control, DATA_PLANE: DeviceRest(store, clock).handlers}


def routes_of(
    services: Mapping[ServiceName, Handlers], principals: PrincipalSource | None = None
) -> list[BaseRoute]:
    """Give routes for handlers, each at its operation's method and path.

    Args:
        services: Handlers by service; operations at the same method and path are told apart by the request's signature, or
            by its certificate.
        principals: Who is behind a client certificate.
    """
    gate = DeviceGate(principals)
    table: dict[tuple[str, str], dict[str, _Endpoint]] = {}
    for name, handlers in services.items():
        for key, handler in handlers.items():
            operation = service(name).operations[key]
            at = (operation.method, _path(operation))
            endpoint = _endpoint(operation, handler)
            table.setdefault(at, {})[name] = (
                _guarded(gate, operation, endpoint) if name == DATA_PLANE else endpoint
            )
    # Fixed parts of a path go before members: ``…/jobs/$next`` before ``…/jobs/{jobId}``.
    ordered = sorted(table.items(), key=lambda entry: entry[0][1].replace("{", "~"))
    return [Route(path, _by_service(choices), methods=[method]) for (method, path), choices in ordered]


def _path(operation: Operation) -> str:
    """The operation's path for starlette; a member without a pattern may hold slashes, as an ARN does."""
    model = service(operation.service)

    def member(match: re.Match[str]) -> str:
        shapes = model.shapes[operation.input_shape or ""]["members"].values()
        one = next(shape for shape in shapes if shape.get("locationName") == match.group(1))
        return match.group() if "pattern" in model.shapes[one["shape"]] else f"{{{match.group(1)}:path}}"

    return re.sub(r"\{(\w+)\}", member, operation.uri)


def _by_service(choices: Mapping[str, _Endpoint]) -> _Endpoint:
    first = next(iter(choices.values()))

    async def choose(request: Request) -> Response:
        match = _SIGV4_SERVICE.search(request.headers.get("authorization", ""))
        if match is not None:
            wanted = choices.get(match.group(1), first)
        else:
            wanted = choices.get(DATA_PLANE, first) if certificate_of(request) else first
        return await wanted(request)

    return choose


def _guarded(gate: DeviceGate, operation: Operation, endpoint: _Endpoint) -> _Endpoint:
    async def guarded(request: Request) -> Response:
        return gate.refusal(operation, request) or await endpoint(request)

    return guarded


def _endpoint(operation: Operation, handler: Handler) -> _Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return JSONResponse(dict(handler(await read_members(operation, request))))
        except JobsRejectedError as rejection:
            return error_response(operation, rejection)
        except RegistryRefusedError as refusal:
            return refusal_response(refusal)
        except Exception:  # noqa: BLE001 - the caller gets an answer, the log the bug
            _log.exception("bug while answering %s", operation.name)
            bug = JobsRejectedError(RejectionCode.INTERNAL_ERROR, "the local cloud failed; see its log")
            return error_response(operation, bug)

    return answer


def _refusal(name: str) -> Handler:
    def refuse(_members: Members) -> Mapping[str, object]:
        raise JobsRejectedError(RejectionCode.INVALID_REQUEST, f"not emulated by the local cloud: {name}")

    return refuse


class UnknownOperationRoute(BaseRoute):
    """Answers what is signed for a service of ours, and is none of the operations that the routes before it serve."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the credential scope names one of the services."""
        if scope["type"] != "http":
            return Match.NONE, {}
        signed = _SIGV4_SERVICE.search(Request(scope).headers.get("authorization", ""))
        known = signed is not None and signed[1] in {CONTROL_PLANE, DATA_PLANE}
        return (Match.FULL if known else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say which request it was."""
        message = f"not emulated by the local cloud: {scope['method']} {scope['path']}"
        response = JSONResponse(
            {"message": message},
            status_code=HTTPStatus.NOT_FOUND,
            headers={"x-amzn-ErrorType": "UnknownOperationException"},
        )
        await response(scope, receive, send)
