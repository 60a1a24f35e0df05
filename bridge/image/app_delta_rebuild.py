"""Rebuild the target of an application delta, piece by piece, from its base and a patch that may still be arriving.

Source: detools (``docs/index.rst`` for the layout of a sequential patch, ``detools/apply.py`` for its details): patch type and
compression, target size, then compressed: an unused size, and triples of a difference to be added to the base, extra bytes, and
a step in the base. It is written out here, rather than left to detools, because a patch comes from outside: nothing in it may
cost more memory or time than the target's size in the header allows. So it also works where detools is not installed.
"""

import hashlib
import lzma
from collections.abc import Callable, Iterator
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.app_delta import HEADER_BYTES, AppDeltaInfo, parse_header, truncated
from bridge.image.app_delta_reader import check_patch, trailing

ReadAt = Callable[[int, int], bytes]
"""Reads so many bytes at an offset; fewer only at the end."""

PIECE_BYTES: Final = 4096
"""No piece is larger."""
_INPUT_BYTES: Final = 1024
"""What is waited for at a time: little, because a small patch holds much of the image."""
_HASH_BYTES: Final = 64 * 1024
_SEQUENTIAL_LZMA: Final = b"\x01"
_MEMORY_LIMIT_BYTES: Final = 32 * 1024 * 1024
"""For the decompressor; detools' patches ask for a dictionary of 8 MiB, ours for 1 MiB."""
_MAX_NUMBER_BYTES: Final = 6
_SPARE_STEPS: Final = 64


def rebuild(info: AppDeltaInfo, read_patch: ReadAt, read_base: ReadAt) -> Iterator[bytes]:
    """Rebuild the target.

    Args:
        info: The delta's header; the file must still have it.
        read_patch: Reads the delta's file, header included.
        read_base: Reads the base image.

    Yields:
        The target in pieces of up to ``PIECE_BYTES``. The last one comes only after patch and target were found to have
        the digests in the header, so that a wrong image is never complete.

    Raises:
        ImageRefusedError: ``wrong-base``, ``patch-changed``, ``truncated``, ``trailing-bytes``, ``corrupt-patch``,
            ``digest-mismatch`` (the patch is not the one that was made) or ``target-mismatch``.
        BridgeError: What the readers raise.
    """
    _check_base(info, read_base)
    if parse_header(read_patch(0, HEADER_BYTES)) != info:
        raise ImageRefusedError(
            "the application delta was replaced by another one while it was read",
            reason="patch-changed",
            hint="Start again; publish each delta under its own name.",
        )
    patch = _PatchBytes(info, read_patch)
    target = hashlib.sha256()
    held = b""
    for piece in _pieces(info, patch, read_base):
        if held:
            yield held
        target.update(piece)
        held = piece
    patch.finish()
    if target.hexdigest() != info.target_sha256:
        raise ImageRefusedError(
            f"the rebuilt image has SHA-256 {target.hexdigest()}, the application delta promises {info.target_sha256}",
            reason="target-mismatch",
            hint="Make the delta again; it does not lead to the image that its header names.",
        )
    yield held


def _check_base(info: AppDeltaInfo, read_base: ReadAt) -> None:
    digest = hashlib.new(info.base.digest_algorithm)
    for offset in range(0, info.base.size_bytes, _HASH_BYTES):
        digest.update(read_base(offset, min(_HASH_BYTES, info.base.size_bytes - offset)))
    if digest.hexdigest() != info.base.digest:
        raise wrong_base(info, digest.hexdigest(), "the base image that was given")


def wrong_base(info: AppDeltaInfo, digest: str, whose: str) -> ImageRefusedError:
    """The refusal of a base other than the delta's."""
    return ImageRefusedError(
        f"the application delta starts from {info.base.version} with digest {info.base.digest}, but {whose} has"
        f" digest {digest}",
        reason="wrong-base",
        hint=f"Take the delta that starts from {digest}, or the whole image.",
    )


