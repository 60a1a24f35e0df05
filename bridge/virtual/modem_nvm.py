"""What the modem remembers without power: identity, firmware, credentials and its update area."""

import base64
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from bridge.image.sample_modem import (
    FIRMWARE_HEADER_ADDRESS,
    FIRMWARE_HEADER_BYTES,
    ModemFirmware,
    decode_modem_firmware,
    patch_firmware_header,
)
from bridge.virtual.credentials import CredentialType
from bridge.virtual.modem_flash import ModemFlash

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
        version: Delivered firmware with the deltas since, such as ``2.0.2``; a full update makes it worthless.
        modem_uuid: UUID of that firmware build.
        credentials: See :class:`bridge.virtual.credentials.CredentialStore`.
        delta: The update area.
        flash: What full updates have written.
    """

    imei: str = "359404230074347"
    device_uuid: str = "504d5632-3739-42fb-80c8-1411df972166"
    family: str = "nrf91x1"
    version: str = "2.0.2"
    modem_uuid: str = ""
    credentials: dict[str, str] = field(default_factory=dict)
    delta: DeltaArea = field(default_factory=DeltaArea)
    flash: ModemFlash = field(default_factory=ModemFlash)

    def __post_init__(self) -> None:
        self.modem_uuid = self.modem_uuid or firmware_uuid(f"{self.family}_{self.version}")

    @property
    def firmware(self) -> ModemFirmware | None:
        """The firmware that the modem starts; None when its flash holds none that is whole."""
        if self.flash.is_as_delivered:
            return ModemFirmware(self.family, self.version, self.modem_uuid)
        return decode_modem_firmware(self.flash.read)

    def patch_firmware(self, version: str, modem_uuid: str) -> None:
        """Make the firmware another version, as a delta update does."""
        if self.flash.is_as_delivered:
            self.version, self.modem_uuid = version, modem_uuid
        else:
            header = self.flash.read(FIRMWARE_HEADER_ADDRESS, FIRMWARE_HEADER_BYTES)
            patched = patch_firmware_header(header, version, modem_uuid)
            self.flash.overwrite(FIRMWARE_HEADER_ADDRESS, patched)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(replace(self, flash=ModemFlash()))
        data["delta"]["content"] = base64.b64encode(self.delta.content).decode("ascii")
        data["flash"] = self.flash.to_dict()
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ModemNvm":
        """The reverse of :meth:`to_dict`; raises KeyError, TypeError or ValueError for anything else."""
        delta = data["delta"]
        content = bytearray(base64.b64decode(delta["content"], validate=True))
        area = DeltaArea(content, bool(delta["dirty"]), bool(delta["scheduled"]))
        for name in ("imei", "device_uuid", "family", "version", "modem_uuid"):
            _check_text(data[name])
        for key, value in data["credentials"].items():
            tag, kind = key.split(",")
            CredentialType(int(kind))
            if int(tag) < 0:
                raise ValueError("a credential has no tag")
            _check_text(value)
        return cls(**{**data, "delta": area, "flash": ModemFlash.from_dict(data.get("flash", {}))})


def _check_text(value: object) -> None:
    """The modem's texts go to the line and into digests byte by byte."""
    if not isinstance(value, str):
        raise TypeError("a value is no text")
    value.encode("latin-1")
