"""Buckets and their objects in a directory: an index, and the contents under the names of their digests.

A content never changes under its name, so that who reads an object while it is replaced gets the old one to its end.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bridge.errors import UsageError
from bridge.image.atomic_file import write_atomically
from bridge.lab.s3_errors import S3Error

MAX_KEY_BYTES: Final = 1024
_BUCKET: Final = re.compile(r"(?!\d+\.\d+\.\d+\.\d+$)[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_INDEX: Final = "index.json"


@dataclass(frozen=True)
class StoredObject:
    """An object of a bucket.

    Attributes:
        key: Its name.
        sha256: Digest of the content, in hex; names the file that holds it.
        etag: MD5 of the content, in hex, as S3 gives it to objects that came in one piece.
        modified_at: Epoch seconds, whole ones as in HTTP.
        headers: Header fields to answer with: ``content-type``, ``x-amz-meta-...``, ``x-amz-checksum-...``.
    """

    key: str
    sha256: str
    etag: str
    size_bytes: int
    modified_at: int
    headers: Mapping[str, str] = field(default_factory=dict)


class BucketStore:
    """The buckets; thread-safe.

    Args:
        directory: Where they live; made if it is missing. What is there is used again.
        clock: Epoch seconds.

    Raises:
        UsageError: The directory cannot be used.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.RLock()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._buckets = _load(directory / _INDEX)
            self._remove_orphans()
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"cannot use {directory} for buckets: {error}",
                reason="bad-state-dir",
                hint="Choose another --state directory, or remove this one.",
            ) from error

    @property
    def names(self) -> list[str]:
        """Names of the buckets."""
        with self._lock:
            return sorted(self._buckets)

    def create(self, bucket: str) -> bool:
        """Make a bucket; False if it is there already.

        Raises:
            S3Error: The name is none.
        """
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise S3Error("InvalidBucketName", "The specified bucket is not valid.", BucketName=bucket)
        with self._lock:
            if bucket in self._buckets:
                return False
            self._buckets[bucket] = {}
            self._save()
            return True

    def drop(self, bucket: str) -> None:
        """Remove an empty bucket.

        Raises:
            S3Error: It is not there, or not empty.
        """
        with self._lock:
            if self._objects(bucket):
                raise S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty")
            del self._buckets[bucket]
            self._save()

    def put(self, bucket: str, key: str, content: bytes, headers: Mapping[str, str]) -> StoredObject:
        """Store an object, in the place of another of that name.

        Raises:
            S3Error: There is no such bucket, or the key is too long.
        """
        if len(key.encode()) > MAX_KEY_BYTES:
            raise S3Error("KeyTooLongError", "Your key is too long")
        sha256 = hashlib.sha256(content).hexdigest()
        etag = hashlib.md5(content, usedforsecurity=False).hexdigest()
        stored = StoredObject(key, sha256, etag, len(content), int(self._clock()), dict(headers))
        with self._lock:
            objects = self._objects(bucket)
            if not (path := self.path(stored)).exists():
                write_atomically(path, content)
            objects[key] = stored
            self._save()
        return stored

    def get(self, bucket: str, key: str) -> StoredObject:
        """Find an object.

        Raises:
            S3Error: Bucket or object are not there.
        """
        with self._lock:
            stored = self._objects(bucket).get(key)
        if stored is None:
            raise S3Error("NoSuchKey", "The specified key does not exist.", Key=key)
        return stored

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object, if it is there.

        Raises:
            S3Error: There is no such bucket.
        """
        with self._lock:
            if self._objects(bucket).pop(key, None) is not None:
                self._save()

    def list(self, bucket: str, prefix: str = "", after: str = "") -> list[StoredObject]:
        """Objects in the order of their keys' bytes.

        Raises:
            S3Error: There is no such bucket.
        """
        with self._lock:
            found = [
                each
                for key, each in self._objects(bucket).items()
                if key.startswith(prefix) and key.encode() > after.encode()
            ]
        return sorted(found, key=lambda each: each.key.encode())

    def path(self, stored: StoredObject) -> Path:
        """The file that holds an object's content; it stays until the next start, whatever becomes of the object."""
        return self._directory / stored.sha256

    def _objects(self, bucket: str) -> dict[str, StoredObject]:
        objects = self._buckets.get(bucket)
        if objects is None:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist", BucketName=bucket)
        return objects

    def _save(self) -> None:
        plain = {
            bucket: [asdict(each) for each in objects.values()] for bucket, objects in self._buckets.items()
        }
        write_atomically(self._directory / _INDEX, json.dumps(plain).encode())

    def _remove_orphans(self) -> None:
        wanted = {each.sha256 for objects in self._buckets.values() for each in objects.values()} | {_INDEX}
        for path in self._directory.iterdir():
            if path.is_file() and path.name not in wanted:
                path.unlink()


def _load(index: Path) -> dict[str, dict[str, StoredObject]]:
    if not index.exists():
        return {}
    plain: dict[str, list[dict[str, Any]]] = json.loads(index.read_text())
    return {
        bucket: {each["key"]: StoredObject(**each) for each in objects} for bucket, objects in plain.items()
    }
