"""Application deltas: made, described, rebuilt; and whatever is wrong with one never becomes an image."""

import contextlib
import hashlib
import io
import lzma
import struct
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import detools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError, UsageError
from bridge.image import (
    AppDeltaInfo,
    BytesSource,
    DeltaEnd,
    ImageHead,
    ImageInspector,
    ImageKind,
    inspect_bytes,
)
from bridge.image.app_delta import HEADER_BYTES, MAX_IMAGE_BYTES, encode_header, parse_header
from bridge.image.app_delta_create import create_app_delta
from bridge.image.app_delta_rebuild import rebuild
from bridge.image.application_file import ApplicationFile, read_application
from bridge.image.mcuboot import parse_image
from bridge.lab.sample_images import SampleImages
from hil_tests.unit.image.build import DELTA, dfu_package, hashed_size, mcuboot, tlv

OLD_PAYLOAD = hashlib.shake_256(b"old").digest(20_000)
NEW_PAYLOAD = OLD_PAYLOAD[:7000] + b"a change" + OLD_PAYLOAD[7000:15_000] + b"x" * 4 + OLD_PAYLOAD[15_004:]
SIGNATURE = tlv(0x22, bytes(range(70)))
OLD = mcuboot(OLD_PAYLOAD, version=(1, 0, 0, 0), extra=(SIGNATURE,))
NEW = mcuboot(NEW_PAYLOAD, version=(1, 1, 0, 7), extra=(SIGNATURE,))


def application(data: bytes, name: str = "app.bin") -> ApplicationFile:
    return ApplicationFile(name, data, parse_image(data))


DELTA_FILE = create_app_delta(application(OLD), application(NEW))
INFO = parse_header(DELTA_FILE)


def rebuilt(delta: bytes, base: bytes, info: AppDeltaInfo | None = None) -> bytes:
    pieces = rebuild(info or parse_header(delta), BytesSource(delta).read, BytesSource(base).read)
    return b"".join(pieces)


def with_patch(patch: bytes, **changes: object) -> bytes:
    """A delta whose header agrees with a patch that nobody checked, as an attacker would make it."""
    sha256 = hashlib.sha256(patch).hexdigest()
    info = replace(INFO, patch_size_bytes=len(patch), patch_sha256=sha256, **changes)  # type: ignore[arg-type]
    return encode_header(info) + patch


def number(value: int) -> bytes:
    """A number as detools writes it."""
    sign, value = (0x40, -value) if value < 0 else (0, value)
    out = [sign | (value & 0x3F)]
    value >>= 6
    while value:
        out[-1] |= 0x80
        out.append(value & 0x7F)
        value >>= 7
    return bytes(out)


def patch_of(content: bytes, **options: object) -> bytes:
    """A sequential patch with this content, compressed."""
    return b"\x01" + number(len(NEW)) + lzma.compress(content, lzma.FORMAT_ALONE, **options)  # type: ignore[arg-type]


# What a delta is.


def test_given_two_applications_then_the_delta_is_small_and_says_from_which_to_which() -> None:
    image = inspect_bytes(DELTA_FILE, "https://host/app.delta?token=secret")
    assert (image.kind, image.name, image.base_version, image.version) == (
        ImageKind.APP_DELTA,
        "app.delta",
        "1.0.0",
        "1.1.0+7",
    )
    assert image.size_bytes == len(DELTA_FILE) < 600
    assert image.app_delta == INFO
    assert INFO.base == DeltaEnd("sha256", parse_image(OLD).digest, "1.0.0", hashed_size(OLD))
    assert INFO.target == DeltaEnd("sha256", parse_image(NEW).digest, "1.1.0+7", len(NEW))
    assert INFO.target_sha256 == hashlib.sha256(NEW).hexdigest()


