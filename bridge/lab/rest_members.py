"""A request's members, gathered from path, query, headers and body, typed and checked against the operation's shape.

Source: AWS's REST-JSON protocol, as botocore's serializer writes it: members with a ``location`` are in the path, the query
or a header, all others in a JSON object in the body.
"""

import json
from typing import Any

from starlette.requests import Request

from bridge.lab.aws_shapes import Operation, ServiceModel, service
from bridge.lab.jobs_limits import invalid
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode


async def read_members(operation: Operation, request: Request) -> dict[str, Any]:
    """Read and check a request; members without a value are absent.

    Raises:
        JobsRejectedError: InvalidRequest.
    """
    model = service(operation.service)
    if operation.input_shape is None:
        return {}
    members = await _body(request)
    names = model.shapes[operation.input_shape]["members"]
    if elsewhere := sorted(set(members) & {name for name, one in names.items() if "location" in one}):
        raise invalid(f"{elsewhere[0]} does not belong into the body")
    known_query = set()
    for name, one in names.items():
        key = one.get("locationName", name)
        match one.get("location"):
            case "uri":
                text = request.path_params.get(key)
            case "querystring":
                known_query.add(key)
                text = request.query_params.get(key)
            case "header":
                text = request.headers.get(key)
            case _:
                continue
        if text is not None:
            members[name] = _typed(model, one["shape"], name, text)
    if unknown := sorted(set(request.query_params) - known_query):
        raise invalid(f"there is no parameter {unknown[0]}")
    model.check(operation.input_shape, members, "")
    return {name: value for name, value in members.items() if value is not None}


def _typed(model: ServiceModel, shape: str, name: str, text: str) -> object:
    kind = model.shapes[shape]["type"]
    try:
        if kind in {"integer", "long"}:
            return int(text)
        if kind == "double":
            return float(text)
    except ValueError:
        raise invalid(f"{name} must be a number") from None
    if kind == "boolean":
        if text.lower() not in {"true", "false"}:
            raise invalid(f"{name} must be true or false")
        return text.lower() == "true"
    return text


async def _body(request: Request) -> dict[str, Any]:
    text = await request.body()
    try:
        body = json.loads(text) if text else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise JobsRejectedError(RejectionCode.INVALID_JSON, "the request is no JSON object")
    return body
