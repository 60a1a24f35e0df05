"""The switch in the supply of a virtual board that lives in another process; see :mod:`bridge.board.power`."""

import socket
from dataclasses import dataclass
from pathlib import Path

from bridge.board.power import DEFAULT_TIMEOUT_S
from bridge.errors import BenchError


@dataclass(frozen=True)
class SocketPower:
    """The switch of a virtual board in another process: the socket of ``nrf91-bridge board --control``.

    Attributes:
        path: The socket.
        timeout_s: Deadline of each order.
    """

    path: Path
    timeout_s: float = DEFAULT_TIMEOUT_S

    def on(self) -> None:
        """Give the board power."""
        self._order("power on")

    def off(self) -> None:
        """Take the power away."""
        self._order("power off")

    def cycle(self) -> None:
        """Off and on again."""
        self._order("power cycle")

    def _order(self, order: str) -> None:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.timeout_s)
                connection.connect(str(self.path))
                connection.sendall(f"{order}\n".encode())
                answer = connection.makefile(encoding="utf-8").readline().strip()
        except TimeoutError as error:
            raise BenchError(
                f"the virtual board behind {self.path} does not react to {order}", reason="power-timeout"
            ) from error
        except OSError as error:
            raise BenchError(
                f"no virtual board takes orders at {self.path}: {error.strerror or error}",
                reason="power-failed",
                hint="Does `nrf91-bridge board --control` run with this socket?",
            ) from error
        if answer != "ok":
            raise BenchError(
                f"the virtual board behind {self.path}: {answer or 'no answer'}", reason="power-failed"
            )
