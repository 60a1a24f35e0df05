"""Options that several commands share; each can also be given as an environment variable ``NRF91_BRIDGE_*``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

PortOption = Annotated[
    str | None,
    typer.Option(
        "--port",
        "-p",
        envvar="NRF91_BRIDGE_PORT",
        help="The board's serial port: a device, or a URL such as rfc2217://host:port.",
    ),
]
SerialNumberOption = Annotated[
    str | None,
    typer.Option(
        "--serial-number",
        "-s",
        envvar="NRF91_BRIDGE_SERIAL_NUMBER",
        help="Find the board by its USB serial number.",
    ),
]
BaudOption = Annotated[
    int,
    typer.Option("--baud", envvar="NRF91_BRIDGE_BAUD", help="Bit rate that the board uses after a reset."),
]
TransferBaudOption = Annotated[
    int,
    typer.Option(
        "--transfer-baud",
        envvar="NRF91_BRIDGE_TRANSFER_BAUD",
        help="Bit rate for the transfer, switched with AT+IPR and back; 0 stays at --baud.",
    ),
]
FlowControlOption = Annotated[
    bool, typer.Option("--flow-control/--no-flow-control", help="RTS/CTS on the line, as on the DKs.")
]
TimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout", envvar="NRF91_BRIDGE_TIMEOUT", help="Seconds to wait for the board to answer at all."
    ),
]
TransportOption = Annotated[
    Literal["auto", "xdfu", "smp", "modem-smp", "probe"],
    typer.Option(
        "--transport",
        envvar="NRF91_BRIDGE_TRANSPORT",
        help="Route into flash; auto asks the board what it answers.",
    ),
]
LineBytesOption = Annotated[
    int,
    typer.Option(
        "--line-bytes",
        min=16,
        envvar="NRF91_BRIDGE_LINE_BYTES",
        help="Longest SMP line that the board takes; more than 127 only if its firmware was built for it.",
    ),
]
RecoveryOption = Annotated[
    bool,
    typer.Option(
        "--recovery",
        help="Over SMP: restart the application into MCUboot's serial recovery, and write there.",
    ),
]
UploadImageOption = Annotated[
    int | None,
    typer.Option(
        "--upload-image",
        min=0,
        help="Over SMP: image number to upload to; with MCUboot's direct upload 1 is the primary slot, 2 the secondary.",
    ),
]
ImageIndexOption = Annotated[
    int,
    typer.Option(
        "--image-index",
        min=0,
        help="Over SMP: number of the MCUboot image that is replaced, on boards with several.",
    ),
]
ProbeAddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", help="Through a probe: start of the primary slot for an application image, in hex."
    ),
]
ProbeBoardOption = Annotated[
    str | None,
    typer.Option(
        "--board",
        help="Through a probe: take the primary slot of this board's standard build (nrf9151dk, ...) instead.",
    ),
]
ConfirmOption = Annotated[
    bool,
    typer.Option(
        "--confirm/--no-confirm",
        help="Over SMP: confirm the new image once it runs; otherwise it must confirm itself.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="NRF91_BRIDGE_KEY",
        exists=True,
        dir_okay=False,
        help="Public key (PEM) that the image must be signed with.",
    ),
]
MemberOption = Annotated[
    str | None,
    typer.Option("--member", help="Name of the image to take out of a package that holds several."),
]
ImageStoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="NRF91_BRIDGE_IMAGE_STORE",
        file_okay=False,
        help="Where known images are kept, which application deltas start from; default: this user's data.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, for machines.")]
JournalOption = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="NRF91_BRIDGE_JOURNAL",
        dir_okay=False,
        help="Where updates are written down, to go on after a crash; default: this user's state.",
    ),
]
