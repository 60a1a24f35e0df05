"""What a probe will write, made of a firmware file and checked before any chip is touched.

Sources: Zephyr ``scripts/west_commands/runners/nrf_common.py`` (UICR of nRF91, which only a full erase can clear); the Arm
vector table (initial stack pointer, reset vector). The load address in a DFU package's manifest is no slot address: it
is that of the application proper, behind TF-M.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from intelhex import IntelHex

from bridge.errors import ImageRefusedError, UsageError
from bridge.image import FirmwareImage, ImageKind, McubootInfo, inspect_bytes
from bridge.image.inspector import unreadable
from bridge.image.intelhex_file import HexSegment
from bridge.image.names import file_name
from bridge.image.package_info import ModemPackageInfo, ModemRole
from bridge.image.package_source import application_image
from bridge.virtual.layout import BOARD_MODELS, FLASH_BYTES

UICR: Final = range(0xFF8000, 0xFF8800)
_RAM: Final = range(0x2000_0000, 0x2004_0001)
_PAGE_BYTES: Final = 4096
_ADDRESS_HINT: Final = (
    "Give --address with the start of the primary slot, or --board if it has the partitions of the board's"
    " standard build; an Intel HEX file brings its addresses along."
)


@dataclass(frozen=True)
class FlashPlan:
    """A file as pynrfjprog takes it.

    Attributes:
        kind: What the file was; ``INTEL_HEX``, ``APPLICATION`` or ``MODEM_PACKAGE``.
        name: Its name.
        content: Intel HEX, or a modem zip.
        segments: What is written where; empty for modem firmware.
        version: Version that it brings.
    """

    kind: ImageKind
    name: str
    content: bytes
    segments: tuple[HexSegment, ...] = ()
    version: str | None = None

    @property
    def is_modem(self) -> bool:
        """Whether it goes into the modem."""
        return self.kind is ImageKind.MODEM_PACKAGE

    @property
    def size_bytes(self) -> int:
        """Bytes that will be in flash; for modem firmware the size of the package."""
        return sum(segment.size_bytes for segment in self.segments) or len(self.content)

    @property
    def has_uicr(self) -> bool:
        """Whether it writes configuration registers that only a full erase can clear."""
        return any(segment.address in UICR for segment in self.segments)

    def memory(self) -> IntelHex:
        """What is written, by address; only for what goes into flash."""
        memory = IntelHex()
        memory.loadhex(io.StringIO(self.content.decode("ascii")))
        return memory

    def write_to(self, folder: Path) -> Path:
        """Put it into a file, with the suffix that pynrfjprog tells it by."""
        stem = Path(file_name(self.name) or "image").stem
        path = folder / f"{stem}{'.zip' if self.is_modem else '.hex'}"
        path.write_bytes(self.content)
        return path


def make_plan(
    file: Path | bytes, name: str = "", *, address: int | None = None, board: str | None = None
) -> FlashPlan:
    """Check a file, and make a plan to write it.

    Args:
        file: Intel HEX, a signed application image, a DFU package with one, or a modem release.
        name: File name, when bytes are given.
        address: Start of the primary slot, for application images.
        board: Board whose standard primary slot it goes to, for application images; ``address`` goes first.

    Raises:
        ImageRefusedError: It is broken, of another kind, would not be in flash, or was built for another
            address.
        UsageError: An address is needed and not given (reason ``no-address``), or makes no sense.
    """
    data, name = _read(file, name)
    image = inspect_bytes(data, name)
    if image.kind is ImageKind.DFU_PACKAGE:
        image, data = application_image(data)
    match image.kind:
        case ImageKind.APPLICATION:
            return _application(image, data, _primary_address(image.name, address, board))
        case ImageKind.INTEL_HEX:
            return _intel_hex(image, data, address)
        case ImageKind.MODEM_PACKAGE:
            assert image.modem_package is not None
            check_modem_package(image.modem_package)
            return FlashPlan(image.kind, image.name or "modem.zip", data, version=image.version)
    raise ImageRefusedError(
        f"{image.name or 'the file'} is {image.kind}; a probe writes Intel HEX, application images and modem"
        " release zips",
        reason="wrong-kind",
    )


def check_modem_package(package: ModemPackageInfo) -> None:
    """Make sure that a modem release has all that pynrfjprog needs; its library aborts on an empty digest file.

    Raises:
        ImageRefusedError: Something is missing (reason ``incomplete-package``).
    """
    roles = [member.role for member in package.members]
    lacks = [
        what
        for what, there in (
            ("the modem's loader", roles.count(ModemRole.LOADER) == 1),
            ("firmware segments", ModemRole.SEGMENTS in roles),
            ("digests to verify with", bool(package.ranges)),
        )
        if not there
    ]
    if lacks:
        raise ImageRefusedError(
            f"modem package lacks {' and '.join(lacks)}",
            reason="incomplete-package",
            hint="Take the release zip as Nordic publishes it.",
        )


def _read(file: Path | bytes, name: str) -> tuple[bytes, str]:
    if isinstance(file, bytes):
        return file, name
    try:
        return file.read_bytes(), name or file.name
    except OSError as error:
        raise unreadable(file, error) from error


def _primary_address(name: str, address: int | None, board: str | None) -> int:
    if address is not None:
        if address % _PAGE_BYTES or address not in range(FLASH_BYTES):
            raise UsageError(
                f"{address:#x} is no flash page of an nRF91, so it is no start of a slot",
                reason="bad-address",
            )
        return address
    if board is None:
        raise UsageError(
            f"{name or 'an application image'} does not say where it belongs in flash",
            reason="no-address",
            hint=_ADDRESS_HINT,
        )
    model = BOARD_MODELS.get(board)
    if model is None or model.layout is None:
        known = ", ".join(each.name for each in BOARD_MODELS.values() if each.layout)
        raise UsageError(
            f"the primary slot of {board} is not known",
            reason="unknown-model",
            hint=f"Give --address. Known boards: {known}.",
        )
    return model.layout.primary.address


def _application(image: FirmwareImage, data: bytes, address: int) -> FlashPlan:
    assert image.mcuboot is not None
    _check_place(image.mcuboot, data, address)
    memory = IntelHex()
    memory.frombytes(data, address)
    text = io.StringIO()
    memory.write_hex_file(text)
    segments = (HexSegment(address, len(data)),)
    _check_segments(segments)
    return FlashPlan(image.kind, image.name, text.getvalue().encode(), segments, image.version)


def _check_place(info: McubootInfo, data: bytes, address: int) -> None:
    """An image runs where it was linked to, and its reset vector tells where that is."""
    header = info.header
    if header.encrypted:
        raise ImageRefusedError(
            "the image is encrypted; only MCUboot can decrypt it, on its way from the secondary slot",
            reason="encrypted",
        )
    start = address + header.header_size_bytes
    vectors = data[header.header_size_bytes : header.header_size_bytes + 8]
    stack, reset = int.from_bytes(vectors[:4], "little"), int.from_bytes(vectors[4:], "little")
    if stack not in _RAM or reset & ~1 not in range(start, start + header.payload_size_bytes):
        raise ImageRefusedError(
            f"the image was not built for the slot at {address:#x}: its reset vector is {reset:#010x}",
            reason="wrong-address",
            hint=_ADDRESS_HINT,
        )


def _intel_hex(image: FirmwareImage, data: bytes, address: int | None) -> FlashPlan:
    assert image.intel_hex is not None
    if address is not None and address != image.intel_hex.segments[0].address:
        raise UsageError(
            f"{image.name} begins at {image.intel_hex.segments[0].address:#x}, not at {address:#x}",
            reason="bad-address",
            hint="An Intel HEX file is written where it says; leave --address out.",
        )
    _check_segments(image.intel_hex.segments)
    return FlashPlan(image.kind, image.name, data, image.intel_hex.segments, image.version)


def _check_segments(segments: tuple[HexSegment, ...]) -> None:
    for segment in segments:
        end = segment.address + segment.size_bytes
        in_uicr = segment.address in UICR and end <= UICR.stop
        if end > FLASH_BYTES and not in_uicr:
            raise ImageRefusedError(
                f"data at {segment.address:#x}..{end - 1:#x} is outside the flash of an nRF91",
                reason="outside-flash",
                hint="Is it for another chip? Modem firmware is written from its release zip as a whole.",
            )
