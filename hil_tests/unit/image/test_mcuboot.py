"""MCUboot images: what the header says, what the digest covers, and what may follow."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError
from bridge.image import ImageKind, inspect_bytes
from bridge.image.mcuboot import parse_image
from hil_tests.unit.image.build import area, hashed_size, mcuboot, tlv

BOOT_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
COUNTER = tlv(0x50, struct.pack("<I", 7))
IMAGE = mcuboot(protected=(COUNTER, tlv(0xA0, b"vendor")), extra=(tlv(0x01, bytes(32)),))


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(data)
    return refused.value.reason


def padded(image: bytes, size: int, flag: int = 0xFF, erased: int = 0xFF) -> bytes:
    """What ``imgtool sign --pad`` or ``--confirm`` writes, with a write alignment of up to 8."""
    trailer = bytearray([erased] * (size - len(image) - 16))
    trailer[-8] = flag
    return image + bytes(trailer) + BOOT_MAGIC


def test_given_an_image_when_inspected_then_header_and_digest_are_told() -> None:
    image = inspect_bytes(mcuboot(b"x" * 100, version=(1, 2, 300, 0)), "some.bin")
    assert (image.kind, image.version, image.name) == (ImageKind.APPLICATION, "1.2.300", "some.bin")
    assert image.mcuboot is not None
    assert image.mcuboot.header.header_size_bytes == 0x200
    assert image.mcuboot.header.payload_size_bytes == 100
    assert image.mcuboot.digest_verified
    assert image.mcuboot.signature_names == ()
    assert image.mcuboot.security_counter is None


def test_given_a_build_number_when_inspected_then_the_version_shows_it() -> None:
    assert inspect_bytes(mcuboot(version=(1, 0, 0, 42))).version == "1.0.0+42"


def test_given_protected_tlvs_when_inspected_then_they_are_listed_and_covered_by_the_digest() -> None:
    info = parse_image(IMAGE)
    assert [(entry.name, entry.data) for entry in info.protected_tlvs] == [
        ("security-counter", b"\7\0\0\0"),
        ("0x00a0", b"vendor"),
    ]
    assert info.security_counter == 7
    assert info.key_hash == "00" * 32
    assert info.size_bytes == len(IMAGE)


@pytest.mark.parametrize(("algorithm", "size"), [("sha256", 32), ("sha384", 48), ("sha512", 64)])
def test_given_each_digest_algorithm_when_inspected_then_it_is_recomputed(algorithm: str, size: int) -> None:
    image = mcuboot(digest=algorithm)
    info = parse_image(image)
    assert (info.digest_algorithm, len(info.digest) // 2) == (algorithm, size)
    broken = bytearray(image)
    broken[0x210] ^= 1
    assert reason_of(bytes(broken)) == "digest-mismatch"


@given(st.data())
def test_given_one_bit_flipped_in_what_the_digest_covers_then_the_image_is_refused(
    data: st.DataObject,
) -> None:
    bit = data.draw(st.integers(0, 8 * hashed_size(IMAGE) - 1))
    broken = bytearray(IMAGE)
    broken[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ImageRefusedError):
        inspect_bytes(bytes(broken))


def test_given_any_truncation_then_the_image_is_refused() -> None:
    for size in range(len(IMAGE)):
        with pytest.raises(ImageRefusedError) as refused:
            inspect_bytes(IMAGE[:size])
        assert refused.value.reason in ("empty", "truncated", "not-an-image")
        if size >= 4:
            assert refused.value.reason == "truncated"
            assert refused.value.offset == size


@pytest.mark.parametrize("tail", [b"\0", b"garbage", b"<html>", bytes(5000) + b"x", b"\xff" * 5000 + b"x"])
def test_given_bytes_after_the_tlvs_then_the_image_is_refused(tail: bytes) -> None:
    assert reason_of(IMAGE + tail) == "trailing-bytes"


def test_given_foreign_bytes_after_the_tlvs_then_the_offset_is_where_they_start() -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(IMAGE + b"\xff" * 1000 + b"surplus" + b"\xff" * 1000)
    assert refused.value.offset == len(IMAGE) + 1000


def test_given_erased_flash_without_a_trailer_then_the_refusal_says_so() -> None:
    with pytest.raises(ImageRefusedError, match="erased flash without an MCUboot trailer"):
        inspect_bytes(IMAGE + b"\xff" * 3000)


@pytest.mark.parametrize("erased", [0xFF, 0x00])
@pytest.mark.parametrize(("flag", "confirmed"), [(0x01, True), (None, False)])
@pytest.mark.parametrize("padding", [24, 63, 64, 65, 3000])
def test_given_a_padded_image_then_its_trailer_is_recognised(
    erased: int, flag: int | None, confirmed: bool, padding: int
) -> None:
    data = padded(IMAGE, len(IMAGE) + padding, erased if flag is None else flag, erased)
    image = inspect_bytes(data)
    assert image.mcuboot is not None
    assert image.mcuboot.trailer is not None
    assert image.mcuboot.trailer.confirmed is confirmed
    assert image.mcuboot.trailer.padding_size_bytes == padding
    assert image.mcuboot.size_bytes == len(IMAGE)


@pytest.mark.parametrize(("align", "flag_at"), [(16, -32), (32, -64)])
def test_given_a_trailer_for_larger_writes_then_its_cells_are_found(align: int, flag_at: int) -> None:
    data = bytearray(IMAGE + b"\xff" * 2000)
    data[-16:] = struct.pack("<H", align) + bytes.fromhex("2de15d29410b8d77679c110f1f8a")
    data[flag_at] = 0x01
    info = parse_image(bytes(data))
    assert info.trailer is not None
    assert (info.trailer.max_align, info.trailer.confirmed) == (align, True)


def test_given_a_trailer_magic_with_an_unknown_alignment_then_it_is_refused() -> None:
    data = bytearray(IMAGE + b"\xff" * 2000)
    data[-16:] = struct.pack("<H", 7) + bytes.fromhex("2de15d29410b8d77679c110f1f8a")
    assert reason_of(bytes(data)) == "trailing-bytes"


@pytest.mark.parametrize("cell", [-24, -32, -40, -48, -60, -500])
def test_given_a_trailer_with_more_than_the_confirmed_flag_then_it_is_refused(cell: int) -> None:
    data = bytearray(padded(IMAGE, len(IMAGE) + 3000))
    data[cell] = 0x02
    assert reason_of(bytes(data)) == "trailing-bytes"


def test_given_a_flash_slot_when_parsed_with_trailing_bytes_allowed_then_the_image_in_it_counts() -> None:
    assert parse_image(IMAGE + b"anything", allow_trailing=True) == parse_image(IMAGE)


def test_given_a_flag_for_encryption_but_no_key_for_it_then_a_wrong_digest_still_counts() -> None:
    image = bytearray(mcuboot(flags=0x4))
    assert inspect_bytes(bytes(image)).kind is ImageKind.APPLICATION
    image[0x210] ^= 1
    assert reason_of(bytes(image)) == "digest-mismatch"


def test_given_an_encrypted_image_then_its_digest_is_reported_as_not_verified() -> None:
    image = bytearray(mcuboot(flags=0x4, extra=(tlv(0x32, bytes(113)),)))
    image[0x210] ^= 1
    info = parse_image(bytes(image))
    assert not info.digest_verified
    assert info.header.encrypted


def test_given_flags_then_they_are_named() -> None:
    header = parse_image(mcuboot(flags=0x8000_0120)).header
    assert header.flag_names == ("ram-load", "rom-fixed", "0x80000000")


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(8, b"\x10\x00", "bad-header"), (12, bytes(4), "bad-header"), (10, b"\x03\x00", "bad-header")],
)
def test_given_an_impossible_header_then_it_is_refused(offset: int, value: bytes, reason: str) -> None:
    image = bytearray(IMAGE)
    image[offset : offset + len(value)] = value
    assert reason_of(bytes(image)) == reason


def _with_tlvs(tlvs: bytes, protected: bytes = b"") -> bytes:
    header = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, 32, len(protected), 8, 0, 1, 0, 0, 0, 0)
    return header + b"payload!" + protected + tlvs


@pytest.mark.parametrize(
    "image",
    [
        _with_tlvs(b"\xff" * 64),
        _with_tlvs(struct.pack("<HH", 0x6907, 3).ljust(64, b"\0")),
        _with_tlvs(area(0x6907).ljust(64, b"\0")),
        _with_tlvs(area(0x6907, tlv(0x10, bytes(32)), tlv(0x11, bytes(48)))),
        _with_tlvs(area(0x6907, struct.pack("<HH", 0x10, 99) + bytes(60))),
        _with_tlvs(area(0x6907, tlv(0x10, bytes(32)), b"\x01")),
        _with_tlvs(area(0x6907, tlv(0x10, bytes(32))), area(0x6907, COUNTER)),
        _with_tlvs(area(0x6907, tlv(0x10, bytes(32))), area(0x6908, COUNTER) + b"more"),
    ],
    ids=["none", "too-small", "no-digest", "two-digests", "beyond", "rest", "not-protected", "size-differs"],
)
def test_given_tlvs_that_cannot_be_then_the_image_is_refused(image: bytes) -> None:
    assert reason_of(image) == "bad-tlv"


def test_given_a_pure_signature_then_it_is_refused_by_name() -> None:
    image = _with_tlvs(area(0x6907, tlv(0x25, b"\1"), tlv(0x24, bytes(64))))
    assert reason_of(image) == "unsupported-signature"


def test_given_an_image_without_tlvs_then_the_hint_tells_to_sign_it() -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(_with_tlvs(b"\xff" * 64))
    assert refused.value.hint is not None
    assert "imgtool" in refused.value.hint
