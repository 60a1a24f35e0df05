"""Boards by name: how ``virtual://name`` and a test find the same running board."""

import atexit
import threading
import urllib.parse
from typing import Final

from bridge.errors import BoardNotFoundError, UsageError
from bridge.virtual.board import VirtualBoard

_lock: Final = threading.Lock()
_boards: Final[dict[str, VirtualBoard]] = {}


def key_of(url: str) -> str:
    """The name under which the board of a ``virtual://`` URL is registered."""
    parts = urllib.parse.urlsplit(url)
    names = urllib.parse.parse_qs(parts.query).get("name")
    if names:
        return names[0]
    return f"{parts.netloc}?{parts.query}" if parts.query else parts.netloc


def register(name: str, board: VirtualBoard) -> None:
    """Let ``virtual://name`` mean ``board``; the caller starts and stops it."""
    with _lock:
        if _boards.get(name, board) is not board:
            raise UsageError(f"a virtual board is already registered as {name}", reason="name-taken")
        _boards[name] = board


def unregister(name: str) -> None:
    """Forget a name."""
    with _lock:
        _boards.pop(name, None)


def re_enumerate(old: str, new: str | None) -> None:
    """Take a board's port away, as USB does; it comes back under a new name, or with None not yet.

    Raises:
        BoardNotFoundError: No board has that name.
    """
    moved = board(old)
    unregister(old)
    if new is not None:
        register(new, moved)
    moved.cable.interrupt()


def find(name: str) -> VirtualBoard | None:
    """The board behind a name or URL key, or None."""
    with _lock:
        return _boards.get(name)


def board(name: str) -> VirtualBoard:
    """The board behind a name or a whole ``virtual://`` URL.

    Raises:
        BoardNotFoundError: There is none.
    """
    found = find(key_of(name) if "://" in name else name)
    if found is None:
        raise BoardNotFoundError(f"no virtual board runs behind {name}")
    return found


def stop_all() -> None:
    """Stop every registered board and forget it."""
    with _lock:
        boards = list(_boards.values())
        _boards.clear()
    for each in boards:
        each.stop()


atexit.register(stop_all)
