"""Options that say which board is meant and how its serial line is set, for all commands that speak to one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.board import Board

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


@dataclass(frozen=True)
class PortOptions:
    """A board's port.

    Attributes:
        port: Device name or URL.
        serial_number: USB serial number of the board, instead.
        baud: Bit rate that the board uses after a reset.
        flow_control: RTS/CTS.
    """

    port: PortOption = None
    serial_number: SerialNumberOption = None
    baud: BaudOption = 115_200
    flow_control: FlowControlOption = True

    def choose(self) -> str:
        """The port that is meant, which may change from time to time if only the serial number is known.

        Raises:
            BoardNotFoundError: There is none, or more than one fits.
        """
        from bridge.board.ports import choose_port  # noqa: PLC0415

        return choose_port(self.port, self.serial_number)


@dataclass(frozen=True)
class LineOptions(PortOptions):
    """A board's port, and how patient we are with it.

    Attributes:
        timeout: Seconds to wait for the board to answer at all.
    """

    timeout: TimeoutOption = 10.0

    def open_board(self) -> "Board":
        """Open a board that answers AT commands.

        Raises:
            BoardNotFoundError: There is none, or more than one fits.
            LinkError: The port cannot be opened, or nobody answers there.
        """
        from bridge.board import Board  # noqa: PLC0415

        return Board.open(
            self.choose(), baud=self.baud, flow_control=self.flow_control, timeout_s=self.timeout
        )
