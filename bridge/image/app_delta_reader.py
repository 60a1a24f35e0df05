"""Application deltas as they stream by: whether the file is whole, without rebuilding anything."""

import hashlib

from bridge.errors import ImageRefusedError
from bridge.image.app_delta import HEADER_BYTES, AppDeltaInfo, parse_header, truncated
from bridge.image.model import FirmwareImage, ImageHead, ImageKind


class AppDeltaFile:
    """Reads an application delta in pieces of any size, and keeps only its header.

    Args:
        name: File name.

    Attributes:
        head: What the header tells, once it was seen.
    """

    def __init__(self, name: str) -> None:
        self.head: ImageHead | None = None
        self._name = name
        self._info: AppDeltaInfo | None = None
        self._header = b""
        self._patch_bytes = 0
        self._sha256 = hashlib.sha256()

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ImageRefusedError: See :func:`bridge.image.app_delta.parse_header`.
        """
        if self._info is None:
            missing = HEADER_BYTES - len(self._header)
            self._header += data[:missing]
            data = data[missing:]
            if len(self._header) < HEADER_BYTES:
                return
            self._info = info = parse_header(self._header)
            versions = info.target.version, info.base.version
            self.head = ImageHead(ImageKind.APP_DELTA, self._name, *versions, app_delta=info)
        self._patch_bytes += len(data)
        self._sha256.update(data)

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        """Judge the whole.

        Args:
            size_bytes: Size of the file.
            sha256: SHA-256 of the file, in hex.

        Raises:
            ImageRefusedError: ``truncated``, ``trailing-bytes`` or ``digest-mismatch``.
        """
        info = self._info or parse_header(self._header)
        if self._patch_bytes < info.patch_size_bytes:
            raise truncated(HEADER_BYTES + self._patch_bytes, HEADER_BYTES + info.patch_size_bytes)
        if self._patch_bytes > info.patch_size_bytes:
            raise trailing(HEADER_BYTES + info.patch_size_bytes)
        check_patch(info, self._sha256.hexdigest())
        versions = info.target.version, info.base.version
        return FirmwareImage(ImageKind.APP_DELTA, self._name, size_bytes, sha256, *versions, app_delta=info)


def trailing(end: int) -> ImageRefusedError:
    """The refusal for an application delta that does not end at its end."""
    return ImageRefusedError(
        f"application delta is too long: bytes follow its end at {end}",
        reason="trailing-bytes",
        offset=end,
        hint="Download or make it again.",
    )


def check_patch(info: AppDeltaInfo, sha256: str) -> None:
    """Compare the digest of the patch, as it was read, with the one in the header.

    Raises:
        ImageRefusedError: ``digest-mismatch``.
    """
    if sha256 != info.patch_sha256:
        raise ImageRefusedError(
            f"application delta is corrupt: its patch has SHA-256 {sha256}, its header says {info.patch_sha256}",
            reason="digest-mismatch",
            hint="Download or make it again.",
        )