def test_given_a_delta_then_its_bytes_are_those_of_the_documented_layout() -> None:
    patch = DELTA_FILE[276:]
    checked = (
        struct.pack("<8sHHBBH", b"\x91NRFAPD\n", 1, 276, 0, 1, 0)
        + struct.pack("<B3x", 0x10)
        + hashlib.sha256(OLD[: hashed_size(OLD)]).digest().ljust(64, b"\0")
        + struct.pack("<BBHII", 1, 0, 0, 0, hashed_size(OLD))
        + struct.pack("<B3x", 0x10)
        + hashlib.sha256(NEW[: hashed_size(NEW)]).digest().ljust(64, b"\0")
        + struct.pack("<BBHII", 1, 1, 0, 7, len(NEW))
        + hashlib.sha256(NEW).digest()
        + struct.pack("<I", len(patch))
        + hashlib.sha256(patch).digest()
    )
    assert DELTA_FILE[:276] == checked + hashlib.sha256(checked).digest()


def test_given_the_first_bytes_then_the_head_names_both_images_before_the_patch_is_there() -> None:
    inspector = ImageInspector("app.delta")
    heads = []
    for part in (DELTA_FILE[: HEADER_BYTES - 1], DELTA_FILE[HEADER_BYTES - 1 : HEADER_BYTES]):
        inspector.feed(part)
        heads.append(inspector.head)
    assert heads == [None, ImageHead(ImageKind.APP_DELTA, "app.delta", "1.1.0+7", "1.0.0", app_delta=INFO)]


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_given_any_of_mcuboots_digests_then_the_delta_names_the_images_by_it(algorithm: str) -> None:
    old, new = (mcuboot(payload, digest=algorithm) for payload in (OLD_PAYLOAD, NEW_PAYLOAD))
    delta = create_app_delta(application(old), application(new))
    info = parse_header(delta)
    assert (info.base.digest_algorithm, info.base.digest) == (algorithm, parse_image(old).digest)
    assert info.target.digest == parse_image(new).digest
    assert rebuilt(delta, old) == new


# Rebuilding.

EDITS = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 200), st.binary(max_size=200)), max_size=8)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in edits:
        at = position % (len(data) + 1)
        data = data[:at] + inserted + data[at + removed :]
    return data


@given(old=st.binary(min_size=1, max_size=3000), edits=EDITS, repeat=st.integers(1, 5))
def test_given_any_two_images_then_the_rebuilt_one_is_exact_and_detools_agrees(
    old: bytes, edits: list[tuple[int, int, bytes]], repeat: int
) -> None:
    base = mcuboot(old * repeat, version=(1, 0, 0, 0))
    target = mcuboot(edited(old * repeat, edits) + b"!", version=(2, 0, 0, 0), extra=(SIGNATURE,))
    delta = create_app_delta(application(base), application(target))
    assert rebuilt(delta, base) == target
    by_detools = io.BytesIO()
    detools.apply_patch(io.BytesIO(base[: hashed_size(base)]), io.BytesIO(delta[HEADER_BYTES:]), by_detools)
    assert by_detools.getvalue() == target


@given(old=st.binary(min_size=1, max_size=2000), edits=EDITS)
def test_given_a_patch_as_detools_compresses_it_then_it_is_rebuilt_too(
    old: bytes, edits: list[tuple[int, int, bytes]]
) -> None:
    base, target = mcuboot(old), mcuboot(edited(old, edits) + b"!", version=(9, 9, 9, 9))
    patch = io.BytesIO()
    detools.create_patch(io.BytesIO(base[: hashed_size(base)]), io.BytesIO(target), patch, use_mmap=False)
    ends = create_app_delta(application(base), application(target))
    info = replace(
        parse_header(ends),
        patch_size_bytes=len(patch.getvalue()),
        patch_sha256=hashlib.sha256(patch.getvalue()).hexdigest(),
    )
    assert rebuilt(encode_header(info) + patch.getvalue(), base) == target


