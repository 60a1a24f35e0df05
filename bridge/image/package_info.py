"""The values that describe packages: what is in a ``dfu_application.zip`` and in a modem release."""

from dataclasses import dataclass
from enum import StrEnum

from bridge.image.mcuboot import McubootInfo
from bridge.image.nsib import FwInfo


@dataclass(frozen=True)
class DfuMember:
    """A file that a DFU package's manifest lists.

    Attributes:
        file: Name in the archive.
        type: ``application``, ``mcuboot``, or whatever the build wrote.
        board: Board target that it was built for, such as ``nrf9151dk/nrf9151/ns``.
        soc: Chip.
        image_index: MCUboot image number.
        slot_index_primary: Number of the primary slot in serial recovery.
        slot_index_secondary: Number of the secondary slot.
        load_address: Address that it runs from.
        version: Version that the manifest says.
        size_bytes: Size, as listed and as it is.
        sha256: Of the member, in hex.
        bootloader: It updates MCUboot itself (slots s0 and s1), according to the manifest.
        mcuboot: What its header says, if it is an MCUboot image.
        bootloader_slot: Slot of MCUboot (0 for s0, 1 for s1) that it is linked for, if that can be told.
        fw_info: What the immutable bootloader reads in it, if it is there.
    """

    file: str
    type: str | None
    board: str | None
    soc: str | None
    image_index: int
    slot_index_primary: int | None
    slot_index_secondary: int | None
    load_address: int | None
    version: str | None
    size_bytes: int
    sha256: str
    bootloader: bool
    mcuboot: McubootInfo | None
    bootloader_slot: int | None = None
    fw_info: FwInfo | None = None


@dataclass(frozen=True)
class DfuPackageInfo:
    """A ``dfu_application.zip``.

    Attributes:
        format_version: Of the manifest; 0 or 1.
        name: Name for people, if the build set one.
        time_s: When it was built, seconds since 1970.
        members: Files that the manifest lists.
        unlisted: Names of files that it does not list.
    """

    format_version: int
    name: str | None
    time_s: int | None
    members: tuple[DfuMember, ...]
    unlisted: tuple[str, ...]


class ModemRole(StrEnum):
    """What a file in a modem release is for."""

    LOADER = "loader"
    SEGMENTS = "segments"
    DIGESTS = "digests"
    FULL = "full"
    DELTA = "delta"
    OTHER = "other"


@dataclass(frozen=True)
class ModemMember:
    """A file in a modem release.

    Attributes:
        file: Name in the archive.
        role: What it is for.
        size_bytes: Its size.
        base_version: For a delta, the firmware that it updates.
        target_version: For a delta, the firmware that it brings.
    """

    file: str
    role: ModemRole
    size_bytes: int
    base_version: str | None = None
    target_version: str | None = None


@dataclass(frozen=True)
class DigestRange:
    """A range of modem memory and the digest of the decrypted firmware there.

    Attributes:
        first_address: First byte.
        last_address: Last byte, inclusive.
        sha256: In hex, as the file has it.
    """

    first_address: int
    last_address: int
    sha256: str


@dataclass(frozen=True)
class ModemPackageInfo:
    """A modem release zip.

    Attributes:
        family: Modem family, such as ``nrf91x1``, from the names of package and members.
        version: Modem firmware that it brings.
        members: Files in it.
        ranges: Digests to compare with the modem's after a full update; the host cannot compute them, since
            the hex files are encrypted.
    """

    family: str | None
    version: str | None
    members: tuple[ModemMember, ...]
    ranges: tuple[DigestRange, ...]
