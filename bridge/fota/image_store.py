"""Images that boards are known to run, by their image digest: what application deltas start from.

Each image is one file, named by the digest that MCUboot and SMP know; the name appears only when the content is complete, and
the content is held against it whenever it is used.
"""

import errno
import string
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import BenchError, ImageRefusedError, UsageError
from bridge.image import ImageSource, inspect_file
from bridge.image.application_file import ApplicationFile, read_application
from bridge.image.atomic_file import write_atomically
from bridge.image.mcuboot import parse_image

_SUFFIX: Final = ".image"
_MIN_PREFIX: Final = 6
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ADD_COMMAND: Final = "nrf91-bridge image store add FILE"


@dataclass(frozen=True)
class KnownImage:
    """An image in the store.

    Attributes:
        digest: Its image digest, in hex.
        path: Its file.
        size_bytes: Size of the file.
        version: Version in its header; None for a file that went bad.
        problem: What is wrong with it; None for a sound one.
    """

    digest: str
    path: Path
    size_bytes: int
    version: str | None
    problem: str | None = None


def default_store_directory() -> Path:
    """Where the store is unless somebody says otherwise: among this user's data, since it is no cache."""
    from platformdirs import user_data_path  # noqa: PLC0415

    return user_data_path("nrf91-bridge") / "images"


class KnownImageStore:
    """A directory of signed applications.

    Args:
        directory: Made with the first image, for its owner only: images may be confidential.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, file: Path) -> KnownImage:
        """Keep a copy of a signed application, or of the one in a ``dfu_application.zip``; again does no harm.

        Raises:
            ImageRefusedError: It is no sound application image.
            BenchError: The store cannot be written (``no-space``, ``store-unusable``).
        """
        return self.add_application(read_application(file))

    def add_application(self, application: ApplicationFile) -> KnownImage:
        """Keep an application that was read already.

        Raises:
            BenchError: The store cannot be written.
        """
        path = self._path(application.info.digest)
        with self._disk_errors():
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, application.data)
        return KnownImage(application.info.digest, path, len(application.data), application.info.version)

    def add_source(self, source: ImageSource) -> KnownImage:
        """Keep an application that was just sent to a board: the next delta will start from it.

        Raises:
            ImageRefusedError: It is no sound application image.
            BridgeError: What reading it raises; for the store, ``BenchError``.
        """
        data = source.read(0, source.wait_size())
        return self.add_application(ApplicationFile(source.name, data, parse_image(data)))

    def images(self) -> list[KnownImage]:
        """All images, each one looked at; by version, those that went bad last."""
        with self._disk_errors():
            paths = sorted(self.directory.glob(f"*{_SUFFIX}")) if self.directory.is_dir() else []
        found = [image for path in paths if (image := _look_at(path)) is not None]
        return sorted(found, key=lambda image: (image.problem is not None, _sortable(image.version)))

    def find(self, digest: str) -> KnownImage | None:
        """The image with a digest; None if it is not here.

        Raises:
            ImageRefusedError: It is here, but went bad (``damaged-base``).
            UsageError: This is no digest (``bad-digest``).
        """
        image = _look_at(self._path(digest))
        if image is not None and image.problem is not None:
            raise ImageRefusedError(
                f"the stored image {image.path} is damaged: {image.problem}",
                reason="damaged-base",
                hint=f"Add it again with: {ADD_COMMAND}",
            )
        return image

    def remove(self, digest: str) -> KnownImage:
        """Remove an image.

        Args:
            digest: Its digest, or enough of its first digits.

        Raises:
            UsageError: No or several images fit (``unknown-image``, ``ambiguous-digest``), or it is no digest
                (``bad-digest``).
            BenchError: The store cannot be written.
        """
        prefix = _checked(digest)
        fitting = [image for image in self.images() if image.digest.startswith(prefix)]
        if len(fitting) != 1:
            raise UsageError(
                f"{len(fitting) or 'no'} images in {self.directory} have a digest that begins with {prefix}",
                reason="ambiguous-digest" if fitting else "unknown-image",
                hint="`nrf91-bridge image store list` shows them.",
            )
        with self._disk_errors():
            fitting[0].path.unlink(missing_ok=True)
        return fitting[0]

    def _path(self, digest: str) -> Path:
        return self.directory / f"{_checked(digest)}{_SUFFIX}"

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in _NO_SPACE
            raise BenchError(
                f"the image store {self.directory} cannot be used: {error.strerror or error}",
                reason="no-space" if full else "store-unusable",
                hint="Make room there, or choose another --store." if full else "Choose another --store.",
            ) from error


def _checked(digest: str) -> str:
    """A digest, or the start of one, in lower case; it becomes part of a file name."""
    if len(digest) < _MIN_PREFIX or not set(digest) <= set(string.hexdigits):
        raise UsageError(
            f"{digest!r} is no image digest",
            reason="bad-digest",
            hint=f"Give at least its first {_MIN_PREFIX} digits; `nrf91-bridge image store list` shows them.",
        )
    return digest.lower()


def _look_at(path: Path) -> KnownImage | None:
    """Read a file of the store, and hold its content against its name; None if there is none."""
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        return KnownImage(path.stem, path, 0, None, error.strerror or str(error))
    try:
        image = inspect_file(path)
    except (ImageRefusedError, UsageError) as error:
        return KnownImage(path.stem, path, size_bytes, None, error.message)
    digest = image.mcuboot.digest if image.mcuboot is not None else None
    if digest != path.stem:
        return KnownImage(path.stem, path, size_bytes, None, f"its image digest is {digest}")
    return KnownImage(path.stem, path, size_bytes, image.version)


def _sortable(version: str | None) -> tuple[int, ...]:
    return tuple(int(number) for number in (version or "").replace("+", ".").split(".") if number)
