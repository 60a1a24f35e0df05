"""Which port a command has for itself, also while it is closed: one lock for each board, for all processes of this user."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from bridge.board import ports
from bridge.errors import BoardNotFoundError
from bridge.fota.holder_lock import HolderLock

_log = logging.getLogger(__name__)

_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,80}")


def state_directory() -> Path:
    """Where this user's journals and locks are."""
    return user_state_path("nrf91-bridge")


def place_of(port: str | None, serial_number: str | None, transport: str) -> str:
    """Where a board is, in words that stay the same when its port gets another name."""
    if transport == "probe":
        return f"probe {serial_number or 'of the only board'}"
    try:
        device = ports.choose_port(port, serial_number)
    except BoardNotFoundError:
        return port or f"board {serial_number or 'that is connected'}"
    if Path(device).exists():
        device = str(Path(device).absolute())  # the same port for whoever is in another directory
    if "://" in device:
        shown, query, _ = device.partition("?")
        return f"{shown}#{_digest(device)}" if query else shown
    real = os.path.realpath(device)
    usb = next((one for one in ports.list_ports() if one.device == real and one.serial_number), None)
    return device if usb is None else f"usb {usb.serial_number} interface {usb.interface}"


@contextmanager
def port_for_us(place: str, owner: str) -> Iterator[None]:
    """Keep other commands of this user off a board as long as the block lasts, also while its port is closed.

    Raises:
        BenchError: Another command works on it (``port-held``; it is named).
    """
    with _port_lock(place, owner):
        yield


def _port_lock(place: str, owner: str) -> AbstractContextManager[object]:
    directory = state_directory() / "locks"
    # Links to one device are one port.
    key = os.path.realpath(place) if place.startswith("/") else place
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return HolderLock(
            directory / f"{file_name_for(key)}.lock",
            f"the board at {place}",
            owner=owner,
            reason="port-held",
            hint="Stop that process, or choose another board.",
        )
    except OSError as error:
        _log.warning("other commands are not kept off the board: %s: %s", directory, error.strerror)
        return nullcontext()


def file_name_for(text: str) -> str:
    """A file name that says what it is about, and is another one for another text."""
    return (
        text
        if _PLAIN.fullmatch(text)
        else f"{re.sub('[^A-Za-z0-9]+', '-', text)[-60:].strip('-')}-{_digest(text)}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
