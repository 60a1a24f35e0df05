"""The values that describe a firmware file; frozen, and printable as JSON."""

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from bridge.image.app_delta import AppDeltaInfo
from bridge.image.intelhex_file import IntelHexInfo
from bridge.image.mcuboot import McubootHeader, McubootInfo, Tlv
from bridge.image.modem_delta import ModemDeltaInfo
from bridge.image.modem_full import ModemFullInfo
from bridge.image.package_info import DfuPackageInfo, ModemPackageInfo


class ImageKind(StrEnum):
    """What a firmware file is, told from its content.

    ``MCUBOOT_BOOTLOADER`` (an update of MCUboot itself in slot s0 or s1) looks like any other MCUboot
    image; only a package's manifest tells it apart.
    """

    APPLICATION = "application"
    APP_DELTA = "app-delta"
    MODEM_DELTA = "modem-delta"
    MODEM_FULL = "modem-full"
    MCUBOOT_BOOTLOADER = "mcuboot-bootloader"
    INTEL_HEX = "intel-hex"
    DFU_PACKAGE = "dfu-package"
    MODEM_PACKAGE = "modem-package"


@dataclass(frozen=True)
class BootloaderImage:
    """What decides whether an update of MCUboot itself can work.

    Attributes:
        slot: Slot of MCUboot that it is linked for, 0 (s0) or 1 (s1); None if nothing tells.
        counter: Monotonic version that the immutable bootloader goes by; None if the image carries none.
    """

    slot: int | None
    counter: int | None


@dataclass(frozen=True)
class ImageHead:
    """What the first bytes of an image tell.

    Attributes:
        kind: What it is. A zip archive counts as a DFU package until all of it was seen.
        name: File name.
        version: ``major.minor.revision``, with ``+build`` if there is one; for a modem delta the
            target in its name, for an application delta the target in its header, for an update of MCUboot itself its
            counter.
        base_version: For a delta, the firmware that it updates; of a modem delta only if its name says so.
        mcuboot: The header of an MCUboot image.
        modem_full: The manifest of a full modem image: its segments, and the digest that they must have.
        app_delta: The header of an application delta, with the digests of its base and its target.
        bootloader: For an update of MCUboot itself.
        board: Board target that it was built for, if it came in a package whose manifest tells.
        soc: Chip that it was built for, likewise.
        image_index: Number of the MCUboot image that it is for, as the order says; 0 on boards with one.
    """

    kind: ImageKind
    name: str
    version: str | None = None
    base_version: str | None = None
    mcuboot: McubootHeader | None = None
    modem_full: ModemFullInfo | None = None
    app_delta: AppDeltaInfo | None = None
    bootloader: BootloaderImage | None = None
    board: str | None = None
    soc: str | None = None
    image_index: int = 0


@dataclass(frozen=True)
class FirmwareImage:
    """A firmware file that was read to its end and found whole.

    Attributes:
        kind: What it is.
        name: File name, without folders and URL queries.
        size_bytes: Size of the file.
        sha256: SHA-256 of the file, in hex; not the image digest that MCUboot knows.
        version: ``major.minor.revision``, with ``+build`` if there is one; for modem firmware what its name
            gives, for an update of MCUboot itself its counter.
        base_version: For a delta, the firmware that it updates; of a modem delta only if its name says so.
        mcuboot: For an MCUboot image; also the only one inside an Intel HEX file.
        modem_delta: For a modem delta.
        modem_full: For full modem firmware.
        intel_hex: For Intel HEX.
        dfu_package: For a DFU package.
        modem_package: For a modem release.
        app_delta: For an application delta.
        bootloader: For an update of MCUboot itself.
    """

    kind: ImageKind
    name: str
    size_bytes: int
    sha256: str
    version: str | None = None
    base_version: str | None = None
    mcuboot: McubootInfo | None = None
    modem_delta: ModemDeltaInfo | None = None
    modem_full: ModemFullInfo | None = None
    intel_hex: IntelHexInfo | None = None
    dfu_package: DfuPackageInfo | None = None
    modem_package: ModemPackageInfo | None = None
    app_delta: AppDeltaInfo | None = None
    bootloader: BootloaderImage | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything that is known; details of other kinds are left out, bytes are hex."""
        return {name: value for name, value in _plain_fields(self).items() if value is not None}


def _plain_fields(value: Any) -> dict[str, Any]:
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if is_dataclass(value):
        return {**_plain_fields(value), **_derived(value)}
    return value.value if isinstance(value, StrEnum) else value


def _derived(value: Any) -> dict[str, Any]:
    """What the properties of a value add to its fields."""
    if isinstance(value, Tlv):
        return {"name": value.name}
    if isinstance(value, McubootHeader):
        return {"flag_names": list(value.flag_names)}
    if isinstance(value, McubootInfo):
        return {
            "version": value.version,
            "key_hash": value.key_hash,
            "signatures": list(value.signature_names),
            "security_counter": value.security_counter,
        }
    return {}