def test_given_a_base_that_was_signed_or_padded_otherwise_then_it_serves_as_well() -> None:
    resigned = mcuboot(OLD_PAYLOAD, version=(1, 0, 0, 0), extra=(tlv(0x22, b"another signature"),))
    assert resigned != OLD
    assert rebuilt(DELTA_FILE, resigned) == NEW
    assert rebuilt(DELTA_FILE, OLD + b"\xff" * 4096) == NEW


def test_given_another_base_then_it_is_refused_before_the_first_byte() -> None:
    other = mcuboot(OLD_PAYLOAD, version=(1, 0, 1, 0))
    pieces = rebuild(INFO, BytesSource(DELTA_FILE).read, BytesSource(other).read)
    with pytest.raises(ImageRefusedError) as refused:
        next(pieces)
    assert refused.value.reason == "wrong-base"
    assert INFO.base.digest in refused.value.message
    assert parse_image(other).digest in refused.value.message
    with pytest.raises(ImageRefusedError) as short:
        rebuilt(DELTA_FILE, OLD[:5000])
    assert short.value.reason == "wrong-base"


def test_given_no_detools_then_deltas_are_rebuilt_but_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "detools", None)
    assert rebuilt(DELTA_FILE, OLD) == NEW
    with pytest.raises(UsageError, match="detools") as missing:
        create_app_delta(application(OLD), application(NEW))
    assert missing.value.reason == "missing-extra"
    assert "pip install 'nrf91-bridge[delta]'" in (missing.value.hint or "")


# What is wrong with a delta.


@given(st.binary(max_size=HEADER_BYTES + 40), st.integers(0, HEADER_BYTES))
def test_given_any_bytes_for_a_header_then_it_is_read_or_refused_and_nothing_else(
    data: bytes, start: int
) -> None:
    for header in (data, DELTA_FILE[:start] + data):
        with contextlib.suppress(ImageRefusedError):
            parse_header(header)
        with contextlib.suppress(ImageRefusedError):
            inspect_bytes(header)


@given(st.binary(min_size=228, max_size=228))
def test_given_any_values_under_a_right_checksum_then_they_are_read_or_refused(values: bytes) -> None:
    checked = DELTA_FILE[:16] + values
    data = checked + hashlib.sha256(checked).digest()
    with contextlib.suppress(ImageRefusedError):
        assert encode_header(parse_header(data)) == data


@given(position=st.integers(0, len(DELTA_FILE) - 1), bit=st.integers(0, 7))
def test_given_a_flipped_bit_then_it_is_refused_on_inspection_and_never_gives_an_image(
    position: int, bit: int
) -> None:
    damaged = bytearray(DELTA_FILE)
    damaged[position] ^= 1 << bit
    with pytest.raises(ImageRefusedError):
        inspect_bytes(bytes(damaged))
    with pytest.raises(ImageRefusedError):
        rebuilt(bytes(damaged), OLD, INFO)


@given(size=st.integers(0, len(DELTA_FILE) - 1))
def test_given_a_truncated_delta_then_it_is_refused(size: int) -> None:
    for check in (lambda: inspect_bytes(DELTA_FILE[:size]), lambda: rebuilt(DELTA_FILE[:size], OLD, INFO)):
        with pytest.raises(ImageRefusedError) as refused:
            check()
        assert refused.value.reason in {"truncated", "empty", "not-an-image"}


def test_given_bytes_after_the_delta_then_it_is_refused() -> None:
    for check in (lambda: inspect_bytes(DELTA_FILE + b"\0"), lambda: rebuilt(DELTA_FILE + b"\0", OLD)):
        with pytest.raises(ImageRefusedError) as refused:
            check()
        assert refused.value.reason == "trailing-bytes"


