"""``nrf91-bridge probe``: flash written, read back and erased through a debug probe (J-Link, SWD)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.cli.route_options import hex_address

if TYPE_CHECKING:
    from bridge.dfu.probe import FlashPlan, ProbeProgrammer, ProbeProgress

_TITLES = {
    "program": "writing",
    "verify": "reading back",
    "recover": "erasing everything",
    "reset": "restarting",
}

FileArgument = Annotated[
    Path,
    typer.Argument(
        exists=True,
        dir_okay=False,
        help="Intel HEX, signed application image, dfu_application.zip or modem release zip.",
    ),
]
NumberOption = Annotated[
    str | None,
    typer.Option(
        "--serial-number",
        "-s",
        envvar="NRF91_BRIDGE_SERIAL_NUMBER",
        help="Number of the probe; not needed if it is the only one.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Where an application image belongs: start of the primary slot, in hex."),
]
BoardOption = Annotated[
    str | None,
    typer.Option(
        "--board", help="Take the primary slot of this board's standard build, such as nrf9151dk, instead."
    ),
]
ResetOption = Annotated[
    bool, typer.Option("--reset/--no-reset", help="Restart the chip at the end; otherwise it stands still.")
]

app = typer.Typer(
    help="Program boards through a debug probe (J-Link); needs SEGGER's J-Link software.",
    no_args_is_help=True,
)


def register(parent: typer.Typer) -> None:
    """Add the command group."""
    parent.add_typer(app, name="probe")


@app.command("list")
def list_probes(json: JsonOption = False) -> None:
    """List the debug probes on USB, with the boards and serial ports that belong to them."""
    use_json(json)
    from rich.table import Table  # noqa: PLC0415

    from bridge.dfu.probe import list_probes as look  # noqa: PLC0415

    found = look()
    if json:
        emit_json(
            {
                "event": "probes",
                "jlink_library": found.jlink_library,
                "probes": [probe.to_dict() for probe in found.probes],
            }
        )
        return
    if not found.jlink_library:
        console.print("SEGGER's J-Link software is not installed: probes can be listed, but not used")
    if not found.probes:
        out.print("no debug probes")
        return
    table = Table("serial number", "board", "serial ports", box=None)
    for probe in found.probes:
        table.add_row(str(probe.serial_number), probe.board or "", " ".join(probe.ports))
    out.print(table)


@app.command()
def program(
    file: FileArgument,
    serial_number: NumberOption = None,
    address: AddressOption = None,
    board: BoardOption = None,
    erase_all: Annotated[
        bool, typer.Option("--erase-all", help="Erase the whole flash first, not just what is written to.")
    ] = False,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover", help="Remove access-port protection first. ERASES EVERYTHING, bootloader included."
        ),
    ] = False,
    reset: ResetOption = True,
    json: JsonOption = False,
) -> None:
    """Write a file, read it back, and restart the chip."""
    use_json(json)
    plan = _plan(file, address, board)
    with _programmer(serial_number) as chip:
        show = _Progress(json=json)
        if recover:
            chip.recover(on_progress=show)
        chip.program(plan, erase="all" if erase_all else "sectors", on_progress=show)
        if reset:
            chip.reset(on_progress=show)
        _report("programmed", chip, plan, json=json)


@app.command()
def verify(
    file: FileArgument,
    serial_number: NumberOption = None,
    address: AddressOption = None,
    board: BoardOption = None,
    reset: ResetOption = True,
    json: JsonOption = False,
) -> None:
    """Compare the chip with a file; exit code 7 if they differ. The chip is halted for it, then restarted."""
    use_json(json)
    from bridge.errors import BridgeError  # noqa: PLC0415

    plan = _plan(file, address, board)
    with _programmer(serial_number) as chip:
        show = _Progress(json=json)
        try:
            chip.verify(plan, on_progress=show)
        except BridgeError:
            with suppress(BridgeError):  # the first error is the one that matters
                if reset:
                    chip.reset(on_progress=show)
            raise
        if reset:
            chip.reset(on_progress=show)
        _report("verified", chip, plan, json=json)


@app.command("reset")
def restart(
    serial_number: NumberOption = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="By the reset pin rather than the system reset.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Restart the chip."""
    use_json(json)
    with _programmer(serial_number) as chip:
        chip.reset("pin" if pin else "system", on_progress=_Progress(json=json))
        _report("restarted", chip, json=json)


@app.command("recover")
def erase_everything(
    serial_number: NumberOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, erase everything.")] = False,
    json: JsonOption = False,
) -> None:
    """Remove access-port protection. ERASES EVERYTHING: bootloader, application, settings, UICR."""
    use_json(json)
    from bridge.errors import UsageError  # noqa: PLC0415

    if not yes:
        raise UsageError(
            "recover erases bootloader, application, settings and UICR of the chip",
            reason="not-confirmed",
            hint="Give --yes if that is what you want.",
        )
    with _programmer(serial_number) as chip:
        chip.recover(on_progress=_Progress(json=json))
        _report("recovered", chip, json=json)


class _Progress:
    """Shows what a probe does: each operation once for people, every report for machines."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._shown = ""

    def __call__(self, progress: "ProbeProgress") -> None:
        if self._json:
            emit_json({"event": "probe-progress", **asdict(progress)})
        elif progress.operation in _TITLES and progress.operation != self._shown:
            self._shown = progress.operation
            console.print(_TITLES[progress.operation])


def _plan(file: Path, address: str | None, board: str | None) -> "FlashPlan":
    from bridge.dfu.probe import make_plan  # noqa: PLC0415

    return make_plan(file, address=hex_address(address), board=board)


@contextmanager
def _programmer(serial_number: str | None) -> "Iterator[ProbeProgrammer]":
    from bridge.dfu.probe import ProbeProgrammer  # noqa: PLC0415

    with ProbeProgrammer.open(serial_number) as chip:
        yield chip


def _report(what: str, chip: "ProbeProgrammer", plan: "FlashPlan | None" = None, *, json: bool) -> None:
    result: dict[str, object] = {"serial_number": chip.serial_number, "device": chip.device}
    if plan is not None:
        result |= {
            "file": plan.name,
            "version": plan.version,
            "size_bytes": plan.size_bytes,
            "segments": [asdict(segment) for segment in plan.segments],
        }
    if json:
        emit_json({"event": f"probe-{what}", **result})
        return
    subject = f"{plan.name} on " if plan else ""
    console.print(
        Text.assemble((what, "green"), f" {subject}{chip.device} (probe {chip.serial_number})"),
        soft_wrap=True,
    )
