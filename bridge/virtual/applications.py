"""The firmware personalities of the virtual board: what runs once MCUboot has started an image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from bridge.errors import UsageError
from bridge.virtual.at_client_application import AtClientApplication
from bridge.virtual.cable import DEFAULT_BAUD
from bridge.virtual.fmfu_application import FmfuApplication
from bridge.virtual.hardware import Hardware
from bridge.virtual.running_image import RunningImage
from bridge.virtual.serial_lte_modem import SerialLteModem
from bridge.virtual.serial_modem import SerialModem
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.smp_application import SmpApplication
from bridge.virtual.smp_options import SmpOptions


class Application(Protocol):
    """One run of an application, from reset to reset."""

    def start(self) -> None:
        """From the first instruction on; runs on the CPU."""

    def on_received(self) -> None:
        """The UART has bytes."""

    def on_modem_notification(self, line: str) -> None:
        """The modem says something unasked."""


@dataclass(frozen=True)
class ApplicationOptions:
    """How applications are built.

    Attributes:
        baud: Rate of the UART from the device tree, valid after every reset.
        smp: Kconfig of the SMP server, for ``smp``.
        serial_modem: How Serial Modem was built, for ``serial-modem``.
    """

    baud: int = DEFAULT_BAUD
    smp: SmpOptions = field(default_factory=SmpOptions)
    serial_modem: SerialModemOptions = field(default_factory=SerialModemOptions)


_Maker = Callable[[Hardware, RunningImage, ApplicationOptions], Application]

RECOVERY_FIRMWARE: Final = "mcuboot"
"""The personality of a board whose button is held down; once it is let go, the application runs as ``smp`` does."""


def _smp_application(hardware: Hardware, image: RunningImage, options: ApplicationOptions) -> Application:
    return SmpApplication(hardware, image, options.baud, options.smp)


_MAKERS: Final[dict[str, _Maker]] = {
    "serial-modem": lambda hardware, image, options: SerialModem(
        hardware, image, options.baud, options.serial_modem
    ),
    "slm": lambda hardware, image, options: SerialLteModem(hardware, image, options.baud),
    "at_client": lambda hardware, image, options: AtClientApplication(hardware, image, options.baud),
    "fmfu": lambda hardware, image, options: FmfuApplication(hardware, image, options.baud),
    "smp": _smp_application,
    RECOVERY_FIRMWARE: _smp_application,
}
FIRMWARE: Final = tuple(_MAKERS)


def check_firmware(name: str) -> None:
    """Raise ``UsageError`` unless there is a personality of that name."""
    if name not in _MAKERS:
        raise UsageError(f"unknown firmware {name}; known: {', '.join(FIRMWARE)}", reason="unknown-firmware")


def make_application(
    firmware: str, hardware: Hardware, image: RunningImage, options: ApplicationOptions
) -> Application:
    """The application that runs now."""
    return _MAKERS[firmware](hardware, image, options)
