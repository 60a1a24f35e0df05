"""Which journal a command writes, and which port it has for itself."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.fota.journal import Journal

_SUFFIX: Final = ".sqlite3"


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
    from bridge.fota.port_lock import file_name_for  # noqa: PLC0415

    return file or default_directory() / f"{file_name_for(name)}{_SUFFIX}"


def journal_of(file: Path, thing: str) -> Path:
    """Where one of several things has its journal, beside those of the others."""
    from bridge.fota.port_lock import file_name_for  # noqa: PLC0415

    return file.with_name(f"{file.stem}-{file_name_for(thing)}{file.suffix}")


def default_directory() -> Path:
    """Where journals are unless told otherwise."""
    from bridge.fota.port_lock import state_directory  # noqa: PLC0415

    return state_directory() / "journals"


def default_journals() -> list[Path]:
    """All journals of this user, by name."""
    return sorted(default_directory().glob(f"*{_SUFFIX}"))


def place_of(port: str | None, serial_number: str | None, transport: str) -> str:
    """See :func:`bridge.fota.port_lock.place_of`; it is loaded when it is needed."""
    from bridge.fota import port_lock  # noqa: PLC0415

    return port_lock.place_of(port, serial_number, transport)


def port_for_us(place: str, owner: str) -> AbstractContextManager[None]:
    """See :func:`bridge.fota.port_lock.port_for_us`; it is loaded when it is needed.

    Raises:
        BenchError: Another command works on the board (``port-held``; it is named).
    """
    from bridge.fota import port_lock  # noqa: PLC0415

    return port_lock.port_for_us(place, owner)
