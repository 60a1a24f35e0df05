"""The board under test: one handle that tests talk to, whatever answers on its port."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bridge.board import Board, BoardIdentity, BootReport, Modem
from bridge.board.answering import open_answering
from bridge.board.ports import choose_port, list_ports
from bridge.board.power import PowerControl
from bridge.board.smp_board import SmpBoard
from bridge.errors import BenchError, BoardNotFoundError
from bridge.fota.bench_file import BenchBoard
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.fota.route import RouteOpener

_USUAL_BAUD: Final = 115_200
_SMP: Final = frozenset({Transport.SMP, Transport.MODEM_SMP})


class DeviceUnderTest:
    """A board on a bench. Its port is opened when it is first needed, and closed whenever somebody else needs it.

    Args:
        bench_board: What the bench says about it.
        is_virtual: It was built for this test.

    Attributes:
        name: Its name on the bench.
        is_virtual: It was built for this test.
    """

    def __init__(self, bench_board: BenchBoard, *, is_virtual: bool = False) -> None:
        self.bench_board = bench_board
        self.name = bench_board.name
        self.is_virtual = is_virtual
        self._opened: Board | SmpBoard | None = None

    @property
    def port(self) -> str:
        """Device or URL, looked for anew each time where only the serial number is known.

        Raises:
            BoardNotFoundError: It is not connected.
        """
        return choose_port(self.bench_board.port, self.bench_board.serial_number or None)

    @property
    def where(self) -> str:
        """Its port, or how it would be found if it were there; for people."""
        try:
            return self.port
        except BoardNotFoundError:
            return f"serial number {self.bench_board.serial_number}"

    def is_gone(self) -> bool:
        """Its port is not there; of ports on other hosts nobody can tell, and virtual boards lose theirs on purpose."""
        if self.is_virtual:
            return False
        try:
            port = self.port
        except BoardNotFoundError:
            return True
        if "://" in port:
            return False
        return not Path(port).exists() if "/" in port else port not in {one.device for one in list_ports()}

    @property
    def model(self) -> str | None:
        """Board model, if the bench says."""
        return self.bench_board.model

    @property
    def power(self) -> PowerControl:
        """The switch in its supply.

        Raises:
            BenchError: There is none.
        """
        if self.bench_board.power is None:
            raise BenchError(f"the supply of {self.name} cannot be switched", reason="no-power-control")
        return self.bench_board.power

    def transfer_baud(self, wanted: int | None = None) -> int | None:
        """Bit rate of a transfer: the wanted one, or the bench's for None; 0 stays at the board's, which is None here."""
        return (self.bench_board.transfer_baud if wanted is None else wanted) or None

    # --- its port -------------------------------------------------------------------------------------------

    @property
    def opened(self) -> Board | SmpBoard:
        """The opened board, by the protocol that it answers.

        Raises:
            BoardNotFoundError: Nothing answers.
            BenchError: Somebody else has the port.
        """
        if self._opened is None:
            self._opened = self._open()
        return self._opened

    @property
    def board(self) -> Board:
        """The opened board, if it speaks AT.

        Raises:
            BenchError: It speaks SMP.
        """
        opened = self.opened
        if not isinstance(opened, Board):
            raise BenchError(f"{self.name} answers SMP, not AT", reason="wrong-firmware")
        return opened

    @property
    def modem(self) -> Modem:
        """Typed AT commands."""
        return self.board.modem

    def _open(self) -> Board | SmpBoard:
        spec = self.bench_board
        options = {"baud": spec.baud, "flow_control": spec.flow_control, "timeout_s": spec.timeout_s}
        if spec.transport is Transport.XDFU:
            return Board.open(self.port, **options)  # type: ignore[arg-type]
        if spec.transport in _SMP:
            return SmpBoard.open(self.port, line_bytes=spec.line_bytes, **options)  # type: ignore[arg-type]
        return open_answering(self.port, line_bytes=spec.line_bytes, **options)  # type: ignore[arg-type]

    def release(self) -> None:
        """Close the port, so that an update, a command or another program can open it."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    @contextmanager
    def released(self) -> Iterator[str]:
        """Keep the port closed as long as the block lasts; gives its name for whoever opens it."""
        self.release()
        yield self.port

    # --- what tests do with it ------------------------------------------------------------------------------

    def at(self, command: str, timeout_s: float = 10.0) -> list[str]:
        """Send an AT command; the lines of the answer.

        Raises:
            BoardRefusedError: The board answered with an error.
            LinkError: It did not answer.
        """
        return self.board.at.command(command, timeout_s=timeout_s)

    def identify(self) -> BoardIdentity:
        """Ask the board who it is and what it runs."""
        return self.opened.identify()

    def reset(self) -> BootReport:
        """Restart it, and wait until it answers again."""
        return self.opened.reset()

    def version(self) -> str:
        """Version of the running application, without a leading ``v``."""
        return (self.identify().application_version or "").removeprefix("v")

    def flash_command(
        self, image: Path, transport: str | None, policy: Mapping[str, object]
    ) -> tuple[str, ...]:
        """The command that writes an image as an update in a test does, without the port."""
        spec = self.bench_board
        flags = {
            f"--transport={transport or spec.transport}": (transport or spec.transport) != Transport.AUTO,
            f"--baud={spec.baud}": spec.baud != _USUAL_BAUD,
            "--no-flow-control": not spec.flow_control,
            "--allow-downgrade": bool(policy.get("allow_downgrade")),
            "--allow-same-version": bool(policy.get("allow_same_version")),
        }
        return "flash", str(image.absolute()), *(flag for flag, is_given in flags.items() if is_given)

    def route(self, transport: str | None = None, **options: object) -> RouteOpener:
        """The way into its flash, for an update; the port is given free for it.

        Args:
            transport: Name of the route; None for that of the bench.
            options: More of :class:`~bridge.fota.choose_route.RouteOptions`.
        """
        self.release()
        spec = self.bench_board
        chosen = RouteOptions(
            lambda: self.port,
            Transport(transport) if transport else spec.transport,
            baud=spec.baud,
            flow_control=spec.flow_control,
            timeout_s=spec.timeout_s,
            line_bytes=spec.line_bytes,
            recovery=spec.recovery,
            confirms=spec.confirm,
            probe_serial_number=spec.serial_number or None,
        )
        return route_opener(replace(chosen, **options))  # type: ignore[arg-type]
