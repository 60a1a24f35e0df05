"""Making a thing that can work jobs: key, certificate, policy, and everything attached to everything; again does no harm.

The private key is made here and never leaves this computer: AWS IoT gets a certificate signing request
(CreateCertificateFromCsr). Source: AWS IoT Developer Guide, "Create a thing", and botocore's ``iot`` model.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bridge.cloud.deploy import EXISTS_REASON, NOT_FOUND_REASON, ControlPlane, translated
from bridge.cloud.job_messages import JobTopics
from bridge.cloud.thing_policy import policy_for, policy_name
from bridge.errors import CloudError, UsageError
from bridge.secret_files import warn_if_open_to_others

DeviceKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
"""What AWS IoT takes."""
_PEM: Final = serialization.Encoding.PEM


@dataclass(frozen=True)
class ThingFiles:
    """A thing's certificate and private key in a directory."""

    directory: Path
    thing_name: str

    @property
    def cert_file(self) -> Path:
        """Certificate, PEM."""
        return self.directory / f"{self._stem}.cert.pem"

    @property
    def key_file(self) -> Path:
        """Private key, PEM."""
        return self.directory / f"{self._stem}.key.pem"

    @property
    def _stem(self) -> str:
        return self.thing_name.replace(":", "_3a_")  # a colon is no character for a file name everywhere


@dataclass(frozen=True)
class ProvisionedThing:
    """What is there now.

    Attributes:
        thing_arn: The thing.
        certificate_id: Its certificate.
        policy_name: The policy attached to that.
        endpoint: Where the broker is.
        made: What was not there before: ``thing``, ``policy``, ``key``, ``certificate``.
        remarks: What a person should see.
    """

    files: ThingFiles
    thing_arn: str
    certificate_id: str
    policy_name: str
    endpoint: str
    made: tuple[str, ...]
    remarks: tuple[str, ...]


