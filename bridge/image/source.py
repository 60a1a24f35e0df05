"""Where an image's bytes come from: a local file, memory, or (:mod:`bridge.fetch`) a running download."""

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from bridge.image.inspector import unreadable
from bridge.image.names import file_name


class ImageSource(Protocol):
    """Random access to an image that may still be arriving."""

    @property
    def name(self) -> str:
        """File name, without folders and URL queries."""
        ...

    @property
    def expected_sha256(self) -> str | None:
        """SHA-256 that the whole file has or is said to have, in hex; None when nobody knows before its end."""
        ...

    def wait_size(self) -> int:
        """Block until the total size is known, in bytes; raises what the transfer raised."""
        ...

    def read(self, offset: int, size: int) -> bytes:
        """Block until the bytes are there.

        Returns:
            Exactly ``size`` bytes, fewer only at the end of the image, none at or past it.
        """
        ...

    def wait_complete(self) -> None:
        """Block until all bytes are there, and what was declared about size and digest is found true."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...


@runtime_checkable
class InterruptibleSource(Protocol):
    """A source that may keep its readers waiting."""

    def interrupt(self) -> None:
        """Let readers wait no more for bytes that are not there yet; nothing changes for an image that is. From any thread.

        They get an error with reason ``closed``, then and later.
        """
        ...


class BytesSource:
    """An image in memory.

    Args:
        data: Its bytes.
        name: File name.
    """

    def __init__(self, data: bytes, name: str = "") -> None:
        self._data = data
        self._name = file_name(name)

    @property
    def name(self) -> str:
        """File name."""
        return self._name

    @property
    def expected_sha256(self) -> str | None:
        """See :class:`ImageSource`."""
        return hashlib.sha256(self._data).hexdigest()

    def wait_size(self) -> int:
        """Size in bytes."""
        return len(self._data)

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`ImageSource`."""
        return self._data[offset : offset + size]

    def wait_complete(self) -> None:
        """Everything is there."""

    def close(self) -> None:
        """Nothing to release."""


class FileSource:
    """An image on disk; its size is that at opening.

    Args:
        path: The file.

    Raises:
        UsageError: It cannot be opened (``unreadable``).
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = path.open("rb")
            self._size_bytes = os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise unreadable(path, error) from error

    @property
    def name(self) -> str:
        """File name, without folders."""
        return self._path.name

    @property
    def expected_sha256(self) -> str | None:
        """See :class:`ImageSource`; reads the whole file."""
        try:
            with self._path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise unreadable(self._path, error) from error

    def wait_size(self) -> int:
        """Size in bytes."""
        return self._size_bytes

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`ImageSource`.

        Raises:
            ImageRefusedError: The file cannot be read any more.
        """
        try:
            self._file.seek(offset)
            return self._file.read(max(0, min(size, self._size_bytes - offset)))
        except OSError as error:
            raise unreadable(self._path, error) from error

    def wait_complete(self) -> None:
        """Everything is there."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()
