"""Options of ``nrf91-bridge board``, and the virtual board that they describe."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli.policy_options import read_key

if TYPE_CHECKING:
    from bridge.virtual.board import VirtualBoard

FACTORY_VERSION = "1.0.0"


@dataclass(frozen=True)
class VirtualBoardOptions:
    """A virtual board: model, firmware, how it was built, and what it is connected with; each option's help says more."""

    model: Annotated[
        str, typer.Option(help="Board model: nrf9160dk, nrf9161dk, nrf9151dk, thingy91, thingy91x.")
    ] = "nrf9151dk"
    firmware: Annotated[
        str,
        typer.Option(
            help="What the board's applications are: serial-modem, slm, at_client, smp or fmfu; mcuboot for serial"
            " recovery."
        ),
    ] = "serial-modem"
    timing: Annotated[
        Literal["simulated", "real"],
        typer.Option(help="real: the line and the flash take the time that a board takes."),
    ] = "simulated"
    state: Annotated[Path | None, typer.Option(help="Directory in which the board lives between runs.")] = (
        None
    )
    baud: Annotated[int, typer.Option(help="Bit rate of the board after a reset.")] = 115_200
    image: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Signed image of a fresh board; default: a sample, 1.0.0."
        ),
    ] = None
    key: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="Key (PEM) that MCUboot trusts; default: the development key."
        ),
    ] = None
    flow_control: Annotated[
        bool | None,
        typer.Option(
            "--flow-control/--no-flow-control", help="The UART has RTS/CTS.", show_default="as the model"
        ),
    ] = None
    uart: Annotated[
        Literal["dma", "fifo"],
        typer.Option(help="fifo: nothing is received while the CPU stands still, as without DMA."),
    ] = "dma"
    rx_buffers: Annotated[
        str | None, typer.Option("--rx-buffers", help="DMA buffers, such as 3x256 (default) or 3x2048.")
    ] = None
    usb_latency_ms: Annotated[
        float, typer.Option("--usb-latency-ms", min=0, help="A USB adapter's delay in ms, each way.")
    ] = 0
    flash: Annotated[Literal["real", "ideal"], typer.Option(help="ideal: flash takes no time.")] = "real"
    modem_full: Annotated[
        bool, typer.Option("--modem-full", help="Serial Modem is a build with full modem updates.")
    ] = False
    battery_mv: Annotated[int, typer.Option("--battery-mv", help="Supply voltage in mV.")] = 4_464
    recovery_entry: Annotated[
        str | None,
        typer.Option(
            help="Ways into MCUboot's serial recovery: button, pin-reset, boot-mode, window, no-application, with"
            " commas between; or none.",
            show_default="as the model",
        ),
    ] = None
    button: Annotated[bool, typer.Option("--button", help="Somebody holds the board's button down.")] = False
    bootloader: Annotated[
        list[str] | None,
        typer.Option(help="Build option of MCUboot, such as direct-upload or line-bytes=512; repeatable."),
    ] = None
    smp: Annotated[
        list[str] | None,
        typer.Option(
            help="Build option of the SMP server, such as boot-mode or buffer-bytes=1024; repeatable."
        ),
    ] = None

    def make(self) -> "VirtualBoard":
        """Build the board.

        Raises:
            UsageError: An option's value makes no sense.
        """
        from bridge.virtual.applications import RECOVERY_FIRMWARE  # noqa: PLC0415
        from bridge.virtual.board import VirtualBoard  # noqa: PLC0415
        from bridge.virtual.bootloader_options import options_from_text  # noqa: PLC0415
        from bridge.virtual.build_options import with_options  # noqa: PLC0415
        from bridge.virtual.modem import ModemOptions  # noqa: PLC0415
        from bridge.virtual.serial_modem_options import SerialModemOptions  # noqa: PLC0415
        from bridge.virtual.smp_options import SmpOptions  # noqa: PLC0415
        from bridge.virtual.uart_options import parse_uart  # noqa: PLC0415

        button = self.button or self.firmware == RECOVERY_FIRMWARE
        return VirtualBoard(
            self.model,
            firmware=self.firmware,
            timing=self.timing,
            factory_image=self.image.read_bytes() if self.image else _factory_image(self.model),
            keys=[read_key(path) for path in self.key] if self.key else [_development_key()],
            state_dir=self.state,
            baud=self.baud,
            flow_control=self.flow_control,
            uart=parse_uart(self.uart, self.rx_buffers),
            usb_latency_ms=self.usb_latency_ms,
            ideal_flash=self.flash == "ideal",
            modem=ModemOptions(battery_mv=self.battery_mv),
            smp=with_options(SmpOptions(), self.smp or ()),
            bootloader=options_from_text(
                self.model, button=button, entries=self.recovery_entry, build=self.bootloader or ()
            ),
            button_held=button,
            serial_modem=SerialModemOptions(modem_full=self.modem_full),
        )


def _factory_image(model: str) -> bytes:
    from bridge.lab.sample_images import SampleImages  # noqa: PLC0415
    from bridge.virtual.layout import layout_of  # noqa: PLC0415

    address = layout_of(model).primary.address
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-board-") as directory:
        return (
            SampleImages(Path(directory)).application(FACTORY_VERSION, primary_address=address).read_bytes()
        )


def _development_key() -> bytes:
    from bridge.lab.sample_key import development_public_key_pem  # noqa: PLC0415

    return development_public_key_pem()