class ThingMaker:
    """Makes things.

    Args:
        plane: The cloud.
    """

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._made: list[str] = []
        self._remarks: list[str] = []

    def make(
        self,
        files: ThingFiles,
        *,
        policy: str | None = None,
        policy_document: str | None = None,
        works_for: Sequence[str] = (),
    ) -> ProvisionedThing:
        """Make what is missing of a thing, its policy, its key and certificate, and attach them.

        Args:
            files: Where key and certificate are, or shall be.
            policy: Name of the policy; by default one for this thing.
            policy_document: Its content if it must be made; by default the least that the agent needs.
            works_for: Other things whose jobs it may work too, in gateway mode.

        Raises:
            UsageError: The name is none, or files are there that do not belong together; nothing is overwritten.
            CloudError: The cloud refuses, or does not know the certificate that is there.
        """
        self._made, self._remarks = [], []
        JobTopics(files.thing_name)
        key = self._key(files)
        thing_arn = self._thing(files.thing_name)
        policy = policy or policy_name(files.thing_name)
        self._policy(policy, policy_document or policy_for(thing_arn, works_for))
        certificate_id, certificate_arn = self._certificate(files, key)
        with translated(f"attach the policy {policy} to the certificate"):
            self._plane.iot.attach_policy(policyName=policy, target=certificate_arn)
        with translated(f"attach the certificate to the thing {files.thing_name}"):
            self._plane.iot.attach_thing_principal(thingName=files.thing_name, principal=certificate_arn)
        endpoint = self._plane.access.mqtt_endpoint or self._plane.describe_endpoint()
        return ProvisionedThing(
            files, thing_arn, certificate_id, policy, endpoint, tuple(self._made), tuple(self._remarks)
        )

    def _key(self, files: ThingFiles) -> DeviceKey:
        if files.key_file.exists():
            return _load_key(files.key_file)
        if files.cert_file.exists():
            raise UsageError(
                f"{files.cert_file} is there, but its key {files.key_file} is not",
                reason="bad-certificate",
                hint="Bring the key back, or choose another --out directory for a new certificate.",
            )
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        _write_new(files.key_file, private, 0o600)
        self._made.append("key")
        return key

    def _thing(self, name: str) -> str:
        try:
            with translated(f"find the thing {name}"):
                return str(self._plane.iot.describe_thing(thingName=name)["thingArn"])
        except CloudError as error:
            if error.reason != NOT_FOUND_REASON:
                raise
        with translated(f"create the thing {name}"):
            arn = str(self._plane.iot.create_thing(thingName=name)["thingArn"])
        self._made.append("thing")
        return arn

    def _policy(self, name: str, wanted: str) -> None:
        try:
            with translated(f"create the policy {name}"):
                self._plane.iot.create_policy(policyName=name, policyDocument=wanted)
        except CloudError as error:
            if error.reason != EXISTS_REASON:
                raise
        else:
            self._made.append("policy")
            return
        with translated(f"read the policy {name}"):
            found = str(self._plane.iot.get_policy(policyName=name)["policyDocument"])
        if json.loads(found) != json.loads(wanted):
            self._remarks.append(f"the policy {name} was there with another content, and stays as it is")

    def _certificate(self, files: ThingFiles, key: DeviceKey) -> tuple[str, str]:
        if files.cert_file.exists():
            return self._known_certificate(files, key)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, files.thing_name[:64])])
        request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
        with translated("create the certificate"):
            answer = self._plane.iot.create_certificate_from_csr(
                certificateSigningRequest=request.public_bytes(_PEM).decode(), setAsActive=True
            )
        _write_new(files.cert_file, str(answer["certificatePem"]).encode(), 0o644)
        self._made.append("certificate")
        return str(answer["certificateId"]), str(answer["certificateArn"])

    def _known_certificate(self, files: ThingFiles, key: DeviceKey) -> tuple[str, str]:
        certificate = load_certificate(files.cert_file)
        if certificate.public_key() != key.public_key():
            raise UsageError(
                f"the key {files.key_file} does not belong to the certificate {files.cert_file}",
                reason="bad-certificate",
                hint="Choose another --out directory for a new pair.",
            )
        found = describe_certificate(self._plane, certificate_id(certificate))
        if found is None:
            raise CloudError(
                f"this account and region do not know the certificate {files.cert_file}",
                reason="certificate-unknown",
                hint="It is from another account, region or local cloud; choose another --out directory for a new one.",
            )
        if found["status"] != "ACTIVE":
            self._remarks.append(
                f"the certificate is {found['status']} and stays so; AWS refuses its connections"
            )
        return str(found["certificateId"]), str(found["certificateArn"])


def describe_certificate(plane: ControlPlane, name: str) -> dict[str, Any] | None:
    """What the cloud knows about a certificate; None if it does not know it.

    Raises:
        CloudError: The cloud refuses, or does not answer.
    """
    try:
        with translated("look for the certificate"):
            found: dict[str, Any] = plane.iot.describe_certificate(certificateId=name)[
                "certificateDescription"
            ]
            return found
    except CloudError as error:
        if error.reason == NOT_FOUND_REASON:
            return None
        raise


def load_certificate(file: Path) -> x509.Certificate:
    """Read a certificate; of a chain the first one.

    Raises:
        UsageError: The file cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no certificate in PEM"
        raise UsageError(f"the certificate {file} cannot be used: {why}", reason="bad-certificate") from error


def certificate_id(certificate: x509.Certificate) -> str:
    """AWS IoT's identifier of a certificate: its SHA-256."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _load_key(file: Path) -> DeviceKey:
    warn_if_open_to_others(file)
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no unencrypted key in PEM"
        raise UsageError(f"the key {file} cannot be used: {why}", reason="bad-certificate") from error
    if not isinstance(key, DeviceKey):
        raise UsageError(f"the key {file} is neither RSA nor EC", reason="bad-certificate")
    return key


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that is not there yet, and never over one that is."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}", reason="unwritable") from error