@given(data=st.data())
def test_given_a_damaged_patch_under_right_digests_then_it_gives_the_target_or_nothing(
    data: st.DataObject,
) -> None:
    patch = bytearray(DELTA_FILE[HEADER_BYTES:])
    for _ in range(data.draw(st.integers(1, 3))):
        patch[data.draw(st.integers(0, len(patch) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ImageRefusedError):
        assert rebuilt(with_patch(bytes(patch)), OLD) == NEW


PLAIN = lzma.decompress(DELTA_FILE[HEADER_BYTES + 1 + len(number(len(NEW))) :])


@given(data=st.data())
def test_given_a_damaged_patch_that_decompresses_then_it_gives_the_target_or_nothing(
    data: st.DataObject,
) -> None:
    plain = bytearray(PLAIN)
    at = data.draw(st.one_of(st.integers(0, 8), st.integers(0, len(plain) - 1)))
    plain[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=6))
    with contextlib.suppress(ImageRefusedError):
        assert rebuilt(with_patch(patch_of(bytes(plain))), OLD) == NEW


def test_given_another_target_than_the_header_names_then_it_is_never_complete() -> None:
    other = "00" * 32
    delta = with_patch(DELTA_FILE[HEADER_BYTES:], target_sha256=other)
    pieces = rebuild(parse_header(delta), BytesSource(delta).read, BytesSource(OLD).read)
    made = b""
    with pytest.raises(ImageRefusedError) as refused:
        for piece in pieces:
            made += piece
    assert refused.value.reason == "target-mismatch"
    assert len(made) < len(NEW)


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        (b"\x00" + DELTA_FILE[HEADER_BYTES + 1 :], "does not begin"),
        (b"\x01" + number(len(NEW) + 1) + b"x", "does not begin"),
        (b"\x01\x80" + b"\x80" * 100, "number in it has no end"),
        (patch_of(number(5) + PLAIN[1:]), "data format"),
        (patch_of(number(0) + number(len(NEW) + 1)), "beyond its target"),
        (patch_of(number(0) + number(-1)), "beyond its target"),
        (patch_of(number(0) + number(0) + number(0) + number(-1) + number(1)), "beyond its base"),
        (patch_of(number(0) + number(0) + number(0) + number(1 << 25) + number(1)), "beyond its base"),
        (patch_of(PLAIN + b"more"), "goes on after"),
        (patch_of(PLAIN) + b"more", "goes on after"),
        (patch_of(PLAIN[:-10]), "ends before"),
        (patch_of(PLAIN)[:-1], "ends before"),
    ],
)
def test_given_a_patch_that_makes_no_sense_then_the_refusal_says_why(patch: bytes, reason: str) -> None:
    with pytest.raises(ImageRefusedError, match=reason) as refused:
        rebuilt(with_patch(patch), OLD)
    assert refused.value.reason == "corrupt-patch"


@pytest.mark.parametrize(
    "content",
    [
        bytes(50_000_000),  # steps that do nothing
        number(0) + number(1 << 26) + bytes(50_000_000),
        b"\xff" * 50_000_000,
    ],
    ids=["idle", "long", "number"],
)
def test_given_a_patch_that_explodes_then_it_costs_no_time_and_no_memory(content: bytes) -> None:
    delta = with_patch(patch_of(content, preset=0))
    del content
    tracemalloc.start()
    started = time.process_time()
    try:
        with pytest.raises(ImageRefusedError):
            rebuilt(delta, OLD)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000
    assert time.process_time() - started < 1.0


def test_given_a_patch_that_wants_a_large_dictionary_then_it_is_refused() -> None:
    patch = bytearray(patch_of(PLAIN))
    at = 1 + len(number(len(NEW)))
    patch[at + 1 : at + 5] = struct.pack("<I", 1 << 30)
    with pytest.raises(ImageRefusedError, match="cannot be decompressed"):
        rebuilt(with_patch(bytes(patch)), OLD)


def test_given_a_delta_that_is_replaced_while_it_is_read_then_it_is_refused() -> None:
    other = create_app_delta(application(OLD), application(mcuboot(b"third", version=(3, 0, 0, 0))))
    with pytest.raises(ImageRefusedError) as refused:
        rebuilt(other, OLD, INFO)
    assert refused.value.reason == "patch-changed"


