"""Where downloads live: finished images under the key of their content, unfinished ones where the next process finds them.

The key is the SHA-256 where it is known, else a strong ETag and size together with host and path; never a query, because a
presigned URL has a new one each time. A name appears only when its content is complete: written elsewhere, flushed, renamed.
"""

import errno
import fcntl
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final, Self
from urllib.parse import urlsplit

from bridge.errors import BenchError

_log = logging.getLogger(__name__)

KEEP_BYTES: Final = 256 * 1024 * 1024
"""The cache gives up its oldest files beyond this; some forty full modem images."""
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


def location_of(url: str) -> str:
    """What stays the same when a URL is signed anew: host, port and path."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or parts.scheme}{parts.path}"


def digest_key(sha256: str) -> str:
    """Key of content with a known digest (hex)."""
    return f"sha256-{sha256.lower()}"


def object_key(url: str, etag: str, size_bytes: int) -> str:
    """Key of content that only a server's word identifies."""
    return f"etag-{_hashed(f'{location_of(url)} {etag} {size_bytes}')}"


def location_key(url: str) -> str:
    """Key of unfinished content of which nothing but its place is known."""
    return f"url-{_hashed(location_of(url))}"


class PartFile:
    """The file that a download writes; one thread writes, others may read what is there already.

    Args:
        file: Open for reading and writing.
        path: Its path.
        shared: Whether the next process may continue it; a private one is removed in the end.
    """

    def __init__(self, file: BinaryIO, path: Path, *, shared: bool) -> None:
        self._file = file
        self._path = path
        self._shared = shared
        self._published = False
        self.facts = PartFacts()

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

    def truncate(self, size_bytes: int) -> None:
        """Forget what is behind."""
        with disk_errors(self._path.parent):
            os.ftruncate(self._file.fileno(), size_bytes)

    def remember(self, facts: PartFacts) -> None:
        """Keep facts for the process that continues this file."""
        if facts == self.facts:
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


class ImageCache:
    """A directory of images.

    Args:
        directory: Made if it is missing, for its owner only: images may be confidential, and what lies here is flashed.

    Raises:
        BenchError: It cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with disk_errors(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, key: str) -> Path:
        """Where the complete content of a key is, or will be."""
        return self._directory / f"{key}.image"

    def open_complete(self, key: str) -> PartFile | None:
        """A complete file; None if there is none."""
        path = self.path(key)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _disk_error(error, self._directory) from error
        with suppress(OSError):
            path.touch()  # the oldest are removed first
        found = PartFile(file, path, shared=True)
        found._published = True
        return found

    def open_part(self, key: str | None) -> PartFile:
        """A file to download into: the unfinished one of the key, or an empty one.

        While one download has it, another one of the same key gets a private file, so that they cannot mix; both publish
        the same content in the end. Without a key it is private anyway.
        """
        with disk_errors(self._directory):
            part = None if key is None else self._claim(self._directory / f"{key}.part")
            return part or self._private()

    def remove(self, key: str) -> None:
        """Drop a complete file that turned out to be bad."""
        with suppress(OSError):
            self.path(key).unlink()

    def prune(self, keep_bytes: int = KEEP_BYTES) -> None:
        """Remove the files that were not used for longest, as far as there are too many bytes."""
        found = []
        for path in (*self._directory.glob("*.image"), *self._directory.glob("*.part")):
            with suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        kept_bytes = 0
        for _, size_bytes, path in sorted(found, reverse=True):
            kept_bytes += size_bytes
            if kept_bytes > keep_bytes:
                _log.info("removing %s from the cache", path.name)
                with suppress(OSError):
                    path.unlink()

    def _claim(self, path: Path) -> PartFile | None:
        """Lock a partial file, unless somebody else has."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking its last owner may have published or removed it.
            ours = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
        except OSError:
            ours = False
        if not ours:
            file.close()
            return None
        part = PartFile(file, path, shared=True)
        part.facts = _read_facts(_facts_path(path))
        return part

    def _private(self) -> PartFile:
        descriptor, name = tempfile.mkstemp(prefix="private-", suffix=".part", dir=self._directory)
        return PartFile(os.fdopen(descriptor, "r+b", buffering=0), Path(name), shared=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.prune()


@contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Translate what the file system raises.

    Raises:
        BenchError: Reasons ``no-space`` and ``cache-unusable``.
    """
    try:
        yield
    except OSError as error:
        raise _disk_error(error, directory) from error


def _disk_error(error: OSError, directory: Path) -> BenchError:
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


def _read_facts(path: Path) -> PartFacts:
    """Facts that are missing or make no sense are none."""
    try:
        known = json.loads(path.read_text())
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


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
