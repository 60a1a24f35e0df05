"""Options about the route into a board's flash, shared by ``flash`` and ``run``, and what they are turned into."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bridge.cli.state_files import notes_file

if TYPE_CHECKING:
    from bridge.cli.line_options import LineOptions
    from bridge.fota import RouteOpener

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


@dataclass(frozen=True)
class RouteOptions:
    """How an image gets into the flash.

    Attributes:
        transport: Name of the route.
        line_bytes: Longest SMP line that the board takes.
        recovery: Whether to write in MCUboot's serial recovery.
        upload_image: Image number to upload to, over SMP.
        confirm: Whether the new image is confirmed from here, over SMP.
        address: Start of the primary slot, in hex, through a probe.
        board: Board whose standard build says that address, instead.
    """

    transport: TransportOption = "auto"
    line_bytes: LineBytesOption = 127
    recovery: RecoveryOption = False
    upload_image: UploadImageOption = None
    confirm: ConfirmOption = True
    address: ProbeAddressOption = None
    board: ProbeBoardOption = None

    def opener(self, line: "LineOptions") -> "RouteOpener":
        """Build the route opener for a board; its port is looked for each time it is called.

        Raises:
            UsageError: The address is none.
        """
        return make_route(
            line.port,
            line.serial_number,
            transport=self.transport,
            baud=line.baud,
            flow_control=line.flow_control,
            timeout_s=line.timeout,
            line_bytes=self.line_bytes,
            recovery=self.recovery,
            upload_image=self.upload_image,
            confirms=self.confirm,
            probe_address=hex_address(self.address),
            probe_board=self.board,
        )


def make_route(
    port: str | None,
    serial_number: str | None,
    *,
    transport: str,
    **options: Any,
) -> "RouteOpener":
    """Build the route opener that the common options describe; the port is looked for each time it is called.

    Args:
        port: Device name or URL.
        serial_number: USB serial number of the board, instead.
        transport: Name of the route.
        options: More of :class:`~bridge.fota.choose_route.RouteOptions`.
    """
    from bridge.board.ports import choose_port  # noqa: PLC0415
    from bridge.fota.choose_route import RouteOptions, Transport, route_opener  # noqa: PLC0415

    return route_opener(
        RouteOptions(
            lambda: choose_port(port, serial_number),
            Transport(transport),
            probe_serial_number=serial_number,
            notes_file=notes_file(),
            **options,
        )
    )


def hex_address(text: str | None) -> int | None:
    """Read an address in hexadecimal.

    Raises:
        UsageError: It is none.
    """
    from bridge.errors import UsageError  # noqa: PLC0415

    try:
        return None if text is None else int(text, 16)
    except ValueError:
        raise UsageError(f"{text!r} is no address in hex", reason="bad-address") from None
