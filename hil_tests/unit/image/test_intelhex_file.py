"""Intel HEX: gaps stay gaps, and images inside are judged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError
from bridge.image import inspect_bytes
from bridge.image.intelhex_file import HexSegment
from hil_tests.unit.image.build import hex_record, intel_hex, mcuboot

IMAGE = mcuboot(version=(3, 1, 4, 0))


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(data)
    return refused.value.reason


def test_given_segments_with_gaps_then_they_are_kept_apart() -> None:
    image = inspect_bytes(intel_hex((0x6000, b"a" * 100), (0x6065, b"b"), (0x5960_2000, b"c" * 33)), "x.hex")
    info = image.intel_hex
    assert info is not None
    assert info.segments == (
        HexSegment(0x6000, 100),
        HexSegment(0x6065, 1),
        HexSegment(0x5960_2000, 33),
    )
    assert info.data_size_bytes == 134
    assert (info.images, image.mcuboot, image.version) == ((), None, None)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=8))
def test_given_any_gaps_then_segments_come_back_as_written(layout: list[tuple[int, int]]) -> None:
    address, segments = 0x1_FFF0, []
    for gap, size in layout:
        address += gap
        segments.append((address, bytes(size)))
        address += size
    info = inspect_bytes(intel_hex(*segments)).intel_hex
    assert info is not None
    assert [(part.address, part.size_bytes) for part in info.segments] == [
        (at, len(data)) for at, data in segments
    ]


def test_given_a_signed_image_inside_then_it_is_reported_with_its_address() -> None:
    image = inspect_bytes(intel_hex((0x20000, IMAGE)), "app_signed.hex")
    assert image.intel_hex is not None
    assert [(found.address, found.mcuboot.version) for found in image.intel_hex.images] == [
        (0x20000, "3.1.4")
    ]
    assert image.version == "3.1.4"
    assert image.mcuboot == image.intel_hex.images[0].mcuboot


def test_given_a_merged_file_then_images_at_page_boundaries_are_found() -> None:
    merged = b"\x55" * 0x1000 + IMAGE.ljust(0x1000, b"\xff") + mcuboot(b"y" * 5000, version=(1, 0, 0, 0))
    image = inspect_bytes(intel_hex((0x1F000, merged)))
    assert image.intel_hex is not None
    assert [found.address for found in image.intel_hex.images] == [0x20000, 0x21000]
    assert image.mcuboot is None


def test_given_a_segment_off_a_page_boundary_then_images_are_found_at_its_start_and_at_pages() -> None:
    data = IMAGE.ljust(0x1000 - 0x200, b"\xff") + IMAGE
    info = inspect_bytes(intel_hex((0x20200, data))).intel_hex
    assert info is not None
    assert [found.address for found in info.images] == [0x20200, 0x21000]


def test_given_a_broken_image_inside_then_the_file_is_refused_with_its_address() -> None:
    broken = bytearray(IMAGE)
    broken[0x210] ^= 1
    with pytest.raises(ImageRefusedError, match="0x20000") as refused:
        inspect_bytes(intel_hex((0x20000, bytes(broken))))
    assert refused.value.reason == "digest-mismatch"


def test_given_a_gap_within_an_image_then_it_is_truncated_rather_than_collapsed() -> None:
    assert reason_of(intel_hex((0x20000, IMAGE[:0x220]), (0x20221, IMAGE[0x221:]))) == "truncated"


def test_given_any_truncation_then_it_is_refused() -> None:
    text = intel_hex((0x20000, b"some bytes, some more bytes"))
    for size in range(len(text) - 1):
        with pytest.raises(ImageRefusedError):
            inspect_bytes(text[:size])


def test_given_windows_line_ends_and_lower_case_then_it_is_read() -> None:
    text = intel_hex((0x20000, b"hello")).lower().replace(b"\n", b"\r\n")
    assert inspect_bytes(text).intel_hex is not None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (intel_hex((0, b"x")) + b"rest", "trailing-bytes"),
        (intel_hex((0, b"x"), end=False), "truncated"),
        (intel_hex(), "empty"),
        (intel_hex((0, b"x" * 40)).replace(b":10", b":11", 1), "bad-hex"),
        (intel_hex((0, b"x" * 16)).replace(b"78787878", b"78787879", 1), "bad-hex"),
        (intel_hex((0, b"x" * 4), (2, b"y" * 4)), "bad-hex"),
        (b":" + b"\n" * 70 + b"\xff:00000001FF\n", "bad-hex"),
        (b":zz" + b"z" * 70 + b"\n:00000001FF\n", "bad-hex"),
        ((hex_record(0, 9, b"") + ":00000001FF\n").encode(), "bad-hex"),
    ],
    ids=["after-end", "no-end", "no-data", "count", "checksum", "overlap", "binary", "no-hex", "record-type"],
)
def test_given_a_wrong_file_then_it_is_refused(text: bytes, reason: str) -> None:
    assert reason_of(text) == reason
