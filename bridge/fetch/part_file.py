"""The file that a download fills, what is known of its content, and what the disk can do to it."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bridge.errors import BenchError

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class PartFacts:
    """What is known of the object whose first bytes a partial file holds.

    Attributes:
        etag: Its strong entity tag.
        size_bytes: Its size.
    """

    etag: str | None = None
    size_bytes: int | None = None


class PartFile:
    """The file that a download writes; one thread writes, others may read what is there already.

    Args:
        file: Open for reading and writing.
        path: Its path.
        shared: Whether the next process may continue it; a private one is removed in the end.
        published: Whether it is complete and has its name.
    """

    def __init__(self, file: BinaryIO, path: Path, *, shared: bool, published: bool = False) -> None:
        self._file = file
        self._path = path
        self._shared = shared
        self._published = published
        self.facts = PartFacts()

    @property
    def is_published(self) -> bool:
        """Whether it has its name in the cache already."""
        return self._published

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._file.closed

    @property
    def size_bytes(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Bytes at an offset."""
        return os.pread(self._file.fileno(), size, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at an offset.

        Raises:
            BenchError: No space, or the disk fails.
        """
        left = memoryview(data)
        with disk_errors(self._path.parent):
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                offset, left = offset + written, left[written:]

    def check_room(self, size_bytes: int) -> None:
        """Notice early that the file cannot become so large.

        Raises:
            BenchError: There is not enough space left (reason ``no-space``).
        """
        if self._published:
            return
        with disk_errors(self._path.parent):
            disk = os.fstatvfs(self._file.fileno())
            taken_bytes = 512 * os.fstat(self._file.fileno()).st_blocks
            if size_bytes - taken_bytes > disk.f_bavail * disk.f_frsize:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, size_bytes: int) -> None:
        """Forget what is behind."""
        with disk_errors(self._path.parent):
            os.ftruncate(self._file.fileno(), size_bytes)

    def remember(self, facts: PartFacts) -> None:
        """Keep facts for the process that continues this file."""
        if facts == self.facts or self._published:
            return
        self.facts = facts
        if self._shared:
            with disk_errors(self._path.parent):
                _write_atomically(_facts_path(self._path), json.dumps(asdict(facts)).encode())

    def sha256(self) -> str:
        """Digest of the content, in hex."""
        digest, offset = hashlib.sha256(), 0
        while block := self.read(offset, _BLOCK_BYTES):
            digest.update(block)
            offset += len(block)
        return digest.hexdigest()

    def publish(self, path: Path) -> None:
        """Give the complete file its name in the cache; this object reads it still."""
        with disk_errors(path.parent):
            os.fsync(self._file.fileno())
            self._path.replace(path)
            _facts_path(self._path).unlink(missing_ok=True)
        self._published = True

    def close(self) -> None:
        """Close the file; a private one is gone then. May be called twice."""
        if self._file.closed:
            return
        if not self._published and (not self._shared or self.size_bytes == 0):
            with suppress(OSError):
                self._path.unlink()
                _facts_path(self._path).unlink()
        self._file.close()


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Translate what the file system raises.

    Raises:
        BenchError: Reasons ``no-space`` and ``cache-unusable``.
    """
    try:
        yield
    except OSError as error:
        raise disk_error(error, directory) from error


def disk_error(error: OSError, directory: Path) -> BenchError:
    """Our error for one of the file system."""
    if error.errno in _NO_SPACE:
        return BenchError(
            f"no space left for the download in {directory}",
            reason="no-space",
            hint="Make room there, or choose another --cache-dir.",
        )
    return BenchError(
        f"cannot keep downloads in {directory}: {error.strerror or error}",
        reason="cache-unusable",
        hint="Choose another --cache-dir.",
    )


def _facts_path(part: Path) -> Path:
    return part.with_suffix(".json")


def read_facts(part: Path) -> PartFacts:
    """The facts beside a partial file; those that are missing or make no sense are none."""
    try:
        known = json.loads(_facts_path(part).read_text())
        etag, size_bytes = known["etag"], known["size_bytes"]
    except (OSError, ValueError, TypeError, KeyError):
        return PartFacts()
    return PartFacts(
        etag if isinstance(etag, str) else None, size_bytes if isinstance(size_bytes, int) else None
    )


def _write_atomically(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".json-new")
    beside.write_bytes(content)
    beside.replace(path)
