"""What SQLite says when the journal cannot be used, translated once.

Source: https://www.sqlite.org/rescode.html (result codes; Python names them since 3.11).
"""

import sqlite3
from pathlib import Path
from typing import Final

from bridge.errors import BenchError

_CORRUPT: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT")
_MOVE_ASIDE: Final = (
    "Nothing was changed. Keep a copy if you need it, then start a new journal with"
    " `nrf91-bridge history --journal FILE --move-aside`."
)
_ELSEWHERE: Final = "Choose another file with --journal, or make room."


def journal_error(file: Path | None, error: sqlite3.Error) -> BenchError:
    """Say why the journal cannot be read or written, before any board suffers from it."""
    name = shown(file)
    code = getattr(error, "sqlite_errorname", None) or ""
    if code.startswith(_CORRUPT):
        return corrupt_error(file, str(error))
    if code == "SQLITE_FULL":
        return BenchError(f"no room for {name}: the disk is full", reason="journal-full", hint=_ELSEWHERE)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BenchError(f"{name} is locked by another program: {error}", reason="journal-held")
    return BenchError(f"{name} cannot be written: {error}", reason="journal-unusable", hint=_ELSEWHERE)


def corrupt_error(file: Path | None, what: str) -> BenchError:
    """Say that the journal is broken, and that nobody touched it."""
    return BenchError(f"{shown(file)} is damaged: {what}", reason="journal-corrupt", hint=_MOVE_ASIDE)


def unusable_error(file: Path, error: OSError) -> BenchError:
    """Say that the file system does not let us have the journal."""
    return BenchError(
        f"{shown(file)} cannot be used: {error.strerror or error}", reason="journal-unusable", hint=_ELSEWHERE
    )


def shown(file: Path | None) -> str:
    """The journal as messages name it."""
    return "the journal in memory" if file is None else f"the journal {file}"
