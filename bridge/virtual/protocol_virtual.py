"""pyserial's handler for ``virtual://`` URLs (see :mod:`bridge.virtual.board_url`).

pyserial finds it once ``bridge.virtual`` is in ``serial.protocol_handler_packages``. It behaves like a POSIX
port: bytes leave at the line's rate, writes block while the driver's queue is full, DTR is asserted on
opening.
"""

import errno
from typing import Any

from serial.serialutil import PortNotOpenError, SerialBase, SerialException, SerialTimeoutException

from bridge.errors import BridgeError
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.board_url import open_board
from bridge.virtual.cable import Cable


class Serial(SerialBase):
    """A serial port whose other end is a virtual board."""

    # What SerialBase's properties keep; its stubs do not say so.
    _baudrate: int
    _rtscts: bool
    _dtr_state: bool
    _timeout: float | None
    _write_timeout: float | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._board: VirtualBoard | None = None
        self._key = ""
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Connect to the board; it is built and started on first use."""
        if self.port is None:
            raise SerialException("Port must be configured before it can be used.")
        if self.is_open:
            raise SerialException("Port is already open.")
        try:
            board = open_board(self.port)
        except BridgeError as error:
            raise SerialException(f"could not open port {self.port}: {error}") from error
        if not board.cable.plug():
            raise SerialException(
                errno.EBUSY, f"could not open port {self.port}: the virtual board's port is in use"
            )
        self._board = board
        self._key = registry.key_of(self.port)
        self.is_open = True
        self._reconfigure_port()

    def close(self) -> None:
        """Disconnect; the board goes on."""
        if self._board is not None:
            self._board.cable.unplug()
            self._board = None
        self.is_open = False

    @property
    def board(self) -> VirtualBoard:
        """The board at the other end."""
        if self._board is None:
            raise PortNotOpenError
        return self._board

    @property
    def _cable(self) -> Cable:
        self._raise_if_gone()
        return self.board.cable

    def _raise_if_gone(self) -> None:
        """A board that ended, or came back under another name, is not behind this port any more."""
        board = self.board
        if not board.is_running or registry.find(self._key) is not board:
            raise SerialException("the virtual board has gone away (device disconnected)")

    def _reconfigure_port(self) -> None:
        if self._board is not None:
            self._board.cable.set_host_end(
                baud=int(self._baudrate), flow_control=bool(self._rtscts), dtr=bool(self._dtr_state)
            )

    def _update_dtr_state(self) -> None:
        self._reconfigure_port()

    def _update_rts_state(self) -> None:
        """RTS by hand changes nothing: the board has no reason to stop sending."""

    def _update_break_state(self) -> None:
        """Breaks are not seen by the board's firmware."""

    def read(self, size: int = 1) -> bytes:
        """Read up to ``size`` bytes within the port's timeout."""
        data: bytes = self._cable.read(size, self._timeout)
        if len(data) < size:
            self._raise_if_gone()
        return data

    def write(self, b: Any, /) -> int:
        """Queue bytes; blocks while the driver's queue is full."""
        data = bytes(b)
        taken = self._cable.write(data, self._write_timeout)
        if taken < len(data) and self._write_timeout is not None:
            raise SerialTimeoutException("Write timeout")
        return taken

    def flush(self) -> None:
        """Wait until everything has left."""
        self._cable.wait_sent(self._write_timeout)

    def reset_input_buffer(self) -> None:
        """Forget what was received."""
        self._cable.drop_input()

    def reset_output_buffer(self) -> None:
        """Forget what has not left."""
        self._cable.drop_output()

    def cancel_read(self) -> None:
        """Let a blocked read return."""
        self._cable.cancel_read()

    def cancel_write(self) -> None:
        """Let a blocked write return."""
        self._cable.cancel_write()

    @property
    def in_waiting(self) -> int:
        """Bytes that a read gives at once."""
        return self._cable.readable()

    @property
    def out_waiting(self) -> int:
        """Bytes that have not left."""
        return self._cable.unsent()

    @property
    def cts(self) -> bool:
        """The board's RTS."""
        return self.board.rts_asserted

    @property
    def dsr(self) -> bool:
        """Always asserted, as by a DK's debug probe."""
        return True

    @property
    def ri(self) -> bool:
        """Never asserted."""
        return False

    @property
    def cd(self) -> bool:
        """Always asserted, as by a DK's debug probe."""
        return True
