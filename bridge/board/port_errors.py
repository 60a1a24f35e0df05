"""What pyserial and the operating system say when a port fails, translated once into the project's errors.

Source: pyserial 3.5 ``serialposix.py``, ``rfc2217.py`` and ``protocol_socket.py``: causes are in ``errno``,
or only in the exception that was being handled.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import serial

from bridge.errors import BenchError, BoardNotFoundError, BridgeError, LinkError, UsageError

try:
    from termios import error as _TerminalError  # noqa: N812 - the C library's name is no class name
except ImportError:  # Windows
    _TerminalError = serial.SerialException  # type: ignore[assignment,misc]

PORT_ERRORS: Final = (serial.SerialException, OSError, _TerminalError)
"""All that a port can raise; termios' error is no OSError."""

_BUSY: Final = {errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK}
_DENIED: Final = {errno.EACCES, errno.EPERM}
_PTY: Final = "/dev/pts/"
_PTY_MASTERS: Final = frozenset(("/dev/ptmx", "/dev/pts/ptmx"))


def open_error(url: str, cause: Exception) -> BridgeError:
    """Say why a port could not be opened."""
    name = shown_url(url)
    for known in (cause, cause.__cause__):  # a port handler of this project wraps its errors for pyserial
        if isinstance(known, BridgeError):
            return known
    if isinstance(cause, ValueError | LookupError):  # pyserial trips over bad options of loop://
        return UsageError(
            f"{name} is no port that can be opened: {cause}",
            reason="bad-port",
            hint="Give a device such as /dev/ttyACM0, or a URL such as rfc2217://host:port.",
        )
    return _system_error(url, name, cause)


def _system_error(url: str, name: str, cause: Exception) -> BridgeError:
    number = _errno_of(cause)
    if number in _BUSY:
        return held_error(url)
    if number in _DENIED:
        return BenchError(
            f"no permission to open {name}",
            reason="port-denied",
            hint="Add yourself to the group that owns the device (often dialout), and log in again.",
        )
    if number in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return BoardNotFoundError(
            f"there is no port {name}",
            reason="port-missing",
            hint="Is the board connected and switched on? `nrf91-bridge ports` lists what is there.",
        )
    reason = os.strerror(number) if number is not None else "it does not open"
    return BoardNotFoundError(
        f"cannot open {name}: {reason}",
        reason="port-unusable",
        hint="`nrf91-bridge ports` lists what is there.",
    )


def held_error(url: str) -> BenchError:
    """Say who holds a port."""
    holder = find_holder(url)
    by = f"by {holder}" if holder else "by another program"
    return BenchError(
        f"{shown_url(url)} is held {by}", reason="port-held", hint="Close that program, or stop its service."
    )


def lost_error(url: str, cause: Exception) -> LinkError:
    """Say that an open port stopped working."""
    number = _errno_of(cause)
    detail = f" ({os.strerror(number)})" if number is not None else ""
    return LinkError(
        f"the connection to {shown_url(url)} was lost{detail}",
        reason="link-lost",
        hint="Check cable and power; the board may have been unplugged or restarted.",
    )


def shown_url(url: str) -> str:
    """A port URL without its query, which may hold secrets."""
    return url.partition("?")[0]


def find_holder(url: str) -> str | None:
    """Name and process id of another program that has the device open, as far as /proc tells.

    Who serves a pty, such as a virtual board, keeps it open once without holding it.
    """
    if "://" in url:
        return None
    device = os.path.realpath(url)
    found = None
    for pid in _process_ids():
        files = _open_files(pid)
        serves = device.startswith(_PTY) and not _PTY_MASTERS.isdisjoint(files)
        if files.count(device) <= serves:
            continue
        name = _process_name(pid)
        if pid != os.getpid():
            return f"{name} (process {pid})"
        found = "this process"
    return found


def _process_ids() -> Iterator[int]:
    try:
        entries = list(Path("/proc").iterdir())
    except OSError:
        return
    yield from (int(entry.name) for entry in entries if entry.name.isdigit())


def _open_files(pid: int) -> list[str]:
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return []  # another user's process, or one that just ended
    return [file for file in map(_link_target, entries) if file is not None]


def _link_target(entry: Path) -> str | None:
    """Where a link leads; None when it is gone, as the one by which we have just looked into our own directory."""
    try:
        return os.readlink(entry)  # noqa: PTH115 - Path.readlink would normalise pipes and sockets
    except OSError:
        return None


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "a program"


def _errno_of(error: BaseException) -> int | None:
    seen: BaseException | None = error
    while seen is not None:
        number = getattr(seen, "errno", None) or (seen.args[0] if seen.args else None)
        if isinstance(number, int):
            return number
        seen = seen.__cause__ or seen.__context__
    return None
