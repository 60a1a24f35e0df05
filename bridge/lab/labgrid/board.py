"""labgrid classes for a board: ``NrfBoard`` and ``NrfBridgeDriver``."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import attr
from labgrid.driver import Driver
from labgrid.factory import target_factory
from labgrid.protocol import ResetProtocol
from labgrid.resource import Resource
from labgrid.step import step
from labgrid.util.proxy import proxymanager

from bridge import clock
from bridge.board import Board, BoardIdentity
from bridge.board.answering import open_answering
from bridge.board.smp_board import SmpBoard
from bridge.errors import BoardRefusedError, BridgeError
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.fota.events import UpdateEvent
from bridge.fota.update import Update
from bridge.fota.update_options import UpdateOptions
from bridge.image import FileSource, inspect_file
from bridge.lab.labgrid.network_port import blame, port_url

_POLL_S: Final = 0.2


@target_factory.reg_resource
@attr.s(eq=False)
class NrfBoard(Resource):
    """What an exporter's file says about a board; it passes through the exporter, which needs no plugin for it.

    Attributes:
        serial_number: USB serial number, that of the debug probe on a DK.
        model: Such as ``nrf9151dk``.
        transport: Route into flash.
        flow_control: RTS/CTS.
        transfer_baud: Bit rate of transfers; 0 stays at the port's.
        host: Where the exporter is.
    """

    serial_number: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    model: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    transport: str = attr.ib(default="auto", validator=attr.validators.in_([str(one) for one in Transport]))
    flow_control: bool = attr.ib(default=True, validator=attr.validators.instance_of(bool))
    transfer_baud: int = attr.ib(default=1_000_000, validator=attr.validators.instance_of(int))
    host: str = attr.ib(default="", validator=attr.validators.instance_of(str))


@target_factory.reg_driver
@attr.s(eq=False)
class NrfBridgeDriver(Driver, ResetProtocol):
    """Works with the board behind a serial port of labgrid's.

    It binds the port itself, not labgrid's ``SerialDriver``: each read of that one sets a timeout, which costs 150 ms over
    the network with pyserial. The port is open only while a method runs.

    Every method raises the bridge's own errors; a port that is lost because its exporter or the network is away is a
    ``BenchError`` (``exporter-lost``).

    Attributes:
        timeout: Seconds that the board may take to answer at all.
    """

    bindings = {"at": {"SerialPort", "NetworkSerialPort"}, "board": {"NrfBoard", None}}  # noqa: RUF012 - labgrid's way

    timeout: float = attr.ib(default=10.0, validator=attr.validators.instance_of(float))

    @property
    def url(self) -> str:
        """The port as a pyserial URL; another one when the exporter was started again."""
        if not hasattr(self.at, "protocol"):
            return port_url(self.at)
        deadline_s = clock.monotonic() + self.timeout
        self.target.update_resources()
        while not self.at.port and clock.monotonic() < deadline_s:
            # An exporter that was started again takes its resources back within seconds.
            clock.event().wait(_POLL_S)
            self.target.update_resources()
        if not self.at.port:
            return port_url(self.at)  # says why
        host, port = proxymanager.get_host_and_port(self.at)
        return port_url(self.at, host, port)

    @Driver.check_active
    @step()
    def identify(self) -> BoardIdentity:
        """Ask the board who it is and what it runs."""
        with self._opened() as board:
            return board.identify()

    @Driver.check_active
    @step(args=["command"])
    def command(self, command: str) -> list[str]:
        """Send one AT command; the lines of the answer."""
        with self._blaming() as url, Board.open(url, **self._line) as board:
            return list(board.at.command(command, timeout_s=self.timeout))

    @Driver.check_active
    @step(args=["file"])
    def update(
        self, file: str | Path, options: UpdateOptions | None = None, on_event: Any = None
    ) -> BoardIdentity:
        """Update the board with a file, as ``nrf91-bridge flash`` does, and prove it.

        Args:
            file: Image or package.
            options: How; by default at the resource's transfer rate.
            on_event: Called with every :class:`~bridge.fota.events.UpdateEvent`.

        Returns:
            What the board runs now.
        """
        inspect_file(Path(file))
        with self._blaming() as url:
            route = route_opener(
                RouteOptions(
                    lambda: url,
                    Transport(self.board.transport if self.board else "auto"),
                    **self._line,
                )
            )
            update = Update(FileSource(Path(file)), route, options=options or self._options)
            with closing(iter(update)) as events:
                _tell(events, on_event)
            if update.error is not None:
                raise update.error
        now: BoardIdentity = self.identify()
        return now

    @Driver.check_active
    @step()
    def reset(self) -> None:
        """Restart the board, and wait until it answers again."""
        with self._opened() as board:
            board.reset()

    @Driver.check_active
    @step()
    def enter_recovery(self) -> None:
        """Restart the board's application into MCUboot's serial recovery; only an SMP server can be told to."""
        with self._opened() as board:
            if not isinstance(board, SmpBoard):
                raise BoardRefusedError(
                    "the board's application answers AT, and cannot be told to start MCUboot's recovery",
                    reason="not-supported",
                    hint="Hold the recovery button while the board is reset.",
                )
            board.enter_recovery()

    @property
    def _line(self) -> dict[str, Any]:
        return {
            "baud": self.at.speed,
            "flow_control": self.board.flow_control if self.board else True,
            "timeout_s": self.timeout,
        }

    @property
    def _options(self) -> UpdateOptions:
        return UpdateOptions(transfer_baud=(self.board.transfer_baud or None) if self.board else None)

    @contextmanager
    def _opened(self) -> Iterator[Board | SmpBoard]:
        # Without knowing it is asked for AT first, which takes a second and a half where nobody speaks it.
        openers: dict[str, Callable[..., Board | SmpBoard]] = {
            "xdfu": Board.open,
            "smp": SmpBoard.open,
            "modem-smp": SmpBoard.open,
        }
        opener = openers.get(self.board.transport if self.board else "", open_answering)
        with self._blaming() as url, opener(url, **self._line) as board:
            yield board

    @contextmanager
    def _blaming(self) -> Iterator[str]:
        url = self.url
        try:
            yield url
        except BridgeError as error:
            blamed = blame(error, url)
            if blamed is error:
                raise
            raise blamed from error


def _tell(events: Iterator[UpdateEvent], on_event: Any) -> None:
    for event in events:
        if on_event is not None:
            on_event(event)
