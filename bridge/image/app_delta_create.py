"""Make an application delta from two signed applications; the only place that needs detools."""

import hashlib
import io
import lzma
from types import ModuleType
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.extras import missing_extra
from bridge.image.app_delta import MAX_IMAGE_BYTES, AppDeltaInfo, DeltaEnd, encode_header
from bridge.image.app_delta_rebuild import rebuild
from bridge.image.application_file import ApplicationFile
from bridge.image.source import BytesSource

_HEADER_BYTE_WITH_LZMA: Final = b"\x01"
_FILTERS: Final = [
    {
        "id": lzma.FILTER_LZMA1,
        "preset": 9 | lzma.PRESET_EXTREME,
        "dict_size": MAX_IMAGE_BYTES,
        "lc": 3,
        "lp": 0,
        # Differences of code have no alignment; a patch between two builds gets a sixth smaller than with the default of 2.
        "pb": 0,
    }
]


def create_app_delta(old: ApplicationFile, new: ApplicationFile) -> bytes:
    """Make an application delta, and rebuild the target from it before it is given out.

    Args:
        old: The image that boards run now.
        new: The signed image that they shall get.

    Returns:
        The whole file.

    Raises:
        ImageRefusedError: ``same-image``, ``encrypted-image`` or ``too-large``.
        UsageError: detools is not installed (``missing-extra``).
    """
    base = _base_part(old)
    _check_pair(old, new, len(base))
    patch = _compressed(_detools_patch(base, new.data))
    info = AppDeltaInfo(
        base=_end(old, len(base)),
        target=_end(new, len(new.data)),
        target_sha256=hashlib.sha256(new.data).hexdigest(),
        patch_size_bytes=len(patch),
        patch_sha256=hashlib.sha256(patch).hexdigest(),
    )
    delta = encode_header(info) + patch
    for _piece in rebuild(info, BytesSource(delta).read, BytesSource(base).read):
        pass  # raises unless the digest is that of the target
    return delta


def _base_part(old: ApplicationFile) -> bytes:
    """What the image digest covers, and thus names."""
    return old.data[: old.info.header.hashed_size_bytes]


def _check_pair(old: ApplicationFile, new: ApplicationFile, base_size_bytes: int) -> None:
    for each in (old, new):
        if each.info.header.encrypted:
            raise ImageRefusedError(
                f"{each.name} is encrypted, and nothing in it resembles another version",
                reason="encrypted-image",
                hint="Send the whole image.",
            )
    if old.info.digest == new.info.digest:
        raise ImageRefusedError(
            f"{old.name} and {new.name} are the same image, with digest {old.info.digest}",
            reason="same-image",
            hint="Is one of them the wrong file?",
        )
    largest = max(base_size_bytes, len(new.data))
    if largest > MAX_IMAGE_BYTES:
        raise ImageRefusedError(
            f"an image has {largest} bytes, but no nRF91 has flash for more than {MAX_IMAGE_BYTES}",
            reason="too-large",
        )


def _end(application: ApplicationFile, size_bytes: int) -> DeltaEnd:
    info = application.info
    return DeltaEnd(info.digest_algorithm, info.digest, info.version, size_bytes)


def _detools_patch(base: bytes, target: bytes) -> bytes:
    detools = _import_detools()
    patch = io.BytesIO()
    detools.create_patch(
        io.BytesIO(base),
        io.BytesIO(target),
        patch,
        compression="none",
        patch_type="sequential",
        algorithm="bsdiff",
        use_mmap=False,
    )
    return patch.getvalue()


def _import_detools() -> ModuleType:
    try:
        import detools  # noqa: PLC0415
    except ImportError as error:
        raise missing_extra("making application deltas needs", error, "delta") from error
    return detools  # type: ignore[no-any-return]


def _compressed(patch: bytes) -> bytes:
    """The same patch, compressed with settings that suit it; detools reads it as one of its own."""
    size_end = 2
    while patch[size_end - 1] & 0x80:
        size_end += 1
    packer = lzma.LZMACompressor(lzma.FORMAT_ALONE, filters=_FILTERS)
    return _HEADER_BYTE_WITH_LZMA + patch[1:size_end] + packer.compress(patch[size_end:]) + packer.flush()
