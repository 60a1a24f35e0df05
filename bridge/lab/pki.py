"""A throw-away certificate authority for the local cloud, on trustme; it lives in a directory and survives there.

Besides files for servers and things it signs requests, as AWS IoT does for whoever provisions a device.

These certificates are for a bench on one machine. Keys are readable by their owner only and are never overwritten.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

from bridge.errors import UsageError

SERVER_NAMES: Final = ("localhost", "127.0.0.1")
_DEVICE_END: Final = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
"""Certificates from AWS IoT end then."""
_THING_NAME: Final = re.compile(r"[a-zA-Z0-9:_-]{1,128}")


class LabPki:
    """Issues certificates of one CA.

    Args:
        directory: Where CA, certificates and keys live; made if it is missing. What is there is used again.

    Attributes:
        ca_file: The CA's certificate, PEM.

    Raises:
        UsageError: The directory cannot be used, or holds only half a CA.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca_file = directory / "ca.pem"
        self._ca_key_file = directory / "ca.key"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._authority = self._load_or_create()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot use {directory} for certificates: {error}",
                reason="bad-state-dir",
                hint="Choose another --state directory, or remove this one.",
            ) from error

    def issue_server(self, *names: str) -> tuple[Path, Path]:
        """Certificate chain and key (PEM files) of a server.

        Args:
            *names: Host names and addresses besides ``localhost`` and ``127.0.0.1``.
        """
        return self._issue("server", [*dict.fromkeys((*SERVER_NAMES, *names))])

    def issue_client(self, thing_name: str) -> tuple[Path, Path]:
        """Certificate and key (PEM files) of a thing; its name is the certificate's common name.

        Raises:
            UsageError: AWS IoT would not allow such a thing name.
        """
        if not _THING_NAME.fullmatch(thing_name):
            raise UsageError(
                f"{thing_name!r} is no thing name",
                reason="bad-thing-name",
                hint="Use 1 to 128 letters, digits, colons, underscores and hyphens.",
            )
        # A host name is needed by trustme; nobody connects to a thing.
        return self._issue(f"thing-{thing_name}", ["thing.invalid"], common_name=thing_name)

    def sign_request(self, request_pem: str) -> str:
        """Certificate (PEM) for a certificate signing request; the subject is the request's.

        Raises:
            ValueError: It is no request, or is not signed with its own key.
        """
        request = x509.load_pem_x509_csr(request_pem.encode())
        if not request.is_signature_valid:
            raise ValueError("its signature is wrong")
        return self._sign(request.subject, request.public_key())

    def issue_with_key(self) -> tuple[str, str, str]:
        """Certificate, private key and public key (PEM) for a device; the key is of the kind that AWS IoT makes."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AWS IoT Certificate")])
        private_pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        public_pem = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return self._sign(subject, key.public_key()), private_pem.decode(), public_pem.decode()

    def _sign(self, subject: x509.Name, public_key: CertificatePublicKeyTypes) -> str:
        authority = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        key = serialization.load_pem_private_key(self._ca_key_file.read_bytes(), None)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - timedelta(minutes=2))
            .not_valid_after(_DEVICE_END)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )
        signed = builder.sign(cast("ec.EllipticCurvePrivateKey", key), hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def _load_or_create(self) -> trustme.CA:
        if self.ca_file.exists() or self._ca_key_file.exists():
            return trustme.CA.from_pem(self.ca_file.read_bytes(), self._ca_key_file.read_bytes())
        authority = trustme.CA(organization_name="nRF91 Bridge local cloud")
        _write_private(self._ca_key_file, authority.private_key_pem.bytes())
        self.ca_file.write_bytes(authority.cert_pem.bytes())
        return authority

    def _issue(
        self, file_name: str, names: list[str], *, common_name: str | None = None
    ) -> tuple[Path, Path]:
        stem = file_name.replace(":", "_3a_")  # a colon is no character for a file name everywhere
        cert_file, key_file = self._directory / f"{stem}.pem", self._directory / f"{stem}.key"
        if cert_file.exists() and key_file.exists():
            return cert_file, key_file
        leaf = self._authority.issue_cert(*names, common_name=common_name)
        _write_private(key_file, leaf.private_key_pem.bytes())
        cert_file.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        return cert_file, key_file


def _write_private(path: Path, content: bytes) -> None:
    """Write a key that only its owner may read, and never over an existing one."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
