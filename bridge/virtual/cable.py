"""The cable between a host and the virtual board: bytes both ways, and the settings of the host's end.

The only object that host threads and the board's thread share. Like a DK's debug probe it passes bytes on
only while the port is open and DTR is asserted; what flows otherwise is lost.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from bridge import clock

HOST_QUEUE_BYTES: Final = 4096
"""What the host's driver takes before a write blocks, as a Linux tty does."""

DEFAULT_BAUD: Final = 115_200


@dataclass(frozen=True)
class HostEnd:
    """Settings of the host's serial port.

    Attributes:
        baud: Bit rate.
        flow_control: RTS/CTS hardware flow control is on.
        dtr: The DTR line is asserted.
        is_open: A program has the port open.
    """

    baud: int = DEFAULT_BAUD
    flow_control: bool = False
    dtr: bool = False
    is_open: bool = False

    @property
    def connected(self) -> bool:
        """Whether bytes pass."""
        return self.is_open and self.dtr


class Cable:
    """Bounded queue from the host to the board, unbounded one back, and wake-ups for both ends.

    Args:
        capacity_bytes: Size of the host driver's transmit queue.
    """

    def __init__(self, capacity_bytes: int = HOST_QUEUE_BYTES) -> None:
        self._capacity = capacity_bytes
        lock = clock.lock()
        self._board = clock.condition(lock)
        self._host = clock.condition(lock)
        self._lock = lock
        self._to_board = bytearray()
        self._to_host = bytearray()
        self._settings = HostEnd()
        self._board_woken = False
        self._cancel_read = False
        self._cancel_write = False
        self.on_host_event: Callable[[], None] | None = None
        """Called when there is something to read or room to write, for hosts that wait on descriptors."""
        self.probe_host: Callable[[], None] | None = None
        """Called before the board looks at the host's settings, for hosts that change them silently (a
        pty)."""

    # --- the host's end -------------------------------------------------------------------------------------

    @property
    def host_end(self) -> HostEnd:
        """Settings of the host's port."""
        return self._settings

    def plug(self) -> bool:
        """A program opens the port; False when another one has it."""
        with self._lock:
            if self._settings.is_open:
                return False
            self._settings = replace(self._settings, is_open=True)
            self._cancel_read = self._cancel_write = False
            self._to_board.clear()
            self._to_host.clear()
            return True

    def unplug(self) -> None:
        """The program closes the port, and DTR falls."""
        self.set_host_end(is_open=False, dtr=False)

    def set_host_end(self, **changes: int | bool) -> None:
        """Change settings of the host's port; closing or dropping DTR empties its queues."""
        with self._lock:
            self._settings = replace(self._settings, **changes)  # type: ignore[arg-type]  # HostEnd's names
            if not self._settings.connected:
                self._to_board.clear()
                self._to_host.clear()
            self._wake_board()
            self._host.notify_all()

    def write(self, data: bytes, timeout_s: float | None = None) -> int:
        """Queue bytes for the board; blocks while the queue is full.

        Returns:
            How many bytes were taken: all of them, or fewer after a timeout or :meth:`cancel_write`.
        """
        deadline = None if timeout_s is None else clock.monotonic() + timeout_s
        taken = 0
        with self._host:
            while taken < len(data):
                if not self._settings.connected:
                    return len(
                        data
                    )  # nobody is there to take them; a port without DTR swallows bytes all the same
                room = self._capacity - len(self._to_board)
                if room > 0:
                    self._to_board += data[taken : taken + room]
                    taken += min(room, len(data) - taken)
                    self._wake_board()
                elif not self._wait_host(deadline) or self._cancel_write:
                    break
            self._cancel_write = False
        return taken

    def read(self, size: int, timeout_s: float | None = None) -> bytes:
        """Take up to ``size`` bytes from the board; fewer after a timeout or :meth:`cancel_read`."""
        with self._host:
            self._host.wait_for(
                lambda: len(self._to_host) >= size or self._cancel_read or not self._settings.is_open,
                timeout_s,
            )
            self._cancel_read = False
            data = bytes(self._to_host[:size])
            del self._to_host[:size]
        return data

    def _wait_host(self, deadline: float | None) -> bool:
        if deadline is None:
            return self._host.wait()
        left_s = deadline - clock.monotonic()
        return left_s > 0 and self._host.wait(left_s)

    def wait_sent(self, timeout_s: float | None = None) -> bool:
        """Wait until the board has all queued bytes."""
        with self._host:
            return self._host.wait_for(lambda: not self._to_board, timeout_s)

    def readable(self) -> int:
        """Bytes that :meth:`read` gives at once."""
        return len(self._to_host)

    def writable(self) -> int:
        """Bytes that :meth:`write` takes at once."""
        return self._capacity - len(self._to_board)

    def unsent(self) -> int:
        """Bytes that the board has not taken yet."""
        return len(self._to_board)

    def drop_input(self) -> None:
        """Forget what the board sent and nobody read."""
        with self._lock:
            self._to_host.clear()

    def drop_output(self) -> None:
        """Forget what the board has not taken yet."""
        with self._host:
            self._to_board.clear()
            self._host.notify_all()

    def cancel_read(self) -> None:
        """Let a blocked :meth:`read` return."""
        with self._host:
            self._cancel_read = True
            self._host.notify_all()

    def cancel_write(self) -> None:
        """Let a blocked :meth:`write` return."""
        with self._host:
            self._cancel_write = True
            self._host.notify_all()

    def interrupt(self) -> None:
        """The board is gone: let everything that waits for it return."""
        with self._host:
            self._cancel_read = self._cancel_write = True
            self._host.notify_all()
        self._tell_host()

    # --- the board's end ------------------------------------------------------------------------------------

    def host_end_now(self) -> HostEnd:
        """The host's settings at this moment."""
        probe = self.probe_host  # the host may unplug between two looks at it
        if probe is not None:
            probe()
        return self._settings

    def pending(self) -> int:
        """Bytes that wait for the board."""
        return len(self._to_board)

    def take(self, size: int) -> bytes:
        """Take up to ``size`` bytes that the host sent."""
        with self._host:
            data = bytes(self._to_board[:size])
            del self._to_board[:size]
            self._host.notify_all()
        self._tell_host()
        return data

    def deliver(self, data: bytes) -> None:
        """Hand bytes to the host; they are lost when the port is closed or DTR is off."""
        with self._host:
            if not self._settings.connected:
                return
            self._to_host += data
            self._host.notify_all()
        self._tell_host()

    def wait(self, timeout_s: float | None) -> None:
        """Let the board's thread sleep until something happens at the host's end, or :meth:`wake`."""
        with self._board:
            if not self._board_woken:
                self._board.wait(timeout_s)
            self._board_woken = False

    def wake(self) -> None:
        """Wake the board's thread."""
        with self._lock:
            self._wake_board()

    def _wake_board(self) -> None:
        self._board_woken = True
        self._board.notify()

    def _tell_host(self) -> None:
        tell = self.on_host_event
        if tell is not None:
            tell()