def test_given_a_later_format_or_impossible_values_then_the_refusal_says_so() -> None:
    later = bytearray(DELTA_FILE)
    later[8] = 2
    with pytest.raises(ImageRefusedError, match="format 2") as refused:
        inspect_bytes(bytes(later))
    assert refused.value.reason == "unsupported-format"
    too_large = replace(INFO, target=replace(INFO.target, size_bytes=MAX_IMAGE_BYTES + 1))
    same = replace(INFO, target=replace(INFO.target, digest=INFO.base.digest))
    for info, reason in [
        (too_large, "too-large"),
        (same, "bad-header"),
        (replace(INFO, patch_size_bytes=0), "bad-header"),
    ]:
        with pytest.raises(ImageRefusedError) as impossible:
            parse_header(encode_header(info))
        assert impossible.value.reason == reason
    with pytest.raises(ValueError, match="no header"):
        encode_header(replace(INFO, patch_size_bytes=1 << 32))


@pytest.mark.parametrize(("offset", "value"), [(17, 1), (16, 0x99), (60, 1)])
def test_given_bytes_in_the_header_that_mean_nothing_then_it_is_refused(offset: int, value: int) -> None:
    checked = bytearray(DELTA_FILE[: HEADER_BYTES - 32])
    checked[offset] = value
    with pytest.raises(ImageRefusedError) as refused:
        parse_header(bytes(checked) + hashlib.sha256(checked).digest())
    assert refused.value.reason == "bad-header"


# Making one.


def test_given_the_same_image_twice_then_no_delta_is_made() -> None:
    resigned = mcuboot(OLD_PAYLOAD, version=(1, 0, 0, 0), extra=(tlv(0x22, b"another signature"),))
    for new in (OLD, resigned):
        with pytest.raises(ImageRefusedError) as refused:
            create_app_delta(application(OLD), application(new))
        assert refused.value.reason == "same-image"


def test_given_an_encrypted_or_too_large_image_then_no_delta_is_made() -> None:
    encrypted = mcuboot(b"secret", flags=0x4, extra=(tlv(0x32, bytes(113)),))
    large = mcuboot(bytes(MAX_IMAGE_BYTES))
    for old, new, reason in [
        (OLD, encrypted, "encrypted-image"),
        (encrypted, NEW, "encrypted-image"),
        (OLD, large, "too-large"),
        (large, NEW, "too-large"),
    ]:
        with pytest.raises(ImageRefusedError) as refused:
            create_app_delta(application(old), application(new))
        assert refused.value.reason == reason


def test_given_files_then_applications_are_read_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    assert read_application(path) == ApplicationFile("file", OLD, parse_image(OLD))
    path.write_bytes(dfu_package(NEW, size=len(NEW), version_MCUBOOT="1.1.0+7"))
    assert read_application(path) == ApplicationFile("app.signed.bin", NEW, parse_image(NEW))
    for content in (DELTA, DELTA_FILE):
        path.write_bytes(content)
        with pytest.raises(ImageRefusedError) as refused:
            read_application(path)
        assert refused.value.reason == "wrong-kind"
    with pytest.raises(UsageError) as missing:
        read_application(tmp_path / "missing")
    assert missing.value.reason == "unreadable"


def test_given_sample_images_of_one_program_then_a_delta_is_a_small_part_of_them(tmp_path: Path) -> None:
    samples = SampleImages(tmp_path)
    old = read_application(samples.application("1.0.0"))
    new = read_application(samples.application("1.1.0", like="1.0.0"))
    assert len(create_app_delta(old, new)) < len(new.data) // 40
    unrelated = read_application(samples.application("1.1.0"))
    assert len(create_app_delta(old, unrelated)) > len(unrelated.data)
