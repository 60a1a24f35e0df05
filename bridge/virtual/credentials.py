"""The modem's credential store behind ``%CMNG``, and keys that it makes itself (``%KEYGEN``).

Sources: nRF91 AT commands reference (``%CMNG``, ``%KEYGEN``) and nrfcredstore for operations, types, error
codes and the listing's digest: SHA-256 of the stored text. The number of entries is assumed.
"""

import base64
import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

MAX_TAG: Final = 2_147_483_647
MAX_ENTRIES: Final = 32
MAX_CONTENT_BYTES: Final = 4096


class CredentialType(IntEnum):
    """Third parameter of ``%CMNG``."""

    ROOT_CA = 0
    CLIENT_CERTIFICATE = 1
    PRIVATE_KEY = 2
    PSK = 3
    PSK_IDENTITY = 4
    PUBLIC_KEY = 5
    DEVICE_IDENTITY = 6
    RESERVED = 7
    ENDORSEMENT_KEY = 8
    OWNERSHIP_KEY = 9
    NORDIC_ROOT_CA = 10
    NORDIC_PUBLIC_KEY = 11


_WRITABLE: Final = frozenset(CredentialType(number) for number in range(5))
_SECRET: Final = frozenset(
    (CredentialType.CLIENT_CERTIFICATE, CredentialType.PRIVATE_KEY, CredentialType.PSK)
)
_FACTORY: Final = (
    (4_294_967_292, CredentialType.NORDIC_PUBLIC_KEY),
    (4_294_967_293, CredentialType.NORDIC_ROOT_CA),
    (4_294_967_294, CredentialType.DEVICE_IDENTITY),
)


class CmeCode(IntEnum):
    """``+CME ERROR`` numbers of the credential commands."""

    GENERIC = 0
    BAD_PARAMETER = 50
    NOT_FOUND = 513
    NO_ACCESS = 514
    MEMORY_FULL = 515
    RADIO_ACTIVE = 518
    ALREADY_EXISTS = 519
    KEYGEN_FAILED = 523


class CredentialError(Exception):
    """The store refuses an operation."""

    def __init__(self, code: CmeCode) -> None:
        super().__init__(f"+CME ERROR: {code:d}")
        self.code = code


@dataclass(frozen=True)
class Credential:
    """One entry as listed.

    Attributes:
        tag: Security tag.
        type: Kind of credential.
        sha256: 64 upper-case hex characters.
    """

    tag: int
    type: CredentialType
    sha256: str


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode("latin-1")).hexdigest().upper()


class CredentialStore:
    """Credentials by tag and type.

    Args:
        entries: What NVM holds: ``"tag,type"`` -> content; changed in place.
        device_id: Makes the digests of the factory's own entries differ between boards.
    """

    def __init__(self, entries: dict[str, str], device_id: str) -> None:
        self._entries = entries
        self._device_id = device_id

    def write(self, tag: int, kind: CredentialType, content: str) -> None:
        """Store or replace an entry."""
        if kind not in _WRITABLE or not content or len(content) > MAX_CONTENT_BYTES:
            raise CredentialError(CmeCode.BAD_PARAMETER)
        self._store(tag, kind, content)

    def read(self, tag: int, kind: CredentialType) -> tuple[Credential, str]:
        """An entry with its content; secrets cannot be read back."""
        content = self._entries.get(f"{tag},{kind:d}")
        if content is None:
            raise CredentialError(CmeCode.NOT_FOUND)
        if kind in _SECRET:
            raise CredentialError(CmeCode.NO_ACCESS)
        return Credential(tag, kind, _digest(content)), content

    def delete(self, tag: int, kind: CredentialType) -> None:
        """Remove an entry."""
        if self._entries.pop(f"{tag},{kind:d}", None) is None:
            raise CredentialError(CmeCode.NOT_FOUND)

    def listing(self, tag: int | None = None, kind: CredentialType | None = None) -> list[Credential]:
        """Entries in order of tag and type, those of the factory last."""
        own = [(int(key.split(",")[0]), CredentialType(int(key.split(",")[1])), key) for key in self._entries]
        found = [Credential(number, type_, _digest(self._entries[key])) for number, type_, key in sorted(own)]
        found += [
            Credential(number, type_, _digest(f"{self._device_id}{type_}")) for number, type_ in _FACTORY
        ]
        return [entry for entry in found if tag in (None, entry.tag) and kind in (None, entry.type)]

    def generate_key(self, tag: int, subject: str, *, public_key_only: bool) -> str:
        """Make a P-256 key in the modem.

        Args:
            tag: Where the private key is stored.
            subject: Subject of the certificate signing request, RFC 4514 (``CN=...,O=...``).
            public_key_only: Answer with the public key instead of a signing request.

        Returns:
            ``<body>.<signature>``, both base64url without padding: DER, and a COSE_Sign1 over it.
        """
        if f"{tag},{CredentialType.PRIVATE_KEY:d}" in self._entries:
            raise CredentialError(CmeCode.ALREADY_EXISTS)
        try:
            name = x509.Name.from_rfc4514_string(subject)
        except ValueError as error:
            raise CredentialError(CmeCode.BAD_PARAMETER) from error
        key = ec.generate_private_key(ec.SECP256R1())
        if public_key_only:
            body = key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        else:
            request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
            body = request.public_bytes(serialization.Encoding.DER)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self._store(tag, CredentialType.PRIVATE_KEY, pem.decode("ascii"))
        return f"{_base64url(body)}.{_base64url(_cose_sign1(key, body))}"

    def _store(self, tag: int, kind: CredentialType, content: str) -> None:
        key = f"{tag},{kind:d}"
        if not 0 <= tag <= MAX_TAG:
            raise CredentialError(CmeCode.BAD_PARAMETER)
        if key not in self._entries and len(self._entries) >= MAX_ENTRIES:
            raise CredentialError(CmeCode.MEMORY_FULL)
        self._entries[key] = content


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _cose_sign1(key: ec.EllipticCurvePrivateKey, body: bytes) -> bytes:
    protected = cbor2.dumps({1: -7})  # alg: ES256
    to_sign = cbor2.dumps(["Signature1", protected, b"", body])
    r, s = decode_dss_signature(key.sign(to_sign, ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, None, signature]))
