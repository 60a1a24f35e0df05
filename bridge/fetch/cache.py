"""Where downloads live: finished files under their SHA-256, unfinished ones where the next run finds them again.

A partial file is keyed by the digest that is wanted, or else by scheme, host and path: never by the query, because a presigned
URL has another one each time. What is known about it (ETag, size) stands beside it.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bridge.errors import BenchError
from bridge.fetch.redact import redact_url

_HASH_BLOCK_BYTES: Final = 1024 * 1024


@dataclass(frozen=True)
class ObjectIdentity:
    """What tells one version of a file on a server from another.

    Attributes:
        etag: Strong entity tag, if the server gives one.
        last_modified: Its ``Last-Modified``, as sent.
        size_bytes: Total size, once known.
    """

    etag: str | None = None
    last_modified: str | None = None
    size_bytes: int | None = None


def storage_error(error: OSError, directory: Path) -> BenchError:
    """Translate a failed write."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return BenchError(
        f"cannot keep the download in {directory}: {error.strerror}",
        reason="no-space" if full else "cache-not-writable",
        hint="Choose another --cache-dir.",
    )


class PartialFile:
    """A download on disk, from its first byte until it is published.

    Args:
        directory: The cache.
        url: Where it comes from.
        sha256: Digest that is wanted, if known.

    Attributes:
        identity: What is known of the object whose first bytes are here.
        received_bytes: How many of them are here.

    Raises:
        BenchError: The cache cannot be written (reasons ``no-space``, ``cache-not-writable``).
    """

    def __init__(self, directory: Path, url: str, sha256: str | None) -> None:
        self._directory = directory
        self._final = directory / f"{sha256}.bin" if sha256 else None
        key = sha256 or hashlib.sha256(redact_url(url).encode()).hexdigest()
        self._path: Path | None = directory / f"{key}.part"
        self._facts: Path | None = directory / f"{key}.json"
        self.identity = ObjectIdentity()
        self.received_bytes = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open()
        except OSError as error:
            raise storage_error(error, directory) from error

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that are here already; safe from any thread."""
        return os.pread(self._descriptor, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in; :attr:`received_bytes` grows when they extend what is here."""
        try:
            os.pwrite(self._descriptor, data, offset)
        except OSError as error:
            raise storage_error(error, self._directory) from error
        self.received_bytes = max(self.received_bytes, offset + len(data))

    def remember(self, identity: ObjectIdentity) -> None:
        """Note which version of the file the bytes belong to."""
        if identity == self.identity:
            return
        self.identity = identity
        if self._facts is not None:
            try:
                self._facts.write_text(json.dumps(asdict(identity)))
            except OSError as error:
                raise storage_error(error, self._directory) from error

    def restart(self) -> None:
        """Forget the bytes: they belong to something else."""
        os.ftruncate(self._descriptor, 0)
        self.received_bytes = 0
        self.remember(ObjectIdentity())

    def sha256(self) -> str:
        """Digest of all bytes, in hex."""
        digest = hashlib.sha256()
        for offset in range(0, self.received_bytes, _HASH_BLOCK_BYTES):
            digest.update(self.read(offset, _HASH_BLOCK_BYTES))
        return digest.hexdigest()

    def publish(self, sha256: str) -> None:
        """Move the finished file to its place; readers keep their bytes."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):  # the download is good even if the cache is not
            os.fsync(self._descriptor)
            self._path.replace(self._directory / f"{sha256}.bin")
            self._drop_facts()
        self._path = None

    def discard(self) -> None:
        """Remove bytes that turned out to be wrong."""
        with contextlib.suppress(OSError):
            if self._path is not None:
                self._path.unlink(missing_ok=True)
            self._drop_facts()
        self._path = None

    def close(self) -> None:
        """Close the file; an unfinished one stays for the next run."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _drop_facts(self) -> None:
        if self._facts is not None:
            self._facts.unlink(missing_ok=True)

    def _open(self) -> int:
        if self._final is not None and (descriptor := self._open_finished(self._final)) is not None:
            return descriptor
        assert self._path is not None
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # Another process downloads the same: this one works on a file of its own.
            os.close(descriptor)
            return self._open_private()
        self._load_facts(os.fstat(descriptor).st_size)
        if not self.received_bytes:
            os.ftruncate(descriptor, 0)
        return descriptor

    def _open_finished(self, path: Path) -> int | None:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        self._path = None
        self.received_bytes = os.fstat(descriptor).st_size
        self.identity = ObjectIdentity(size_bytes=self.received_bytes)
        return descriptor

    def _open_private(self) -> int:
        descriptor, name = tempfile.mkstemp(dir=self._directory, suffix=".part")
        self._path, self._facts = Path(name), None
        return descriptor

    def _load_facts(self, size_bytes: int) -> None:
        assert self._facts is not None
        try:
            identity = ObjectIdentity(**json.loads(self._facts.read_text()))
        except (OSError, ValueError, TypeError):
            return
        if identity.etag or identity.last_modified:
            self.identity = identity
            self.received_bytes = size_bytes