def _pieces(info: AppDeltaInfo, patch: "_PatchBytes", read_base: ReadAt) -> Iterator[bytes]:
    """Follow the patch until the target has its size, which no piece exceeds."""
    if patch.take_plain(1) != _SEQUENTIAL_LZMA or _number(patch.take_plain) != info.target.size_bytes:
        raise _corrupt("it does not begin as its header says")
    if _number(patch.take) != 0:
        raise _corrupt("it uses a data format, which is not supported")
    made_bytes = base_at = steps = 0
    while made_bytes < info.target.size_bytes:
        steps += 1
        if steps > made_bytes + _SPARE_STEPS:
            raise _corrupt("it has more steps than its target has bytes")
        for adds_to_base in (True, False):
            size = _number(patch.take)
            if not 0 <= size <= info.target.size_bytes - made_bytes:
                raise _corrupt("it goes beyond its target")
            if adds_to_base and size and not 0 <= base_at <= info.base.size_bytes - size:
                raise _corrupt("it goes beyond its base")
            for start in range(0, size, PIECE_BYTES):
                piece = patch.take(min(PIECE_BYTES, size - start))
                if adds_to_base:
                    piece = _add(piece, read_base(base_at, len(piece)))
                    base_at += len(piece)
                yield piece
            made_bytes += size
        base_at += _number(patch.take)


class _PatchBytes:
    """The patch as it arrives, decompressed no further than it is asked for."""

    def __init__(self, info: AppDeltaInfo, read: ReadAt) -> None:
        self._info = info
        self._read = read
        self._read_bytes = 0
        self._sha256 = hashlib.sha256()
        self._plain = b""
        self._unpacked = b""
        self._position = 0
        self._lzma = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_MEMORY_LIMIT_BYTES)

    def take_plain(self, size: int) -> bytes:
        """The next bytes in front of those that are compressed."""
        while len(self._plain) < size:
            self._plain += self._more()
        taken, self._plain = self._plain[:size], self._plain[size:]
        return taken

    def take(self, size: int) -> bytes:
        """The next bytes, decompressed."""
        while len(self._unpacked) - self._position < size:
            self._unpacked = self._unpacked[self._position :] + self._unpack(PIECE_BYTES)
            self._position = 0
        self._position += size
        return self._unpacked[self._position - size : self._position]

    def finish(self) -> None:
        """Make sure that this was all, and that it is the patch that the header means."""
        surplus = self._position < len(self._unpacked)
        while not surplus and not self._lzma.eof:
            surplus = bool(self._unpack(1))
        while self._read_bytes < self._info.patch_size_bytes:
            self._more()
            surplus = True
        check_patch(self._info, self._sha256.hexdigest())
        if surplus or self._lzma.unused_data:
            raise _corrupt("it goes on after its target is complete")
        end = HEADER_BYTES + self._info.patch_size_bytes
        if self._read(end, 1):
            raise trailing(end)

    def _unpack(self, limit: int) -> bytes:
        if self._lzma.eof:
            raise _corrupt("it ends before its target is complete")
        try:
            if not self._lzma.needs_input:
                return self._lzma.decompress(b"", limit)
            packed, self._plain = self._plain or self._more(), b""
            return self._lzma.decompress(packed, limit)
        except lzma.LZMAError as error:
            raise _corrupt(f"it cannot be decompressed ({error})") from error

    def _more(self) -> bytes:
        """Wait for the next bytes; a damaged patch may well ask for more than there are."""
        size = min(_INPUT_BYTES, self._info.patch_size_bytes - self._read_bytes)
        if not size:
            check_patch(self._info, self._sha256.hexdigest())
            raise _corrupt("it ends before its target is complete")
        data = self._read(HEADER_BYTES + self._read_bytes, size)
        self._read_bytes += len(data)
        self._sha256.update(data)
        if len(data) < size:
            raise truncated(HEADER_BYTES + self._read_bytes, HEADER_BYTES + self._info.patch_size_bytes)
        return data


def _number(take: Callable[[int], bytes]) -> int:
    """A number of variable length: six bits and a sign, then seven bits each, the lowest first."""
    byte = take(1)[0]
    value, negative, shift = byte & 0x3F, byte & 0x40, 6
    for _ in range(_MAX_NUMBER_BYTES):
        if not byte & 0x80:
            return -value if negative else value
        byte = take(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
    raise _corrupt("a number in it has no end")


def _add(difference: bytes, base: bytes) -> bytes:
    """Add byte by byte, modulo 256: on whole pieces as large numbers, since most differences are zero or few."""
    size = len(difference)
    if len(base) < size:
        raise ImageRefusedError("the base image became shorter while it was read", reason="wrong-base")
    if not difference.strip(b"\0"):
        return base
    low = int.from_bytes(b"\x7f" * size)
    left, right = int.from_bytes(difference), int.from_bytes(base)
    # The sums of the lower seven bits cannot carry into the next byte; the top bits are added without carry.
    return (((left & low) + (right & low)) ^ ((left ^ right) & ~low)).to_bytes(size)


def _corrupt(why: str) -> ImageRefusedError:
    return ImageRefusedError(
        f"the application delta cannot be used: {why}",
        reason="corrupt-patch",
        hint="Download or make it again.",
    )
