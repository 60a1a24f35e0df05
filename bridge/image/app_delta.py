"""Application deltas: a patch from one signed application to the next, and a header that says from which to which.

The file is this project's own; the patch in it is a detools sequential patch with LZMA, byte for byte. Boards never see it:
the signed image is rebuilt on the host (:mod:`bridge.image.app_delta_rebuild`). The base is named by its image digest and is
only that part of the image which this digest covers (header, payload, protected TLVs), so that every copy of it will do,
however it was signed or padded. All numbers are little-endian.

====== ==== ===========================================================
offset size content
====== ==== ===========================================================
0      8    magic ``91 4e 52 46 41 50 44 0a``
8      2    format version, 1
10     2    size of this header, 276
12     1    patch format: 0, detools sequential
13     1    compression: 1, LZMA (detools' number)
14     2    zero
16     80   base: digest type, digest, version, bytes that it covers
96     80   target: digest type, digest, version, size of the file
176    32   SHA-256 of the target's file, signature and all
208    4    size of the patch in bytes
212    32   SHA-256 of the patch
244    32   SHA-256 of the 244 bytes before
276    n    the patch
====== ==== ===========================================================

Base and target are written alike: MCUboot's TLV type of the digest (1 byte, then 3 zeros), the digest (64 bytes, filled up with
zeros), major, minor (1 byte each), revision (2), build (4), size (4).
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot_format import TlvType

MAGIC: Final = b"\x91NRFAPD\n"
FORMAT_VERSION: Final = 1
MAX_IMAGE_BYTES: Final = 1024 * 1024
"""Flash of every nRF91 (nRF9160, nRF9161, nRF9151 product specifications): no application is larger."""
MAX_PATCH_BYTES: Final = 2 * MAX_IMAGE_BYTES
"""A patch between images that have nothing in common is little larger than the target; anything beyond this is none."""

_START: Final = struct.Struct("<8sHHBBH")
_END: Final = struct.Struct("<B3x64sBBHII")
_REST: Final = struct.Struct("<32sI32s")
_CHECKED_BYTES: Final = _START.size + 2 * _END.size + _REST.size
HEADER_BYTES: Final = _CHECKED_BYTES + 32
_SEQUENTIAL: Final = 0
_LZMA: Final = 1
_DIGESTS: Final = {"sha256": TlvType.SHA256, "sha384": TlvType.SHA384, "sha512": TlvType.SHA512}
_ALGORITHMS: Final = {int(kind): name for name, kind in _DIGESTS.items()}


@dataclass(frozen=True)
class DeltaEnd:
    """The image that a delta starts from, or the one that it leads to.

    Attributes:
        digest_algorithm: ``sha256``, ``sha384`` or ``sha512``.
        digest: The image digest that MCUboot knows, in hex.
        version: ``major.minor.revision``, with ``+build`` if there is one.
        size_bytes: Of the base, the bytes that the digest covers; of the target, the whole file.
    """

    digest_algorithm: str
    digest: str
    version: str
    size_bytes: int


@dataclass(frozen=True)
class AppDeltaInfo:
    """What the header of an application delta says.

    Attributes:
        base: The image that is needed to rebuild the target.
        target: The signed image that comes out.
        target_sha256: SHA-256 of the target's file, in hex.
        patch_size_bytes: Size of the patch behind the header.
        patch_sha256: SHA-256 of the patch, in hex.
        compression: How the patch is compressed.
    """

    base: DeltaEnd
    target: DeltaEnd
    target_sha256: str
    patch_size_bytes: int
    patch_sha256: str
    compression: str = "lzma"


def encode_header(info: AppDeltaInfo) -> bytes:
    """Make the header of an application delta.

    Raises:
        ValueError: A value does not fit its field.
    """
    try:
        checked = (
            _START.pack(MAGIC, FORMAT_VERSION, HEADER_BYTES, _SEQUENTIAL, _LZMA, 0)
            + _encode_end(info.base)
            + _encode_end(info.target)
            + _REST.pack(
                bytes.fromhex(info.target_sha256), info.patch_size_bytes, bytes.fromhex(info.patch_sha256)
            )
        )
    except (struct.error, KeyError) as error:
        raise ValueError(f"no header can be made of {info}") from error
    return checked + hashlib.sha256(checked).digest()


def parse_header(data: bytes) -> AppDeltaInfo:
    """Read the header of an application delta.

    Args:
        data: At least the first ``HEADER_BYTES`` bytes.

    Raises:
        ImageRefusedError: ``truncated``, ``not-an-image``, ``unsupported-format`` (made by a later version of this program),
            ``digest-mismatch`` (the header was damaged), ``bad-header`` or ``too-large``.
    """
    data = data[:HEADER_BYTES]
    if not data.startswith(MAGIC[: len(data)]):
        raise ImageRefusedError("no application delta: wrong magic number", reason="not-an-image", offset=0)
    if len(data) < HEADER_BYTES:
        raise truncated(len(data), HEADER_BYTES)
    _magic, version, header_bytes, patch_format, compression, _zero = _START.unpack_from(data)
    if (version, header_bytes, patch_format, compression) != (
        FORMAT_VERSION,
        HEADER_BYTES,
        _SEQUENTIAL,
        _LZMA,
    ):
        raise ImageRefusedError(
            f"application delta has format {version}.{patch_format}.{compression}, which this version cannot read",
            reason="unsupported-format",
            offset=len(MAGIC),
            hint="Is the file damaged, or made by a later nrf91-bridge? Update this one, or make the delta again.",
        )
    if hashlib.sha256(data[:_CHECKED_BYTES]).digest() != data[_CHECKED_BYTES:]:
        raise ImageRefusedError(
            "application delta is corrupt: its header does not have the digest that it names",
            reason="digest-mismatch",
            offset=0,
            hint="Download or make it again.",
        )
    return _checked(_decode(data), data)


def truncated(size_bytes: int, wanted_bytes: int) -> ImageRefusedError:
    """The refusal for an application delta that ends too early."""
    return ImageRefusedError(
        f"application delta is truncated: it has {size_bytes} of {wanted_bytes} bytes",
        reason="truncated",
        offset=size_bytes,
        hint="Download or make it again.",
    )


def _encode_end(end: DeltaEnd) -> bytes:
    kind = _DIGESTS[end.digest_algorithm]
    triple, _, build = end.version.partition("+")
    major, minor, revision = (int(number) for number in triple.split("."))
    digest = bytes.fromhex(end.digest)
    return _END.pack(kind, digest, major, minor, revision, int(build or 0), end.size_bytes)


def _decode_end(data: bytes, offset: int) -> DeltaEnd:
    kind, digest, major, minor, revision, build, size_bytes = _END.unpack_from(data, offset)
    algorithm = _ALGORITHMS.get(kind)
    if algorithm is None:
        raise _bad_header(f"{kind:#04x} is no digest type")
    digest = digest[: hashlib.new(algorithm).digest_size]
    version = f"{major}.{minor}.{revision}" + (f"+{build}" if build else "")
    return DeltaEnd(algorithm, digest.hex(), version, size_bytes)


def _decode(data: bytes) -> AppDeltaInfo:
    base, target = _decode_end(data, _START.size), _decode_end(data, _START.size + _END.size)
    target_sha256, patch_size_bytes, patch_sha256 = _REST.unpack_from(data, _START.size + 2 * _END.size)
    return AppDeltaInfo(base, target, target_sha256.hex(), patch_size_bytes, patch_sha256.hex())


def _checked(info: AppDeltaInfo, data: bytes) -> AppDeltaInfo:
    """Hold the values against their limits, and the unused bytes against zero."""
    if encode_header(info) != data:
        raise _bad_header("bytes that are not used are not zero")
    if info.base.digest == info.target.digest:
        raise _bad_header("base and target are the same image")
    if not (info.base.size_bytes and info.target.size_bytes and info.patch_size_bytes):
        raise _bad_header("a size is zero")
    largest = max(info.base.size_bytes, info.target.size_bytes)
    if largest > MAX_IMAGE_BYTES or info.patch_size_bytes > MAX_PATCH_BYTES:
        raise ImageRefusedError(
            f"application delta names an image of {largest} and a patch of {info.patch_size_bytes} bytes, more than any nRF91"
            " has flash for",
            reason="too-large",
        )
    return info


def _bad_header(why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"application delta has an impossible header: {why}", reason="bad-header", offset=0
    )
