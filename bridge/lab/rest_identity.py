"""Who sends a request to the HTTP API: a user who signed it, or a device that showed its certificate.

Source: AWS IoT Developer Guide, "Devices and jobs" (HTTP Signature Version 4, or HTTP over TLS with the device's certificate)
and "Authorizing your devices to securely use AWS IoT Jobs on the data plane". As in
:mod:`bridge.lab.broker_policy`, a certificate speaks for the thing of its common name and for no other.
"""

import asyncio

from starlette.requests import Request
from starlette.responses import JSONResponse

from bridge.lab.https_server import TRANSPORT


def is_signed(request: Request) -> bool:
    """Whether the request says that a user signed it; signatures are not verified here."""
    return request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")


def thing_of(request: Request) -> str | None:
    """The thing that the connection's client certificate speaks for; None without a certificate."""
    transport = request.scope.get("state", {}).get(TRANSPORT)
    if not isinstance(transport, asyncio.BaseTransport):
        return None
    certificate = transport.get_extra_info("peercert") or {}
    names = (name for relative in certificate.get("subject", ()) for name in relative)
    return next((value for kind, value in names if kind == "commonName"), None)


def forbidden(request: Request) -> JSONResponse | None:
    """The refusal of a data plane request that comes neither from a user nor from the thing that it is about."""
    if is_signed(request) or thing_of(request) == request.path_params["thing"]:
        return None
    return JSONResponse(
        {"message": "Forbidden"}, status_code=403, headers={"x-amzn-ErrorType": "ForbiddenException"}
    )
