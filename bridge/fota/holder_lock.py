"""A lock that one process holds, and that tells everybody else who it is; it ends with the process, however that ends."""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from bridge.errors import BenchError

_HOLDER_BYTES: Final = 200
_UNKNOWN: Final = "another process"


class HolderLock:
    """An exclusive lock on a file of its own (``flock``, which the kernel takes back even after a SIGKILL).

    Args:
        file: Made when it does not exist, and left behind, so that nobody locks a file that somebody else removes.
        subject: What it stands for, such as ``the journal /var/lib/bench.sqlite3``; begins the sentence of the refusal.
        owner: Who asks, such as ``nrf91-bridge run``; shown to those who come later.
        reason: Code of the refusal.
        hint: What somebody who is refused can do.

    Raises:
        BenchError: Somebody else holds it (``reason``).
        OSError: The file cannot be made.
    """

    def __init__(self, file: Path, subject: str, *, owner: str, reason: str, hint: str) -> None:
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, _HOLDER_BYTES, 0).decode("utf-8", "replace").strip()
            os.close(self._descriptor)
            raise BenchError(
                f"{subject} is in use by {holder or _UNKNOWN}", reason=reason, hint=hint
            ) from error
        except OSError:
            os.close(self._descriptor)
            raise
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{owner} (process {os.getpid()})\n".encode(), 0)
        except OSError:
            os.close(self._descriptor)
            raise

    def release(self) -> None:
        """Let the next one in; may be called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
