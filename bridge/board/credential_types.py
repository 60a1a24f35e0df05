"""Credentials of a modem as values: which kinds there are, what the modem lists, and what is to be written.

Source: Nordic's nRF91 AT commands reference, ``%CMNG``.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MAX_TAG: Final = 2_147_483_647
"""Tags above are the modem's own."""


class CredentialType(IntEnum):
    """Third parameter of ``%CMNG``."""

    ROOT_CA = 0
    CLIENT_CERTIFICATE = 1
    PRIVATE_KEY = 2
    PSK = 3
    PSK_IDENTITY = 4
    PUBLIC_KEY = 5
    DEVICE_IDENTITY = 6
    ENDORSEMENT_KEY = 8
    OWNERSHIP_KEY = 9
    NORDIC_ROOT_CA = 10
    NORDIC_PUBLIC_KEY = 11

    @property
    def text(self) -> str:
        """What people call it."""
        return self.name.lower().replace("_", "-")


WRITABLE: Final = (
    CredentialType.ROOT_CA,
    CredentialType.CLIENT_CERTIFICATE,
    CredentialType.PRIVATE_KEY,
    CredentialType.PSK,
    CredentialType.PSK_IDENTITY,
)


@dataclass(frozen=True)
class CredentialEntry:
    """One line of the list.

    Attributes:
        tag: Security tag, by which the board's firmware finds it.
        type: What it is; a plain number for a type that is not known here.
        sha256: Digest of the text, 64 upper-case hexadecimal digits; empty if the modem did not tell.
    """

    tag: int
    type: CredentialType | int
    sha256: str

    @property
    def is_own(self) -> bool:
        """Whether it is the modem's own, which nobody writes or deletes."""
        return self.tag > MAX_TAG

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        kind = self.type.text if isinstance(self.type, CredentialType) else str(self.type)
        return {"tag": self.tag, "type": int(self.type), "kind": kind, "sha256": self.sha256}


@dataclass(frozen=True)
class NewCredential:
    """What is to be written.

    Attributes:
        type: What it is.
        content: The text as it will be stored.
    """

    type: CredentialType
    content: str

    @property
    def sha256(self) -> str:
        """The digest that the modem will list."""
        return hashlib.sha256(self.content.encode()).hexdigest().upper()

    def __repr__(self) -> str:
        """Nothing of the content."""
        return f"NewCredential({self.type.text}, {len(self.content)} characters)"
