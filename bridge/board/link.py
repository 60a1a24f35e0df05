"""The only code that touches pyserial: one open port, one reader thread, every failure translated once.

Source: pyserial 3.5 (``serial_for_url``, ``serialposix.py``): assigning ``timeout`` reconfigures the port, a
timed write loses count of what it wrote, ``exclusive`` is a lock on the device that only other careful
programs respect.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Final, Protocol

import serial

from bridge import clock
from bridge.board import tap
from bridge.board.port_errors import PORT_ERRORS, lost_error, open_error
from bridge.board.port_writer import PortWriter
from bridge.board.ports import PortInfo, find_port, usb_identity
from bridge.errors import BenchError, BoardNotFoundError, BridgeError, LinkError, UsageError

_log = logging.getLogger(__name__)

DEFAULT_BAUD: Final = 115_200
_READ_TIMEOUT_S: Final = 0.2
_HANDLER_PACKAGES: Final = ("bridge.virtual", "bridge.board")
_BACK_OFF_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5)

FaultHook = Callable[[bytes], bytes]
"""Gets bytes on their way and returns what arrives instead; for tests and fault campaigns."""


class Receiver(Protocol):
    """Who gets the bytes; called from the reader thread."""

    def on_data(self, data: bytes) -> None:
        """Bytes arrived."""

    def on_lost(self, error: LinkError) -> None:
        """The port stopped working; nothing more will come until it is opened again."""


class Link:
    """A serial port, by device name or pyserial URL (``rfc2217://``, ``socket://``, ``virtual://``).

    DTR is asserted as long as the port is open: the debug probes of the DKs pass nothing on without it.

    Args:
        url: Device name or URL.
        baud: Bit rate after opening.
        flow_control: RTS/CTS, as on the DKs; Thingy:91 X has none.

    Attributes:
        outgoing_hook: Transforms bytes before they are written.
        incoming_hook: Transforms bytes after they were read.
    """

    def __init__(self, url: str, *, baud: int = DEFAULT_BAUD, flow_control: bool = True) -> None:
        self.outgoing_hook: FaultHook | None = None
        self.incoming_hook: FaultHook | None = None
        self.flow_control = flow_control
        self._url = url
        self._baud = baud
        self._usb: PortInfo | None = None
        self._port: serial.Serial | None = None
        self._writer: PortWriter | None = None
        self._reader: clock.Thread | None = None
        self._receiver: Receiver | None = None
        self._lost: LinkError | None = None
        self._stopping = clock.event()

    @property
    def url(self) -> str:
        """Where the board is; changes when it came back under another name."""
        return self._url

    @property
    def baud(self) -> int:
        """Bit rate of this end."""
        return self._baud

    @property
    def is_open(self) -> bool:
        """Whether the port is open and works."""
        return self._port is not None and self._lost is None

    def attach(self, receiver: Receiver) -> None:
        """Choose who gets the bytes, before the port is opened."""
        self._receiver = receiver

    def open(self) -> None:
        """Open the port and start reading.

        Raises:
            BoardNotFoundError: There is no such port.
            BenchError: Another program holds it, or this user may not open it.
            UsageError: The URL makes no sense.
        """
        if self._port is not None:
            return
        self._port = port = self._open_port()
        self._lost = None
        self._stopping.clear()
        self._usb = self._usb or usb_identity(self._url)
        self._writer = PortWriter(port)
        self._reader = clock.thread(self._read_loop, f"link-{self._url}", (port,))
        tap.tell(self._url, "opened")
        self._reader.start()
        _log.debug("opened %s at %d baud", self._url, self._baud)

    def close(self) -> None:
        """Stop reading and close the port; harmless when it is closed already."""
        port, self._port, self._writer = self._port, None, None
        if port is None:
            return
        self._stopping.set()
        with contextlib.suppress(AttributeError, *PORT_ERRORS):  # not every kind of port can
            port.cancel_read()
        if self._reader is not None:
            self._reader.join()
            self._reader = None
        _close_port(port)

    def reopen(self, timeout_s: float) -> None:
        """Open the port again, wherever the board has come back.

        The board is looked for by USB serial number and interface if it had one, else by the same name.
        Operating systems give no portable event for a new port, so opening is tried again and again with
        growing pauses.

        Raises:
            LinkError: It is not back in time (reason ``not-back``).
        """
        self.close()
        deadline = clock.monotonic() + timeout_s
        pause = clock.event()
        for attempt in range(1 << 30):
            try:
                self._url = self._find_again()
                self.open()
            except (BoardNotFoundError, BenchError) as error:
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    raise LinkError(
                        f"the port did not come back within {timeout_s:.0f} s: {error.message}",
                        reason="not-back",
                        hint="Check cable and power.",
                    ) from error
                pause.wait(min(_BACK_OFF_S[min(attempt, len(_BACK_OFF_S) - 1)], left_s))
            else:
                return

    def write(self, data: bytes, timeout_s: float) -> None:
        """Write all bytes.

        Raises:
            LinkError: The link is lost, or the bytes did not leave in time because the board holds RTS
                (reason ``write-timeout``; ``offset`` says how many left).
        """
        if self.outgoing_hook is not None:
            data = self.outgoing_hook(data)
        if self._lost is not None:
            raise self._lost
        if self._writer is None:
            raise LinkError(f"{self._url} is not open", reason="link-lost")
        tap.tell(self._url, "out", data)  # before an answer can come
        try:
            written = self._writer.write(data, timeout_s)
        except PORT_ERRORS as error:
            raise self._lose(error) from error
        if written < len(data):
            raise LinkError(
                f"the board took only {written} of {len(data)} bytes within {timeout_s:.1f} s",
                reason="write-timeout",
                offset=written,
                hint="Does the board use RTS/CTS? Try --no-flow-control.",
            )

    def set_baud(self, baud: int) -> None:
        """Change the bit rate of this end.

        Raises:
            UsageError: The port cannot do it.
            LinkError: The link is lost.
        """
        before, self._baud = self._baud, baud  # also for when the port is opened again
        if self._port is None:
            return
        try:
            self._port.baudrate = baud
        except ValueError as error:
            self._baud = before
            raise UsageError(f"{self._url} cannot do {baud} baud", reason="bad-baud") from error
        except PORT_ERRORS as error:
            raise self._lose(error) from error

    def _open_port(self) -> serial.Serial:
        for package in _HANDLER_PACKAGES:
            if package not in serial.protocol_handler_packages:
                serial.protocol_handler_packages.append(package)
        try:
            port = serial.serial_for_url(self._url, do_not_open=True)
            port.baudrate = self._baud
            port.rtscts = self.flow_control
            port.timeout = _READ_TIMEOUT_S
            port.write_timeout = PortWriter.timeout_for(port)
            with contextlib.suppress(ValueError, AttributeError):
                port.exclusive = True
            port.open()
        except (ValueError, LookupError, BridgeError, *PORT_ERRORS) as error:
            raise open_error(self._url, error) from error
        return port

    def _find_again(self) -> str:
        if self._usb is None or self._usb.serial_number is None:
            return self._url
        return find_port(self._usb.serial_number, self._usb.interface).device

    def _read_loop(self, port: serial.Serial) -> None:
        try:
            while not self._stopping.is_set():
                data = port.read(1)
                waiting = port.in_waiting if data else 0
                if waiting:
                    data += port.read(waiting)
                if data and self.incoming_hook is not None:
                    data = self.incoming_hook(data)
                if data:
                    tap.tell(self._url, "in", data)
                    if self._receiver is not None:
                        self._receiver.on_data(data)
        except PORT_ERRORS as error:
            if not self._stopping.is_set():
                self._lose(error)

    def _lose(self, cause: Exception) -> LinkError:
        error = lost_error(self._url, cause)
        if self._lost is None:
            self._lost = error
            tap.tell(self._url, "lost")
            if self._receiver is not None:
                self._receiver.on_lost(error)
        return error


def _close_port(port: serial.Serial) -> None:
    # pyserial's socket:// forgets to close its socket when the peer was faster.
    leftover = getattr(port, "_socket", None)
    with contextlib.suppress(*PORT_ERRORS):
        port.close()
    if leftover is not None:
        with contextlib.suppress(OSError):
            leftover.close()
