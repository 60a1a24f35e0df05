"""Who sends a request to the HTTP API: a user who signed it, or a device that showed its certificate.

Source: AWS IoT Developer Guide, "Devices and jobs" (HTTP Signature Version 4, or HTTP over TLS with the device's certificate)
and "Authorizing your devices to securely use AWS IoT Jobs on the data plane". A certificate speaks for the things that it is
attached to.
"""

import asyncio
import ssl
from collections.abc import Callable

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.requests import Request
from starlette.responses import JSONResponse

from bridge.lab.https_server import TRANSPORT
from bridge.lab.principal import PrincipalSource

ThingsOf = Callable[[bytes], frozenset[str]]
"""Takes a client certificate (DER), gives the things that it speaks for."""


def by_common_name(certificate_der: bytes) -> frozenset[str]:
    """The thing is the certificate's common name, as where nobody keeps a registry."""
    subject = x509.load_der_x509_certificate(certificate_der).subject
    return frozenset(str(name.value) for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def by_registry(source: PrincipalSource) -> ThingsOf:
    """The things are those that a registry has attached."""

    def things_of(certificate_der: bytes) -> frozenset[str]:
        principal = source.principal(certificate_der)
        return frozenset() if principal is None else principal.things

    return things_of


def is_signed(request: Request) -> bool:
    """Whether the request says that a user signed it; signatures are not verified here."""
    return request.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256")


def client_certificate(request: Request) -> bytes | None:
    """The certificate (DER) that the connection's client showed; None without one."""
    transport = request.scope.get("state", {}).get(TRANSPORT)
    if not isinstance(transport, asyncio.BaseTransport):
        return None
    tls = transport.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if isinstance(tls, ssl.SSLObject) else None


def forbidden(request: Request, things_of: ThingsOf) -> JSONResponse | None:
    """The refusal of a data plane request that comes neither from a user nor from the thing that it is about."""
    if is_signed(request):
        return None
    certificate = client_certificate(request)
    if certificate is not None and request.path_params["thingName"] in things_of(certificate):
        return None
    return JSONResponse(
        {"message": "Forbidden"}, status_code=403, headers={"x-amzn-ErrorType": "ForbiddenException"}
    )
