"""Full modem firmware as one file: a signed CBOR wrapper, then the segments' bytes back to back.

Source: NCS ``subsys/dfu/fmfu_fdev/cddl/modem_update.cddl`` and ``src/fmfu_fdev.c``: COSE_Sign1 (tag 18) over
``[version, compat, blob_hash, segments]``; ``blob_hash`` is the SHA-256 of all that follows the wrapper;
the first segment is the modem's bootloader. The signature is Nordic's, and only the modem can check it.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

import cbor2

from bridge.errors import ImageRefusedError
from bridge.image.cbor_item import CborFormatError, item_size
from bridge.image.package_info import DigestRange

MAGIC: Final = b"\xd2\x84"
"""CBOR tag 18 and an array of four: COSE_Sign1."""

MAX_WRAPPER_BYTES: Final = 1024
"""More than this the on-device loader of NCS does not take."""

_COSE_SIGN1: Final = 18


@dataclass(frozen=True)
class ModemSegment:
    """A piece of modem firmware.

    Attributes:
        address: Where it belongs in the modem's memory.
        size_bytes: Its size.
        offset: Where it starts in the file.
    """

    address: int
    size_bytes: int
    offset: int


@dataclass(frozen=True)
class ModemFullInfo:
    """What the wrapper of a full modem image says.

    Attributes:
        format_version: Version of the manifest.
        compat: Compatibility number of the manifest.
        wrapper_size_bytes: Size of the CBOR wrapper; the segments start there.
        blob_sha256: SHA-256 of all segments, in hex; it was checked.
        segments: In the order in which they are written; the first is the modem's bootloader.
        ranges: What the modem's flash must hold in the end, where the release that the image came from tells; the
            segments themselves are encrypted.
    """

    format_version: int
    compat: int
    wrapper_size_bytes: int
    blob_sha256: str
    segments: tuple[ModemSegment, ...]
    ranges: tuple[DigestRange, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return self.wrapper_size_bytes + sum(segment.size_bytes for segment in self.segments)


class ModemFullReader:
    """Reads a full modem image in pieces; keeps the wrapper only."""

    def __init__(self) -> None:
        self._wrapper = b""
        self._info: ModemFullInfo | None = None
        self._blob_hash = hashlib.sha256()
        self._blob_size_bytes = 0

    @property
    def info(self) -> ModemFullInfo | None:
        """What the wrapper says, once all of it was read; the segments' digest is only known at the end."""
        return self._info

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ImageRefusedError: The wrapper is not that of a full modem image, or more bytes come than it says.
        """
        if self._info is None:
            self._wrapper += data
            size = _wrapper_size(self._wrapper)
            if size is None:
                return
            self._wrapper, data = self._wrapper[:size], self._wrapper[size:]
            self._info = _parse_wrapper(self._wrapper)
        self._blob_hash.update(data)
        self._blob_size_bytes += len(data)

    def finish(self) -> ModemFullInfo:
        """Judge the whole.

        Raises:
            ImageRefusedError: Truncated, too long, or not the bytes that the manifest was signed for.
        """
        info = self._info
        size = len(self._wrapper) + self._blob_size_bytes
        if info is None:
            raise ImageRefusedError(
                f"full modem image is truncated: its CBOR wrapper does not end within {size} bytes",
                reason="truncated",
                offset=size,
            )
        if size != info.size_bytes:
            short = size < info.size_bytes
            raise ImageRefusedError(
                f"full modem image is {'truncated' if short else 'too long'}: it has {size} bytes, its"
                f" manifest says {info.size_bytes}",
                reason="truncated" if short else "trailing-bytes",
                offset=min(size, info.size_bytes),
            )
        if self._blob_hash.hexdigest() != info.blob_sha256:
            raise ImageRefusedError(
                f"full modem image is corrupt: its segments have SHA-256 {self._blob_hash.hexdigest()}, its"
                f" manifest says {info.blob_sha256}",
                reason="digest-mismatch",
                hint="Download it again.",
            )
        return info


def _wrapper_size(data: bytes) -> int | None:
    try:
        size = item_size(data[:MAX_WRAPPER_BYTES])
    except CborFormatError as error:
        raise _malformed(str(error)) from error
    if size is None and len(data) > MAX_WRAPPER_BYTES:
        raise _malformed(f"its wrapper does not end within {MAX_WRAPPER_BYTES} bytes")
    return size


def _parse_wrapper(wrapper: bytes) -> ModemFullInfo:
    envelope = _decode(wrapper)
    if not isinstance(envelope, cbor2.CBORTag) or envelope.tag != _COSE_SIGN1:
        raise _malformed("its wrapper is no COSE_Sign1")
    match envelope.value:
        case [bytes(), _, bytes(payload), bytes()]:
            pass
        case _:
            raise _malformed("its COSE_Sign1 has not the four parts of one")
    match _decode(payload):
        case [int(version), int(compat), bytes(blob_hash), bytes(segments)] if len(blob_hash) == 32:
            return ModemFullInfo(
                version,
                compat,
                len(wrapper),
                blob_hash.hex(),
                _parse_segments(_decode(segments), len(wrapper)),
            )
    raise _malformed("its manifest is not [version, compat, hash, segments]")


def _parse_segments(numbers: object, offset: int) -> tuple[ModemSegment, ...]:
    if not isinstance(numbers, list | tuple) or not numbers or len(numbers) % 2:
        raise _malformed("its segment list is no list of addresses and sizes")
    segments = []
    for address, size in zip(numbers[::2], numbers[1::2], strict=True):
        if (
            type(address) is not int
            or type(size) is not int
            or not 0 <= address < 1 << 32
            or not 0 < size < 1 << 32
        ):
            raise _malformed("its segment list is no list of addresses and sizes")
        segments.append(ModemSegment(address, size, offset))
        offset += size
    return tuple(segments)


def _decode(data: bytes) -> object:
    try:
        size = item_size(data)
    except CborFormatError as error:
        raise _malformed(str(error)) from error
    if size != len(data):
        raise _malformed("a CBOR item in it is cut off or followed by more")
    try:
        return cbor2.loads(data)
    except Exception as error:
        raise _malformed(f"{type(error).__name__} while decoding CBOR") from error


def _malformed(why: str) -> ImageRefusedError:
    return ImageRefusedError(f"full modem image (CBOR) cannot be read: {why}", reason="bad-cbor", offset=0)
