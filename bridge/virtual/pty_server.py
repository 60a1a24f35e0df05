"""A virtual board on a pseudo-terminal: a port for tools that know nothing of this project.

The server keeps the terminal's slave side open itself, so that clients may come and go without a hang-up on
the master. The slave's line settings can be read from the master, so bit rate and flow control are those that
the client chose; modem lines such as DTR do not exist on a pty and count as asserted.
"""

import contextlib
import fcntl
import os
import selectors
import struct
import sys
import termios
import threading
import tty
from typing import Final

from bridge.virtual.board import VirtualBoard
from bridge.virtual.cable import DEFAULT_BAUD

_OUTPUT_LIMIT_BYTES: Final = 65_536
_TCGETS2: Final = 0x802C542A
_TERMIOS2: Final = struct.Struct("=4I20s2I")
"""Linux ``struct termios2``: flags, line discipline with control characters, input and output rate."""
_SPEEDS: Final = {
    getattr(termios, name): int(name[1:])
    for name in dir(termios)
    if name.startswith("B") and name[1:].isdigit()
}


class PtyServer:
    """Serves a board on a pty.

    Args:
        board: A started board whose port nobody has open.

    Attributes:
        path: The terminal's path, such as ``/dev/pts/3``.
    """

    def __init__(self, board: VirtualBoard) -> None:
        self._board = board
        self._master, self._slave = os.openpty()
        self.path = os.ttyname(self._slave)
        tty.setraw(self._slave)
        self._set_speed(DEFAULT_BAUD)
        os.set_blocking(self._master, False)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._woken = False
        self._output = bytearray()
        self._stopping = False
        self._open = True
        self._descriptors = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="virtual-pty", daemon=True)

    def start(self) -> "PtyServer":
        """Connect the board and begin to pass bytes."""
        cable = self._board.cable
        cable.plug()
        cable.probe_host = self._read_settings
        cable.on_host_event = self._wake
        cable.set_host_end(dtr=True)
        self._read_settings()
        self._thread.start()
        return self

    def stop(self) -> None:
        """Disconnect the board and close the terminal."""
        if self._stopping:
            return
        self._stopping = True
        if self._thread.ident is not None:
            self._wake()
            self._thread.join()
        cable = self._board.cable
        cable.probe_host = cable.on_host_event = None
        cable.unplug()
        with self._descriptors:
            # The board's thread may be on its way here with a call from before.
            self._open = False
            for descriptor in (self._master, self._slave, self._wake_read, self._wake_write):
                os.close(descriptor)

    def __enter__(self) -> "PtyServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _set_speed(self, baud: int) -> None:
        settings = termios.tcgetattr(self._slave)
        settings[4] = settings[5] = getattr(termios, f"B{baud}")
        termios.tcsetattr(self._slave, termios.TCSANOW, settings)

    def _read_settings(self) -> None:
        with self._descriptors:
            if not self._open:
                return
            settings = termios.tcgetattr(self._master)
            baud = _SPEEDS.get(settings[5]) or self._free_speed()
        flow_control = bool(settings[2] & termios.CRTSCTS)
        host_end = self._board.cable.host_end
        if (baud or DEFAULT_BAUD, flow_control) != (host_end.baud, host_end.flow_control):
            self._board.cable.set_host_end(baud=baud or DEFAULT_BAUD, flow_control=flow_control)

    def _free_speed(self) -> int:
        """The rate of a client that gave it as a number, as Rust's serialport does, and not as one of the constants."""
        if sys.platform != "linux":
            return DEFAULT_BAUD
        try:
            settings = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
        except OSError:
            return DEFAULT_BAUD
        return int(_TERMIOS2.unpack(settings)[-1])

    def _wake(self) -> None:
        with self._descriptors:
            if self._open and not self._woken:  # many things happen before the server's thread has its turn
                self._woken = True
                os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            watched = 0
            while not self._stopping:
                wanted = self._interest()
                if wanted != watched:
                    self._watch(selector, watched, wanted)
                    watched = wanted
                for key, events in selector.select():
                    self._handle(key.fd, events)

    def _interest(self) -> int:
        # Reading only while the cable has room makes the terminal's own buffer fill up and the client's write
        # block, as a real port does that sends no faster than its line.
        readable = selectors.EVENT_READ if self._board.cable.writable() else 0
        self._output += self._board.cable.read(self._board.cable.readable(), 0)
        del self._output[:-_OUTPUT_LIMIT_BYTES]  # a client that never reads loses the oldest
        return readable | (selectors.EVENT_WRITE if self._output else 0)

    def _watch(self, selector: selectors.BaseSelector, watched: int, wanted: int) -> None:
        if not watched:
            selector.register(self._master, wanted)
        elif wanted:
            selector.modify(self._master, wanted)
        else:
            selector.unregister(self._master)

    def _handle(self, descriptor: int, events: int) -> None:
        if descriptor == self._wake_read:
            self._woken = False  # first: what happens from here on needs another look
            os.read(self._wake_read, 1)
            return
        with contextlib.suppress(BlockingIOError):
            if events & selectors.EVENT_READ:
                self._board.cable.write(os.read(self._master, self._board.cable.writable()), 0)
        with contextlib.suppress(BlockingIOError):
            if events & selectors.EVENT_WRITE:
                del self._output[: os.write(self._master, self._output)]
