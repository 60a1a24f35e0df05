"""Who sends a request to the Jobs data plane over HTTPS: a user who signed it, or a device that showed its certificate.

Source: AWS IoT Developer Guide, "Devices and jobs" (HTTP Signature Version 4, or HTTP over TLS with the device's certificate)
and "Authorizing your devices to securely use AWS IoT Jobs on the data plane" (``iotjobsdata`` actions on the thing).
"""

import asyncio
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse

from bridge.lab.aws_shapes import Operation
from bridge.lab.broker_certificate import read_certificate
from bridge.lab.broker_policy import ClientCertificate
from bridge.lab.https_server import TRANSPORT
from bridge.lab.iot_policy_rules import Decision, evaluate
from bridge.lab.principal import PrincipalSource


def is_signed(request: Request) -> bool:
    """Whether the request says that a user signed it; signatures are not verified here."""
    return request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")


def certificate_of(request: Request) -> ClientCertificate | None:
    """The client certificate of the request's connection, signed by the devices' CA; None without one."""
    transport = request.scope.get("state", {}).get(TRANSPORT)
    if not isinstance(transport, asyncio.BaseTransport):
        return None
    found = read_certificate(transport)
    return found if found.der else None


@dataclass(frozen=True)
class DeviceGate:
    """Lets devices call what their policies allow.

    Attributes:
        principals: Who is behind a certificate. Without a registry a certificate speaks for the thing of its common name.
    """

    principals: PrincipalSource | None = None

    def refusal(self, operation: Operation, request: Request) -> JSONResponse | None:
        """The refusal of a call that comes neither from a user nor from a device that may make it; None lets it pass."""
        if is_signed(request) or self._may(operation, request):
            return None
        return JSONResponse(
            {"message": "Forbidden"}, status_code=403, headers={"x-amzn-ErrorType": "ForbiddenException"}
        )

    def _may(self, operation: Operation, request: Request) -> bool:
        certificate = certificate_of(request)
        if certificate is None:
            return False
        thing = request.path_params["thingName"]
        if self.principals is None:
            return bool(thing == certificate.common_name)
        principal = self.principals.principal(certificate.der)
        if principal is None:
            return False
        context = {"iot:CertificateId": (principal.certificate_id,), **certificate.names}
        action = f"iotjobsdata:{operation.name}"
        return evaluate(principal.policies, action, f"thing/{thing}", context) is Decision.ALLOWED
