"""Where downloads live: finished images under the key of their content, unfinished ones where the next process finds them.

The key is the SHA-256 where it is known, else a strong ETag and size together with host and path; never a query, because a
presigned URL has a new one each time. A name appears only when its content is complete: written elsewhere, flushed, renamed.
"""

import fcntl
import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from bridge.fetch.part_file import PartFile, disk_error, disk_errors, read_facts

_log = logging.getLogger(__name__)

KEEP_BYTES: Final = 256 * 1024 * 1024
"""The cache gives up its oldest files beyond this; some forty full modem images."""
KEEP_PARTS_S: Final = 7 * 24 * 3600
"""A partial file that was not written to for a week belongs to no job any more."""


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
            raise disk_error(error, self._directory) from error
        with suppress(OSError):
            os.utime(path)  # the oldest are removed first
        return PartFile(file, path, shared=True, published=True)

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
        """Remove images that were not used for longest, as far as there are too many bytes, and parts nobody continued."""
        kept_bytes = 0
        for used_s, size_bytes, path in sorted(self._files("*.image"), reverse=True):
            kept_bytes += size_bytes
            if kept_bytes > keep_bytes:
                _log.info("removing %s from the cache, unused since %d", path.name, used_s)
                path.unlink(missing_ok=True)
        for written_s, _, path in (*self._files("*.part"), *self._files("*.json")):
            if time.time() - written_s > KEEP_PARTS_S:
                path.unlink(missing_ok=True)

    def _files(self, pattern: str) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of files."""
        for path in self._directory.glob(pattern):
            with suppress(OSError):
                status = path.stat()
                yield status.st_mtime, status.st_size, path

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
        part.facts = read_facts(path)
        return part

    def _private(self) -> PartFile:
        descriptor, name = tempfile.mkstemp(prefix="private-", suffix=".part", dir=self._directory)
        return PartFile(os.fdopen(descriptor, "r+b", buffering=0), Path(name), shared=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self.prune()


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
