"""What the modem remembers without power: identity, firmware, credentials and its update area."""

import base64
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any, Final

_NAMESPACE: Final = uuid.UUID("6e524639-3142-7269-6467-65766972740a")


def firmware_uuid(version: str) -> str:
    """UUID of a modem build of the virtual board, the same for everybody: ``%XMODEMUUID`` names a build."""
    return str(uuid.uuid5(_NAMESPACE, f"mfw_{version}"))


@dataclass
class DeltaArea:
    """The modem's update area as it is on its flash.

    Attributes:
        content: Bytes that were written, from offset 0.
        dirty: An update was tried from it; it must be erased before new data is written.
        scheduled: The next start of the modem applies it.
    """

    content: bytearray = field(default_factory=bytearray)
    dirty: bool = False
    scheduled: bool = False


@dataclass
class ModemNvm:
    """Everything that survives a power cycle of the modem.

    Attributes:
        imei: 15 digits.
        device_uuid: ``%DEVICEUUID``.
        family: Part of every firmware name, such as ``nrf91x1``.
        version: Running firmware, such as ``2.0.2``.
        modem_uuid: UUID of the running firmware build.
        credentials: See :class:`bridge.virtual.credentials.CredentialStore`.
        delta: The update area.
    """

    imei: str = "359404230074347"
    device_uuid: str = "504d5632-3739-42fb-80c8-1411df972166"
    family: str = "nrf91x1"
    version: str = "2.0.2"
    modem_uuid: str = ""
    credentials: dict[str, str] = field(default_factory=dict)
    delta: DeltaArea = field(default_factory=DeltaArea)

    def __post_init__(self) -> None:
        self.modem_uuid = self.modem_uuid or firmware_uuid(f"{self.family}_{self.version}")

    @property
    def firmware_name(self) -> str:
        """What ``+CGMR`` answers."""
        return f"mfw_{self.family}_{self.version}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(self)
        data["delta"]["content"] = base64.b64encode(self.delta.content).decode("ascii")
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ModemNvm":
        """The reverse of :meth:`to_dict`; raises KeyError, TypeError or ValueError for anything else."""
        delta = data["delta"]
        content = bytearray(base64.b64decode(delta["content"], validate=True))
        return cls(**{**data, "delta": DeltaArea(content, bool(delta["dirty"]), bool(delta["scheduled"]))})
