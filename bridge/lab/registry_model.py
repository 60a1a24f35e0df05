"""Certificates and policies of the local cloud as values, and how the registry refuses.

Source: botocore's ``iot`` model (members, patterns, error names and statuses).
"""

from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self, cast, get_args

from bridge.errors import CloudError
from bridge.lab.iot_policy import PolicyDocument

CertificateStatus = Literal["ACTIVE", "INACTIVE", "REVOKED"]
SETTABLE_STATUSES: Final = get_args(CertificateStatus)
ARN_PREFIX: Final = "arn:aws:iot:us-east-1:000000000000"
MAX_POLICY_VERSIONS: Final = 5
MAX_POLICIES_A_CERTIFICATE: Final = 10


class RegistryRefusedError(CloudError):
    """The registry refuses a request.

    Attributes:
        name: AWS's name of the error.
    """

    default_reason = "registry-refused"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass
class Certificate:
    """A device's certificate.

    Attributes:
        certificate_id: SHA-256 of its DER form, in hex.
        pem: The certificate.
        created_at: Epoch seconds.
        things: Names of the things it is attached to.
        policies: Names of the policies attached to it.
    """

    certificate_id: str
    pem: str
    status: CertificateStatus
    created_at: float
    modified_at: float
    things: list[str] = field(default_factory=list)
    policies: list[str] = field(default_factory=list)

    @property
    def arn(self) -> str:
        """ARN, by which it is a principal."""
        return f"{ARN_PREFIX}:cert/{self.certificate_id}"


@dataclass
class PolicyVersion:
    """One version of a policy's document; never changes."""

    version_id: str
    text: str
    created_at: float
    document: PolicyDocument


@dataclass
class Policy:
    """A named policy with up to five versions, one of them in force."""

    name: str
    versions: list[PolicyVersion]
    default_id: str
    last_number: int

    @property
    def arn(self) -> str:
        """ARN."""
        return f"{ARN_PREFIX}:policy/{self.name}"

    @property
    def default(self) -> PolicyVersion:
        """The version in force."""
        return next(each for each in self.versions if each.version_id == self.default_id)

    def version(self, version_id: str) -> PolicyVersion:
        """One version.

        Raises:
            RegistryRefusedError: It is not there.
        """
        found = next((each for each in self.versions if each.version_id == version_id), None)
        if found is None:
            raise RegistryRefusedError(
                "ResourceNotFoundException",
                f"Policy version not found (name={self.name}, version={version_id})",
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """For a file."""
        return {
            "name": self.name,
            "default_id": self.default_id,
            "last_number": self.last_number,
            "versions": [
                {"version_id": each.version_id, "text": each.text, "created_at": each.created_at}
                for each in self.versions
            ],
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Self:
        """From a file.

        Raises:
            UsageError: A document is no policy.
        """
        versions = [
            PolicyVersion(**each, document=PolicyDocument.parse(each["text"])) for each in plain["versions"]
        ]
        return cls(plain["name"], versions, plain["default_id"], plain["last_number"])


def check_status(status: object) -> CertificateStatus:
    """A status that a caller may set."""
    if status not in SETTABLE_STATUSES:
        raise RegistryRefusedError("InvalidRequestException", f"a certificate cannot be made {status!r}")
    return cast("CertificateStatus", status)
