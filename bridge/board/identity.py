"""What a board says it is, collected once, whatever firmware answers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar

from bridge.board.modem import FirmwareVersion, Modem
from bridge.errors import BoardRefusedError

Firmware = Literal["serial-modem", "slm", "at_client", "smp-server", "mcuboot-recovery", "fmfu", "unknown"]


@dataclass(frozen=True)
class BoardIdentity:
    """Everything that tells one board and its firmware from another; None where the board refused to say.

    Attributes:
        port: Where it was asked.
        firmware: Which firmware answers: over AT Nordic's Serial Modem, its predecessor Serial LTE Modem, the
            at_client sample, or something else; over SMP an application's server, MCUboot's serial recovery, or the
            sample that updates the modem (fmfu).
        application_version: Version text of ``#XSMVER``, or the running image's over SMP; ``#XSLMVER`` only tells that of
            the SDK, which proves nothing about an update.
        libmodem_version: Version of the modem library in that application.
        application_digest: Image digest (hex) of the running application, where the board tells.
        pending_version: Version of the image that the next reset starts instead, where the board tells.
        on_trial: The running application was not confirmed yet and goes away with the next reset, where the board tells.
        modem_bootloader: Serial Modem runs in its bootloader mode: it was told to, or its modem did not start. It
            then tells nothing else and takes nothing but a full modem image.
        bootloader_version: Counter of the running MCUboot, on boards where MCUboot can be updated.
        bootloader_slot: 0 or 1: from which of its slots (s0, s1) MCUboot runs.
    """

    port: str
    firmware: Firmware = "unknown"
    manufacturer: str | None = None
    model: str | None = None
    hardware_version: str | None = None
    imei: str | None = None
    modem_version: str | None = None
    short_modem_version: str | None = None
    modem_uuid: str | None = None
    device_uuid: str | None = None
    application_version: str | None = None
    libmodem_version: str | None = None
    application_digest: str | None = None
    pending_version: str | None = None
    on_trial: bool = False
    modem_bootloader: bool = False
    bootloader_version: int | None = None
    bootloader_slot: int | None = None

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def read_identity(modem: Modem, port: str) -> BoardIdentity:
    """Ask for everything; commands that a firmware does not have give None.

    Raises:
        LinkError: The board stopped answering.
    """
    manufacturer = _ask(modem.manufacturer)
    application = _ask(modem.firmware_version)
    if application is None and manufacturer is None and in_bootloader_mode(modem):
        return BoardIdentity(port, "serial-modem", modem_bootloader=True)
    return BoardIdentity(
        port=port,
        firmware=_firmware(application, manufacturer),
        manufacturer=manufacturer,
        model=_ask(modem.model),
        hardware_version=_ask(modem.hardware_version),
        imei=_ask(modem.imei),
        modem_version=_ask(modem.version),
        short_modem_version=_ask(modem.short_version),
        modem_uuid=_ask(modem.modem_uuid),
        device_uuid=_ask(modem.device_uuid),
        application_version=application.version if application and application.is_own else None,
        libmodem_version=application.fields[1] if application and len(application.fields) > 1 else None,
        bootloader_version=_ask(modem.bootloader_version),
        bootloader_slot=_ask(modem.bootloader_slot),
    )


def in_bootloader_mode(modem: Modem) -> bool:
    """Whether Serial Modem answers in its bootloader mode: the version is refused, the types of images are told.

    Raises:
        LinkError: The board stopped answering.
    """
    return _ask(modem.firmware_version) is None and _ask(modem.dfu_types) is not None


_T = TypeVar("_T")


def _ask(question: Callable[[], _T]) -> _T | None:
    try:
        return question()
    except BoardRefusedError:
        return None


def _firmware(application: FirmwareVersion | None, manufacturer: str | None) -> Firmware:
    if application is not None:
        return "serial-modem" if application.command == "#XSMVER" else "slm"
    return "at_client" if manufacturer is not None else "unknown"
