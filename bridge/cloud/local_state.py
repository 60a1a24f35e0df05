"""How commands find a local cloud: a file in its state directory, which says where it is and how to sign.

The local cloud writes it when it starts; ``--cloud-state DIR`` reads it.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from bridge.errors import UsageError

FILE_NAME: Final = "cloud.json"
_SCHEMA: Final = 1
_MEMBERS: Final = (
    "endpoint_url",
    "mqtt_endpoint",
    "ca_file",
    "region",
    "access_key_id",
    "secret_access_key",
    "bucket",
)


@dataclass(frozen=True)
class LocalCloudState:
    """Where a local cloud is.

    Attributes:
        endpoint_url: Its AWS-like API, S3 included.
        mqtt_endpoint: ``host:port`` of its broker.
        ca_file: Certificate of the authority that signed its servers' certificates.
        region: The one region it has.
        access_key_id: Whose signature S3 requests need.
        secret_access_key: With what they are signed.
        bucket: A bucket that is there.
    """

    endpoint_url: str
    mqtt_endpoint: str
    ca_file: Path
    region: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    bucket: str

    def write(self, directory: Path) -> None:
        """Write the file, for its owner only.

        Raises:
            OSError: It cannot be written.
        """
        text = json.dumps({"schema": _SCHEMA, **asdict(self), "ca_file": str(self.ca_file)}, indent=1)
        draft = directory / f".{FILE_NAME}"
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        draft.replace(directory / FILE_NAME)

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the file.

        Raises:
            UsageError: There is none, or it is not one of ours.
        """
        file = directory / FILE_NAME
        try:
            members = json.loads(file.read_text(encoding="utf-8"))
            members = {name: members[name] for name in _MEMBERS}
            return cls(**{**members, "ca_file": Path(members["ca_file"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = error.strerror if isinstance(error, OSError) else f"it cannot be read: {error}"
            raise UsageError(
                f"{file}: {why}",
                reason="no-local-cloud",
                hint=f"Start one with: nrf91-bridge cloud --state {directory}",
            ) from error
