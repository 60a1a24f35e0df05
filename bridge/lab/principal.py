"""Who is behind a client certificate: the interface between the message broker and a registry of things.

Source: AWS IoT API reference, ``RegisterCertificate`` and ``AttachThingPrincipal``: a certificate is named by
the SHA-256 of its DER form, things and policies are attached to it.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from bridge.lab.iot_policy import PolicyDocument


@dataclass(frozen=True)
class Principal:
    """A registered, active certificate.

    Attributes:
        certificate_id: SHA-256 of the DER certificate, 64 lower-case hexadecimal digits.
        things: Names of the things that the certificate is attached to.
        policies: Policy documents attached to it; without any, nothing is allowed.
    """

    certificate_id: str
    things: frozenset[str]
    policies: tuple[PolicyDocument, ...]


class PrincipalSource(Protocol):
    """Looks certificates up, on the broker's thread, at each TLS connection; must not block."""

    def principal(self, certificate_der: bytes) -> Principal | None:
        """Who presents this certificate; None when it is unknown, inactive or revoked: no connection."""
        ...


def certificate_id(certificate_der: bytes) -> str:
    """AWS IoT's identifier of a certificate."""
    return hashlib.sha256(certificate_der).hexdigest()
