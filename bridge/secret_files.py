"""Files that hold secrets, and who may read them."""

import logging
import os
import stat
from pathlib import Path

_log = logging.getLogger(__name__)
_told: set[Path] = set()
"""Key files that were warned about; they are read again at each connection."""


def warn_if_open_private_key(key_file: Path, pem: bytes) -> None:
    """The same for a file that may hold a public key as well, which anybody may read."""
    if b"PRIVATE KEY-----" in pem:
        warn_if_open_to_others(key_file)


def is_open_to_others(path: Path) -> bool:
    """Whether group or others may do anything with a file; False where that cannot be told."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return os.name == "posix" and bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def warn_if_open_to_others(key_file: Path) -> None:
    """Log a warning about a private key that other users can read, once for each file."""
    if key_file not in _told and is_open_to_others(key_file):
        _told.add(key_file)
        _log.warning("the private key %s is open to other users; `chmod 600` it", key_file)
