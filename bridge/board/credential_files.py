"""Credentials in files: read, looked at before they go to a board, and found in a directory by what they are."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from bridge.board.credential_types import CredentialType, NewCredential
from bridge.errors import UsageError
from bridge.secret_files import warn_if_open_to_others

_T = TypeVar("_T")

_MAX_FILE_BYTES: Final = 64 * 1024
_SECRET: Final = (CredentialType.PRIVATE_KEY, CredentialType.PSK)
_CERTIFICATES: Final = (CredentialType.ROOT_CA, CredentialType.CLIENT_CERTIFICATE)
_PSK: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(frozen=True)
class ThingFiles:
    """What a thing needs to connect.

    Attributes:
        ca_file: Authority of the broker.
        cert_file: The thing's certificate.
        key_file: Its private key.
    """

    ca_file: Path
    cert_file: Path
    key_file: Path

    def read(self) -> list[NewCredential]:
        """Read all three.

        Raises:
            UsageError: One cannot be used, or the key is not that of the certificate (``bad-credential``).
        """
        found = [
            read_credential(self.ca_file, CredentialType.ROOT_CA),
            read_credential(self.cert_file, CredentialType.CLIENT_CERTIFICATE),
            read_credential(self.key_file, CredentialType.PRIVATE_KEY),
        ]
        if _public_of_certificate(found[1].content) != _public_of_key(found[2].content):
            raise UsageError(
                f"{self.key_file} is not the private key of {self.cert_file}", reason="bad-credential"
            )
        return found


def read_credential(file: Path, kind: CredentialType) -> NewCredential:
    """Read a credential of a kind, and refuse what the board could not use.

    Line ends become LF, and there is none at the end: so the digest is the one that nrfcredstore would get.

    Raises:
        UsageError: The file cannot be read, is too large, or holds something else (``bad-credential``).
    """
    if kind in _SECRET:
        warn_if_open_to_others(file)
    text = _read(file)
    try:
        _check(text, kind)
    except ValueError:
        raise UsageError(
            f"{file} holds no {kind.text} that a modem can use: {_wanted(kind)}", reason="bad-credential"
        ) from None  # what libraries say may quote the content
    return NewCredential(kind, text)


def find_thing_files(
    directory: Path, thing_name: str | None = None, ca_file: Path | None = None
) -> ThingFiles:
    """Find certificate, key and authority of a thing in a directory by what the files hold, whatever they are called.

    Args:
        directory: Where they are.
        thing_name: Which thing, if there are several: by its name in the certificate, or in the file's name.
        ca_file: The authority, if there are several.

    Raises:
        UsageError: Something is missing, or there are several (``bad-thing-files``).
    """
    texts = dict(_pem_files(directory))
    keys = {file: public for file, text in texts.items() if (public := _public_of_key(text))}
    leaves = {file: text for file, text in texts.items() if _is_leaf(text)}
    pairs = [
        (cert, key)
        for cert, text in leaves.items()
        for key, public in keys.items()
        if public == _public_of_certificate(text)
    ]
    if thing_name is not None:
        pairs = [pair for pair in pairs if _is_of(thing_name, pair[0], leaves[pair[0]])]
    authorities = [ca_file] if ca_file else [file for file, text in texts.items() if _is_authority(text)]
    cert_file, key_file = _only(pairs, "certificate with its private key", directory, "--thing NAME")
    return ThingFiles(_only(authorities, "CA certificate", directory, "--ca FILE"), cert_file, key_file)


def _only(found: Sequence[_T], what: str, directory: Path, option: str) -> _T:
    if len(found) == 1:
        return found[0]
    count = "no" if not found else f"more than one ({len(found)})"
    raise UsageError(
        f"{directory} holds {count} {what}",
        reason="bad-thing-files",
        hint=f"{option} says which."
        if found
        else f"PEM files are looked for, by what they hold; {option} can name it.",
    )


def _pem_files(directory: Path) -> Iterator[tuple[Path, str]]:
    try:
        files = sorted(path for path in directory.iterdir() if path.is_file())
    except OSError as error:
        raise UsageError(
            f"cannot look into {directory}: {error.strerror}", reason="bad-thing-files"
        ) from error
    for file in files:
        if file.stat().st_size <= _MAX_FILE_BYTES:
            text = file.read_bytes().decode("latin-1")
            if "-----BEGIN" in text:
                yield file, text


def _read(file: Path) -> str:
    try:
        content = file.read_bytes()
        if len(content) > _MAX_FILE_BYTES:
            raise UsageError(f"{file} is too large for a credential", reason="bad-credential")
        text = content.decode("ascii")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", reason="bad-credential") from error
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no text: PEM is needed", reason="bad-credential") from None
    return "\n".join(text.splitlines()).rstrip()


def _check(text: str, kind: CredentialType) -> None:
    """Raise ValueError unless a modem can use the text."""
    if not text or '"' in text:  # a quote would end the AT command's parameter
        raise ValueError
    if kind in _CERTIFICATES:
        x509.load_pem_x509_certificates(text.encode())
    is_key = kind is not CredentialType.PRIVATE_KEY or _public_of_key(text) is not None
    is_psk = kind is not CredentialType.PSK or _PSK.fullmatch(text)
    if not is_key or not is_psk:
        raise ValueError


def _wanted(kind: CredentialType) -> str:
    wanted = {
        CredentialType.ROOT_CA: "it must be a certificate in PEM form",
        CredentialType.CLIENT_CERTIFICATE: "it must be a certificate in PEM form",
        CredentialType.PRIVATE_KEY: "it must be a private key in PEM form, not encrypted",
        CredentialType.PSK: "it must be an even number of hexadecimal digits",
    }
    return wanted.get(kind, "it must be text without quotes")


def _public_of_key(text: str) -> bytes | None:
    """The public half, DER; None for what is no private key, or an encrypted one."""
    if "PRIVATE KEY-----" not in text:
        return None
    try:
        key = load_pem_private_key(text.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _public_of_certificate(text: str) -> bytes:
    return (
        _certificates(text)[0]
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _certificates(text: str) -> list[x509.Certificate]:
    if "-----BEGIN CERTIFICATE-----" not in text:
        return []
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _is_authority(text: str) -> bool:
    found = _certificates(text)
    return bool(found) and all(_may_sign(certificate) for certificate in found)


def _is_leaf(text: str) -> bool:
    found = _certificates(text)
    return bool(found) and not _may_sign(found[0])


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return certificate.issuer == certificate.subject


def _is_of(thing_name: str, file: Path, text: str) -> bool:
    names = _certificates(text)[0].subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if any(name.value == thing_name for name in names):
        return True
    # Not "board-1" in "board-10.pem".
    return bool(re.search(rf"(?<![A-Za-z0-9]){re.escape(thing_name)}(?![A-Za-z0-9])", file.name))
