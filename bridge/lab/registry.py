"""Who may connect and what they may do there: certificates, policies, and what is attached to what. No I/O but the file.

Source: AWS IoT API Reference (CreatePolicy, AttachPolicy, UpdateCertificate, DeleteCertificate, DeletePolicy and their
errors); quotas of the AWS IoT Core endpoint page (five versions a policy, ten policies a certificate).
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bridge.errors import UsageError
from bridge.image.atomic_file import write_atomically
from bridge.lab.principal import Principal, certificate_id
from bridge.lab.registry_model import (
    MAX_POLICIES_A_CERTIFICATE,
    Certificate,
    CertificateStatus,
    Policy,
    RegistryRefusedError,
)
from bridge.lab.registry_policies import PolicyBook

_PRINCIPAL: Final = re.compile(r"(?:arn:[^:]+:iot:[^:]*:[^:]*:cert/)([0-9a-f]{64})")


class Registry:
    """The registry; thread-safe. It is a :class:`~bridge.lab.principal.PrincipalSource` for the broker.

    Args:
        file: Where it is kept; without one it lives in memory.
        thing_exists: Whether there is a thing of that name; things are kept by the Jobs service.
        clock: Epoch seconds.

    Attributes:
        policy_book: The policies themselves.

    Raises:
        UsageError: The file cannot be used.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        thing_exists: Callable[[str], bool] = lambda _: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._thing_exists = thing_exists
        self._clock = clock
        self._lock = threading.RLock()
        self._gathering = 0
        self._certificates: dict[str, Certificate] = {}
        self.policy_book: Final = PolicyBook(self._change, self.targets_of)
        if file is not None and file.exists():
            self._load(file)

    def principal(self, certificate_der: bytes) -> Principal | None:
        """Who presents this certificate; None when it is unknown, inactive or revoked."""
        with self._lock:
            found = self._certificates.get(certificate_id(certificate_der))
            if found is None or found.status != "ACTIVE":
                return None
            documents = tuple(self.policy_book.get(name).default.document for name in found.policies)
            return Principal(found.certificate_id, frozenset(found.things), documents)

    def register(self, pem: str, *, active: bool) -> Certificate:
        """Take a certificate in.

        Raises:
            RegistryRefusedError: It is none, or is there already.
        """
        try:
            der = x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
        except ValueError:
            raise RegistryRefusedError(
                "CertificateValidationException", "the certificate is no X.509 certificate in PEM"
            ) from None
        name = certificate_id(der)
        with self._change() as now:
            if name in self._certificates:
                raise RegistryRefusedError(
                    "ResourceAlreadyExistsException", "The certificate is already registered."
                )
            status: CertificateStatus = "ACTIVE" if active else "INACTIVE"
            self._certificates[name] = certificate = Certificate(name, pem, status, now, now)
            return certificate

    def certificate(self, name: str) -> Certificate:
        """Find a certificate by its id.

        Raises:
            RegistryRefusedError: It is not there.
        """
        with self._lock:
            found = self._certificates.get(name.lower())
        if found is None:
            raise _not_found(f"The certificate {name} does not exist.")
        return found

    def by_arn(self, arn: str) -> Certificate:
        """Find a certificate by its ARN, as principals and policy targets are named.

        Raises:
            RegistryRefusedError: It is no certificate's ARN, or the certificate is not there.
        """
        match = _PRINCIPAL.fullmatch(arn)
        if match is None:
            raise RegistryRefusedError(
                "InvalidRequestException", f"{arn!r} is no certificate's ARN; others are not emulated"
            )
        return self.certificate(match[1])

    @property
    def certificates(self) -> list[Certificate]:
        """All certificates, the oldest first."""
        with self._lock:
            return [*self._certificates.values()]

    def set_status(self, name: str, status: CertificateStatus) -> None:
        """Activate, deactivate or revoke a certificate; it counts from the next connection on."""
        with self._change() as now:
            certificate = self.certificate(name)
            certificate.status, certificate.modified_at = status, now

    def delete_certificate(self, name: str, *, force: bool = False) -> None:
        """Remove a certificate.

        Args:
            name: Its id.
            force: Also one with policies.

        Raises:
            RegistryRefusedError: It is active, or something is attached to it.
        """
        with self._change():
            certificate = self.certificate(name)
            if certificate.status == "ACTIVE":
                raise RegistryRefusedError(
                    "CertificateStateException", "The certificate must be made INACTIVE before it is deleted."
                )
            if certificate.things or (certificate.policies and not force):
                raise RegistryRefusedError(
                    "DeleteConflictException", "Things or policies must be detached before deletion."
                )
            del self._certificates[certificate.certificate_id]

    def attach_thing(self, thing_name: str, arn: str) -> None:
        """Attach a certificate to a thing; again is no error.

        Raises:
            RegistryRefusedError: One of them is not there.
        """
        with self._change():
            certificate = self._at_thing(thing_name, arn)
            if thing_name not in certificate.things:
                certificate.things.append(thing_name)

    def detach_thing(self, thing_name: str, arn: str) -> None:
        """Detach a certificate from a thing; again is no error."""
        with self._change():
            certificate = self._at_thing(thing_name, arn)
            certificate.things = [name for name in certificate.things if name != thing_name]

    def principals_of(self, thing_name: str) -> list[str]:
        """ARNs of the certificates attached to a thing."""
        with self._lock:
            self._require_thing(thing_name)
            return [each.arn for each in self._certificates.values() if thing_name in each.things]

    @property
    def policies(self) -> list[Policy]:
        """All policies."""
        with self._lock:
            return self.policy_book.every

    def create_policy(self, name: str, text: str) -> Policy:
        """Make a policy.

        Raises:
            RegistryRefusedError: Its name is none or taken, its document is none.
        """
        return self.policy_book.create(name, text)

    def attach_policy(self, name: str, arn: str) -> None:
        """Attach a policy to a certificate; again is no error.

        Raises:
            RegistryRefusedError: One of them is not there, or the certificate has ten.
        """
        with self._change():
            self.policy_book.get(name)
            certificate = self.by_arn(arn)
            if name in certificate.policies:
                return
            if len(certificate.policies) >= MAX_POLICIES_A_CERTIFICATE:
                raise RegistryRefusedError(
                    "LimitExceededException", f"at most {MAX_POLICIES_A_CERTIFICATE} policies a certificate"
                )
            certificate.policies.append(name)

    def detach_policy(self, name: str, arn: str) -> None:
        """Detach a policy from a certificate; again is no error."""
        with self._change():
            certificate = self.by_arn(arn)
            certificate.policies = [each for each in certificate.policies if each != name]

    def targets_of(self, name: str) -> list[str]:
        """ARNs of what a policy is attached to."""
        with self._lock:
            return [each.arn for each in self._certificates.values() if name in each.policies]

    def _at_thing(self, thing_name: str, arn: str) -> Certificate:
        self._require_thing(thing_name)
        return self.by_arn(arn)

    def _require_thing(self, thing_name: str) -> None:
        if not self._thing_exists(thing_name):
            raise _not_found(f"Thing {thing_name} not found.")

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write the file once for all the changes in the block: it is written as a whole, for hundreds of things slowly."""
        with self._lock:
            self._gathering += 1
            try:
                yield
            finally:
                self._gathering -= 1
                self._save()

    @contextmanager
    def _change(self) -> Iterator[float]:
        with self._lock:
            yield self._clock()
            self._save()

    def _save(self) -> None:
        if self._file is not None and not self._gathering:
            plain = {
                "schema": 1,
                "certificates": [asdict(each) for each in self._certificates.values()],
                "policies": [each.to_dict() for each in self.policy_book.every],
            }
            write_atomically(self._file, json.dumps(plain).encode())

    def _load(self, file: Path) -> None:
        try:
            plain: dict[str, Any] = json.loads(file.read_text())
            certificates = [Certificate(**each) for each in plain["certificates"]]
            policies = [Policy.from_dict(each) for each in plain["policies"]]
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise UsageError(
                f"cannot use the registry {file}: {error}",
                reason="bad-state-dir",
                hint="Choose another --state directory, or remove this file.",
            ) from error
        self._certificates = {each.certificate_id: each for each in certificates}
        self.policy_book.fill(policies)


def _not_found(message: str) -> RegistryRefusedError:
    return RegistryRefusedError("ResourceNotFoundException", message)
