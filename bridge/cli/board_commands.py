"""``nrf91-bridge info``, ``at`` and ``ports``: what is connected, and what it says."""

from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.line_options import LineOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import emit_json, out, use_json
from bridge.redaction import redact_command

if TYPE_CHECKING:
    from bridge.board import BoardIdentity

_IDENTITY_LABELS = {
    "port": "port",
    "model": "modem model",
    "manufacturer": "manufacturer",
    "hardware_version": "hardware",
    "imei": "IMEI",
    "firmware": "firmware",
    "application_version": "application version",
    "libmodem_version": "modem library",
    "application_digest": "image digest",
    "pending_version": "next reset starts",
    "on_trial": "runs on trial",
    "modem_bootloader": "waits for modem firmware",
    "bootloader_version": "MCUboot counter",
    "bootloader_slot": "MCUboot slot",
    "modem_version": "modem firmware",
    "short_modem_version": "short version",
    "modem_uuid": "modem build UUID",
    "device_uuid": "device UUID",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("info")(info)
    app.command("at")(at)
    app.command("ports")(ports)


@takes_groups
def info(
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Show who the board is and what it runs, whether it answers AT or SMP."""
    use_json(json)
    from bridge.board.answering import open_answering  # noqa: PLC0415

    with open_answering(
        line.choose(), baud=line.baud, flow_control=line.flow_control, timeout_s=line.timeout
    ) as board:
        identity = board.identify()
    if json:
        emit_json({"event": "identity", **identity.to_dict()})
    else:
        _show_identity(identity)


@takes_groups
def at(
    command: Annotated[str, typer.Argument(help='The command, such as "AT+CGMR".')],
    line: LineOptions,
    json: JsonOption = False,
) -> None:
    """Send one AT command and show the answer; exit code 6 when the board answers with an error."""
    use_json(json)
    with line.open_board() as board:
        lines = board.at.command(command, timeout_s=line.timeout)
        messages = board.at.take_urcs()
    if json:
        answer = {"command": redact_command(command), "lines": lines, "messages": messages}
        emit_json({"event": "answer", **answer}, as_it_is=True)
        return
    for each in lines:
        out.print(each, soft_wrap=True)


def ports(json: JsonOption = False) -> None:
    """List serial ports and the boards that are probably behind them."""
    use_json(json)
    from rich.table import Table  # noqa: PLC0415

    from bridge.board import list_ports  # noqa: PLC0415

    found = list_ports()
    if json:
        emit_json({"event": "ports", "ports": [port.to_dict() for port in found]})
        return
    if not found:
        out.print("no serial ports")
        return
    table = Table("port", "board", "serial number", "interface", "USB id", "description", box=None)
    for port in found:
        usb_id = f"{port.vid:04x}:{port.pid:04x}" if port.vid is not None and port.pid is not None else ""
        interface = "" if port.interface is None else str(port.interface)
        table.add_row(
            port.device, port.board or "", port.serial_number or "", interface, usb_id, port.description
        )
    out.print(table)


def _show_identity(identity: "BoardIdentity") -> None:
    width = 2 + max(map(len, _IDENTITY_LABELS.values()))
    for name, value in identity.to_dict().items():
        text = "-" if value is None else str(value)
        # Digests are there to be copied: lines are neither cut nor folded.
        out.print(f"{_IDENTITY_LABELS[name]:<{width}}{text}", highlight=False, soft_wrap=True)
