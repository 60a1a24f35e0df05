"""Which journal a command writes, and which port it has for itself."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bridge.errors import BoardNotFoundError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bridge.fota.journal import Journal

_log = logging.getLogger(__name__)

_SUFFIX: Final = ".sqlite3"
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]{1,80}")


def open_journal(file: Path | None, name: str, owner: str) -> "Journal":
    """Open the journal that was asked for, or this user's own of that name.

    There is one for each thing and one for each board that is flashed by hand, so that several boards can be worked at a
    time: a journal is for one process.

    Raises:
        BenchError: It cannot be used; see :class:`~bridge.fota.journal.Journal`.
    """
    from bridge.fota.journal import Journal  # noqa: PLC0415

    return Journal(journal_file(file, name), owner=owner)


def journal_file(file: Path | None, name: str) -> Path:
    """The journal that was asked for, or where this user's own of that name is, or would be."""
    return file or default_directory() / f"{_file_name(name)}{_SUFFIX}"


def journal_of(file: Path, thing: str) -> Path:
    """Where one of several things has its journal, beside those of the others."""
    return file.with_name(f"{file.stem}-{_file_name(thing)}{file.suffix}")


def default_directory() -> Path:
    """Where journals are unless told otherwise."""
    from platformdirs import user_state_path  # noqa: PLC0415

    return user_state_path("nrf91-bridge") / "journals"


def default_journals() -> list[Path]:
    """All journals of this user, by name."""
    return sorted(default_directory().glob(f"*{_SUFFIX}"))


def place_of(port: str | None, serial_number: str | None, transport: str) -> str:
    """Where a board is, in words that stay the same when its port gets another name."""
    from bridge.board.ports import choose_port, list_ports  # noqa: PLC0415

    if transport == "probe":
        return f"probe {serial_number or 'of the only board'}"
    try:
        device = choose_port(port, serial_number)
    except BoardNotFoundError:
        return port or f"board {serial_number or 'that is connected'}"
    if Path(device).exists():
        device = str(Path(device).absolute())  # the same port for whoever is in another directory
    if "://" in device:
        shown, query, _ = device.partition("?")
        return f"{shown}#{_digest(device)}" if query else shown
    real = os.path.realpath(device)
    usb = next((one for one in list_ports() if one.device == real and one.serial_number), None)
    return device if usb is None else f"usb {usb.serial_number} interface {usb.interface}"


@contextmanager
def port_for_us(place: str, owner: str) -> Iterator[None]:
    """Keep other commands of this user off a board as long as the block lasts, also while its port is closed.

    Raises:
        BenchError: Another command works on it (``port-held``; it is named).
    """
    with _port_lock(place, owner):
        yield


def _port_lock(place: str, owner: str) -> "AbstractContextManager[object]":
    from bridge.fota.holder_lock import HolderLock  # noqa: PLC0415

    directory = default_directory().parent / "locks"
    # Links to one device are one port.
    key = os.path.realpath(place) if place.startswith("/") else place
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return HolderLock(
            directory / f"{_file_name(key)}.lock",
            f"the board at {place}",
            owner=owner,
            reason="port-held",
            hint="Stop that process, or choose another board.",
        )
    except OSError as error:
        _log.warning("other commands are not kept off the board: %s: %s", directory, error.strerror)
        return nullcontext()


def _file_name(text: str) -> str:
    return (
        text
        if _PLAIN.fullmatch(text)
        else f"{re.sub('[^A-Za-z0-9]+', '-', text)[-60:].strip('-')}-{_digest(text)}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
