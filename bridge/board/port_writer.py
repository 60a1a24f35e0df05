"""Writing with a deadline and an exact count of the bytes that left, which pyserial's timeout loses."""

import os
import select
from typing import Final

import serial

from bridge import clock

_RFC2217: Final = "serial.rfc2217"
_SLICE_BYTES: Final = 256
_BLOCKING_WRITE_TIMEOUT_S: Final = 10.0
"""Longest stall of a port without a descriptor; afterwards nobody knows how much of the slice has left."""


class PortWriter:
    """Writes to an open port.

    A port with a file descriptor is written without blocking and waited for with ``select``; others get
    slices with pyserial's own timeout.

    Args:
        port: An open port whose ``write_timeout`` is what :meth:`timeout_for` gave.
    """

    def __init__(self, port: serial.Serial) -> None:
        self._port = port
        self._descriptor = port.fileno() if _is_descriptor_based(port) else None

    @staticmethod
    def timeout_for(port: serial.Serial) -> float | None:
        """The ``write_timeout`` to set before the port is opened; RFC 2217 knows none, but has one on its socket."""
        if _is_descriptor_based(port):
            return 0
        return None if type(port).__module__ == _RFC2217 else _BLOCKING_WRITE_TIMEOUT_S

    def write(self, data: bytes, timeout_s: float) -> int:
        """Write until all is written or time is up.

        Returns:
            How many bytes the operating system took; at most one slice less than really left on ports without
            a descriptor.
        """
        deadline = clock.monotonic() + timeout_s
        written = 0
        while written < len(data):
            step = self._write_some(data[written : written + _SLICE_BYTES], deadline)
            if step == 0:
                break
            written += step
        return written

    def _write_some(self, data: bytes, deadline: float) -> int:
        left_s = max(0.0, deadline - clock.monotonic())
        if self._descriptor is not None:
            _, ready, _ = select.select([], [self._descriptor], [], left_s)
            return self._port.write(data) or 0 if ready else 0
        if left_s == 0:
            return 0
        try:
            return self._port.write(data) or 0
        except serial.SerialTimeoutException:
            return 0
        except serial.SerialException as error:
            if isinstance(error.__context__, TimeoutError):  # the socket's; the connection stands
                return 0
            raise


def _is_descriptor_based(port: serial.Serial) -> bool:
    return os.name == "posix" and type(port) is serial.Serial
