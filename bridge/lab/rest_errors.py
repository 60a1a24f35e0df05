"""Rejections as AWS's REST-JSON protocol says them: a status, ``x-amzn-ErrorType`` and a message.

Source: ``error`` members of the exception shapes in botocore's ``iot`` and ``iot-jobs-data`` models. The data plane's model
names no exception for a version mismatch, but its texts promise one with the execution's state; the control plane's
VersionConflictException is used there.
"""

from typing import Final

from starlette.responses import JSONResponse

from bridge.lab.aws_shapes import Operation, service
from bridge.lab.jobs_api import state_body
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode
from bridge.lab.registry_model import RegistryRefusedError

_EXCEPTIONS: Final = {
    RejectionCode.INVALID_TOPIC: "InvalidRequestException",
    RejectionCode.INVALID_REQUEST: "InvalidRequestException",
    RejectionCode.INVALID_JSON: "InvalidRequestException",
    RejectionCode.RESOURCE_NOT_FOUND: "ResourceNotFoundException",
    RejectionCode.RESOURCE_ALREADY_EXISTS: "ResourceAlreadyExistsException",
    RejectionCode.VERSION_MISMATCH: "VersionConflictException",
    RejectionCode.VERSION_CONFLICT: "VersionConflictException",
    RejectionCode.INVALID_STATE_TRANSITION: "InvalidStateTransitionException",
    RejectionCode.TERMINAL_STATE_REACHED: "TerminalStateException",
    RejectionCode.REQUEST_THROTTLED: "ThrottlingException",
    RejectionCode.LIMIT_EXCEEDED: "LimitExceededException",
}
_INTERNAL: Final = ("InternalFailureException", "ServiceUnavailableException", "InternalServerException")


def error_response(operation: Operation, rejection: JobsRejectedError) -> JSONResponse:
    """Build the response that boto3 turns into a ``ClientError`` of the right class."""
    name = _EXCEPTIONS.get(rejection.code) or next(one for one in _INTERNAL if one in operation.errors)
    status = service(operation.service).error_status.get(name) or service("iot").error_status[name]
    body: dict[str, object] = {"message": rejection.message}
    if rejection.execution is not None and operation.service == "iot-jobs-data":
        body["executionState"] = state_body(rejection.execution)
    return JSONResponse(body, status_code=status, headers={"x-amzn-ErrorType": name})


def refusal_response(refusal: RegistryRefusedError) -> JSONResponse:
    """The same for a refusal of the registry, which knows AWS's names itself."""
    status = service("iot").error_status[refusal.name]
    return JSONResponse(
        {"message": refusal.message}, status_code=status, headers={"x-amzn-ErrorType": refusal.name}
    )
