"""``nrf91-bridge board``: a virtual nRF91 board on a pty, for any tool that works with a real one."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Literal

import typer

from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, use_json
from bridge.cli.policy_options import read_key
from bridge.cli.signals import until_interrupted
from bridge.errors import UsageError

FACTORY_VERSION = "1.0.0"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("board")(board)


def board(
    model: Annotated[
        str, typer.Option(help="Board model: nrf9160dk, nrf9161dk, nrf9151dk, thingy91, thingy91x.")
    ] = "nrf9151dk",
    firmware: Annotated[
        str,
        typer.Option(
            help="What the board's applications are: serial-modem, slm, at_client, smp or fmfu; mcuboot for serial"
            " recovery."
        ),
    ] = "serial-modem",
    timing: Annotated[
        Literal["simulated", "real"],
        typer.Option(help="real: the line and the flash take the time that a board takes."),
    ] = "simulated",
    link: Annotated[Path | None, typer.Option(help="Make this path a symbolic link to the port.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Directory in which the board lives between runs.")
    ] = None,
    baud: Annotated[int, typer.Option(help="Bit rate of the board after a reset.")] = 115_200,
    image: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Signed image of a fresh board; default: a sample, 1.0.0."
        ),
    ] = None,
    key: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, help="Key (PEM) that MCUboot trusts; default: the development key."
        ),
    ] = None,
    flow_control: Annotated[
        bool | None,
        typer.Option(
            "--flow-control/--no-flow-control", help="The UART has RTS/CTS.", show_default="as the model"
        ),
    ] = None,
    uart: Annotated[
        Literal["dma", "fifo"],
        typer.Option(help="fifo: nothing is received while the CPU stands still, as without DMA."),
    ] = "dma",
    rx_buffers: Annotated[
        str | None, typer.Option("--rx-buffers", help="DMA buffers, such as 3x256 (default) or 3x2048.")
    ] = None,
    usb_latency_ms: Annotated[
        float, typer.Option("--usb-latency-ms", min=0, help="A USB adapter's delay in ms, each way.")
    ] = 0,
    flash: Annotated[Literal["real", "ideal"], typer.Option(help="ideal: flash takes no time.")] = "real",
    modem_full: Annotated[
        bool, typer.Option("--modem-full", help="Serial Modem is a build with full modem updates.")
    ] = False,
    battery_mv: Annotated[int, typer.Option("--battery-mv", help="Supply voltage in mV.")] = 4_464,
    recovery_entry: Annotated[
        str | None,
        typer.Option(
            help="Ways into MCUboot's serial recovery: button, pin-reset, boot-mode, window, no-application, with"
            " commas between; or none.",
            show_default="as the model",
        ),
    ] = None,
    button: Annotated[bool, typer.Option("--button", help="Somebody holds the board's button down.")] = False,
    bootloader: Annotated[
        list[str] | None,
        typer.Option(help="Build option of MCUboot, such as direct-upload or line-bytes=512; repeatable."),
    ] = None,
    smp: Annotated[
        list[str] | None,
        typer.Option(
            help="Build option of the SMP server, such as boot-mode or buffer-bytes=1024; repeatable."
        ),
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            help="Make a Unix socket here that takes orders: power on, power off, power cycle, reset, hold-button,"
            " release-button."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve a virtual board on a pty until interrupted (or told to end with SIGTERM)."""
    use_json(json)
    from bridge.virtual.applications import RECOVERY_FIRMWARE  # noqa: PLC0415
    from bridge.virtual.board import VirtualBoard  # noqa: PLC0415
    from bridge.virtual.bootloader_options import options_from_text  # noqa: PLC0415
    from bridge.virtual.build_options import with_options  # noqa: PLC0415
    from bridge.virtual.control_socket import ControlSocket  # noqa: PLC0415
    from bridge.virtual.modem import ModemOptions  # noqa: PLC0415
    from bridge.virtual.pty_server import PtyServer  # noqa: PLC0415
    from bridge.virtual.serial_modem_options import SerialModemOptions  # noqa: PLC0415
    from bridge.virtual.smp_options import SmpOptions  # noqa: PLC0415
    from bridge.virtual.uart_options import parse_uart  # noqa: PLC0415

    button = button or firmware == RECOVERY_FIRMWARE
    virtual = VirtualBoard(
        model,
        firmware=firmware,
        timing=timing,
        factory_image=image.read_bytes() if image else _factory_image(model),
        keys=[read_key(path) for path in key] if key else [_development_key()],
        state_dir=state,
        baud=baud,
        flow_control=flow_control,
        uart=parse_uart(uart, rx_buffers),
        usb_latency_ms=usb_latency_ms,
        ideal_flash=flash == "ideal",
        modem=ModemOptions(battery_mv=battery_mv),
        smp=with_options(SmpOptions(), smp or ()),
        bootloader=options_from_text(model, button=button, entries=recovery_entry, build=bootloader or ()),
        button_held=button,
        serial_modem=SerialModemOptions(modem_full=modem_full),
    )
    orders = nullcontext() if control is None else ControlSocket(virtual, control)
    with (
        until_interrupted() as wait,
        virtual,
        PtyServer(virtual) as pty,
        orders,
        _linked(link, pty.path) as port,
    ):
        if json:
            emit_json(
                {"event": "ready", "port": str(port), "pty": pty.path, "model": model, "firmware": firmware}
            )
        else:
            console.print(f"virtual {model} with {firmware} on [bold]{port}[/bold]; stop with Ctrl-C")
        wait()


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


@contextmanager
def _linked(link: Path | None, pty: str) -> Iterator[str]:
    """Keep a symbolic link to the port; a stale one is replaced, a real file never."""
    if link is None:
        yield pty
        return
    if link.exists() and not link.is_symlink():
        raise UsageError(f"{link} is a file", reason="link-taken", hint="Choose another --link.")
    try:
        # Made beside it and moved into place, so that the name never points nowhere.
        draft = link.with_name(f".{link.name}.{os.getpid()}")
        draft.symlink_to(pty)
        draft.replace(link)
    except OSError as error:
        raise UsageError(f"cannot make the link {link}: {error.strerror}", reason="link-failed") from error
    try:
        yield str(link)
    finally:
        with contextlib.suppress(OSError):
            if str(link.readlink()) == pty:
                link.unlink()
