"""Application deltas: a header with right digests around a fuzzed patch, rebuilt from a small base."""

import contextlib
import hashlib
import lzma
from collections.abc import Callable
from functools import cache

from bridge.errors import ImageRefusedError
from bridge.image.app_delta import HEADER_BYTES, AppDeltaInfo, DeltaEnd, encode_header, parse_header
from bridge.image.app_delta_rebuild import PIECE_BYTES, rebuild
from bridge.image.inspector import inspect_bytes
from hil_tests.fuzz.choices import Choices
from hil_tests.fuzz.target import Target

_BASE = bytes(range(256)) * 8
_BASE_END = DeltaEnd("sha256", hashlib.sha256(_BASE).hexdigest(), "1.0.0", len(_BASE))


def fuzz_delta(data: bytes) -> None:
    """Nothing larger than the header says comes out, and nothing without the digest that it says."""
    choices = Choices(data)
    if choices.flag():
        _raw(choices.rest())
        return
    size, packed = choices.number(2) or 1, choices.flag()
    patch = choices.rest()
    if packed:
        patch = _plain_head(size) + _compress(patch)
    target = DeltaEnd("sha256", hashlib.sha256(b"target").hexdigest(), "1.0.1+7", size)
    digest = hashlib.sha256(patch).hexdigest()
    info = AppDeltaInfo(_BASE_END, target, hashlib.sha256(_BASE[:size]).hexdigest(), len(patch), digest)
    with contextlib.suppress(ImageRefusedError):
        inspect_bytes(encode_header(info) + patch, "x.delta")
    _rebuild(info, patch)


def _raw(content: bytes) -> None:
    try:
        inspect_bytes(content, "x.delta")
        _rebuild(parse_header(content[:HEADER_BYTES]), content[HEADER_BYTES:])
    except ImageRefusedError:
        return


def _rebuild(info: AppDeltaInfo, patch: bytes) -> None:
    try:
        content = encode_header(info) + patch
    except ValueError:
        return
    made = b""
    try:
        for piece in rebuild(info, _reader(content), _reader(_BASE)):
            assert 0 < len(piece) <= PIECE_BYTES
            made += piece
            assert len(made) <= info.target.size_bytes
    except ImageRefusedError:
        return
    assert hashlib.sha256(made).hexdigest() == info.target_sha256


def _reader(content: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: content[offset : offset + size]


@cache
def _compress(plain: bytes) -> bytes:
    return lzma.compress(plain, format=lzma.FORMAT_ALONE, preset=0)


def _plain_head(size: int) -> bytes:
    return b"\x01" + _number(size)


def _number(value: int) -> bytes:
    first, rest = value & 0x3F, value >> 6
    out = [first | (0x80 if rest else 0)]
    while rest:
        low, rest = rest & 0x7F, rest >> 7
        out.append(low | (0x80 if rest else 0))
    return bytes(out)


def seeds() -> list[bytes]:
    """A copy of the base, and a patch that is only extra bytes."""
    copy = b"\0" + _number(100) + bytes(100) + b"\0\0"
    extra = b"\0\0" + _number(10) + b"0123456789" + b"\0"
    packed = [bytes([0]) + (100).to_bytes(2, "little") + b"\1" + copy, bytes([0, 10, 0, 1]) + extra]
    info = AppDeltaInfo(_BASE_END, DeltaEnd("sha256", "00" * 32, "1.0.1", 9), "00" * 32, 3, "00" * 32)
    bomb = _plain_head(65535) + lzma.compress(bytes(1_000_000), format=lzma.FORMAT_ALONE)
    return [*packed, b"\1" + encode_header(info) + b"abc", bytes([0, 255, 255, 0]) + bomb]


TARGETS = (Target("app-delta", fuzz_delta, seeds, __name__),)
