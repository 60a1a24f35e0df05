"""What a person does to a board with their hands, for a board in a process of its own: a Unix socket takes the orders.

An order is one line, such as ``power off``; the answer is one line, ``ok`` or what is wrong.
"""

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from bridge.errors import UsageError
from bridge.virtual.board import VirtualBoard

_ORDER_BYTES: Final = 256
_CLIENT_TIMEOUT_S: Final = 5.0


class ControlSocket:
    """Takes orders for a board; use as a context manager.

    Args:
        board: The board, started.
        path: Where the socket is made; one that a process left behind is replaced, another file never.

    Raises:
        UsageError: It cannot be made there (``control-taken``, ``control-failed``).
    """

    def __init__(self, board: VirtualBoard, path: Path) -> None:
        self._board = board
        self._path = path
        self._orders: dict[str, Callable[[], object]] = {
            "power on": board.power_on,
            "power off": board.power_cut,
            "power cycle": self._cycle,
            "reset": board.reset,
            "hold-button": board.hold_button,
            "release-button": board.release_button,
        }
        if path.exists() and not path.is_socket():
            raise UsageError(f"{path} is a file", reason="control-taken", hint="Choose another --control.")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            path.unlink(missing_ok=True)
            self._socket.bind(str(path))
        except OSError as error:
            self._socket.close()
            raise UsageError(
                f"cannot make the socket {path}: {error.strerror or error}",
                reason="control-failed",
                hint="Its name must be short (some 100 characters), in a directory of yours.",
            ) from error
        path.chmod(0o600)
        self._socket.listen()
        self._thread = threading.Thread(target=self._run, name="virtual-control", daemon=True)

    def __enter__(self) -> Self:
        """Begin to take orders."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more orders."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.settimeout(_CLIENT_TIMEOUT_S)
                client.sendall(
                    f"{self._obey(client.recv(_ORDER_BYTES).decode('utf-8', 'replace').strip())}\n".encode()
                )

    def _cycle(self) -> None:
        self._board.power_cut()
        self._board.power_on()

    def _obey(self, order: str) -> str:
        action = self._orders.get(order)
        if action is None:
            return f"unknown order {order!r}; there are {', '.join(self._orders)}"
        try:
            action()
        except Exception as error:  # noqa: BLE001 - told to who gave the order
            return f"{order} failed: {error}"
        return "ok"
