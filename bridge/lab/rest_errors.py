"""Rejections as AWS's REST-JSON protocol says them: a status, ``x-amzn-ErrorType`` and a message.

Source: ``error`` members of the exception shapes in botocore's ``iot`` and ``iot-jobs-data`` models. The data
plane's model names no exception for a version mismatch; VersionConflictException of the control plane is used
there. Where the execution's state decided, it is in the body, as the model says of InvalidStateTransitionException.
"""

from typing import Final

from starlette.responses import JSONResponse

from bridge.lab.jobs_api import state_body
from bridge.lab.jobs_model import JobsRejectedError, RejectionCode

_EXCEPTIONS: Final = {
    RejectionCode.INVALID_REQUEST: ("InvalidRequestException", 400),
    RejectionCode.INVALID_JSON: ("InvalidRequestException", 400),
    RejectionCode.RESOURCE_NOT_FOUND: ("ResourceNotFoundException", 404),
    RejectionCode.RESOURCE_ALREADY_EXISTS: ("ResourceAlreadyExistsException", 409),
    RejectionCode.VERSION_MISMATCH: ("VersionConflictException", 409),
    RejectionCode.INVALID_STATE_TRANSITION: ("InvalidStateTransitionException", 409),
    RejectionCode.TERMINAL_STATE_REACHED: ("TerminalStateException", 410),
}


def error_response(rejection: JobsRejectedError) -> JSONResponse:
    """Build the response that boto3 turns into a ``ClientError`` of the right class."""
    name, status = _EXCEPTIONS.get(rejection.code, ("InternalFailureException", 500))
    body: dict[str, object] = {"message": rejection.message}
    if rejection.execution is not None:
        body["executionState"] = state_body(rejection.execution)
    return JSONResponse(body, status_code=status, headers={"x-amzn-ErrorType": name})
