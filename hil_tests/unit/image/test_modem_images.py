"""Modem firmware: deltas and what their names say, full images and their wrapper."""

import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError
from bridge.image import inspect_bytes
from bridge.image.cbor_item import CborFormatError, item_size
from bridge.image.names import file_name, parse_delta_name, parse_modem_release
from hil_tests.unit.image.build import DELTA, modem_full


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin", ("nrf91x1", "2.0.1", "2.0.2")),
        ("mfw_nrf9160_update_from_1.3.4_to_1.3.5", ("nrf9160", "1.3.4", "1.3.5")),
        ("mfw_nrf91x1_update_from_2.0.4_to_2.0.4-FOTA-TEST.bin", ("nrf91x1", "2.0.4", "2.0.4-FOTA-TEST")),
        ("mfw_nrf91x1_update_from_2.0.4-FOTA-TEST_to_2.0.4.bin", ("nrf91x1", "2.0.4-FOTA-TEST", "2.0.4")),
        ("MFW_NRF91X1_update_from_2.0.1_to_2.0.2.BIN", ("nrf91x1", "2.0.1", "2.0.2")),
        ("v1/mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin", ("nrf91x1", "2.0.1", "2.0.2")),
        (
            "https://bucket.s3.amazonaws.com/a/mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin?X-Amz-Signature=aa",
            ("nrf91x1", "2.0.1", "2.0.2"),
        ),
        ("https://host/x%2Fmfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin", ("nrf91x1", "2.0.1", "2.0.2")),
        ("release-mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin", ("nrf91x1", "2.0.1", "2.0.2")),
    ],
)
def test_given_nordics_name_of_a_delta_then_versions_are_read(
    name: str, expected: tuple[str, str, str]
) -> None:
    image = inspect_bytes(DELTA, name)
    assert image.modem_delta is not None
    assert (image.modem_delta.family, image.base_version, image.version) == expected
    assert not image.modem_delta.look_alike


@pytest.mark.parametrize(
    "name",
    [
        "delta.bin",
        "mfw_nrf91x1_2.0.2.bin",
        "xmfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin",
        "https://host/delta?name=mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin",
        "mfw_nrf52840_update_from_2.0.1_to_2.0.2.bin",
        "mfw_nrf91x1_update_from_2.0_to_2.1.bin",
        "https://[broken/mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin",
    ],
)
def test_given_another_name_then_the_delta_has_no_versions(name: str) -> None:
    image = inspect_bytes(DELTA, name)
    assert (image.version, image.base_version) == (None, None)
    assert parse_delta_name(name) is None


def test_given_urls_and_paths_then_the_file_name_is_the_last_part_without_secrets() -> None:
    assert file_name("https://user@host:8443/a/b.bin?token=secret#part") == "b.bin"
    assert file_name("C:\\images\\b.bin") == "b.bin"
    assert file_name("b.bin") == "b.bin"
    assert file_name("") == ""


def test_given_names_of_releases_then_family_and_version_are_read() -> None:
    assert parse_modem_release("mfw_nrf91x1_2.0.2.zip") == ("nrf91x1", "2.0.2")
    assert parse_modem_release("mfw_nrf9160_1.3.5-FOTA-TEST.zip") == ("nrf9160", "1.3.5-FOTA-TEST")
    assert parse_modem_release("mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin") is None


@given(st.integers(8, 31))
def test_given_a_delta_cut_within_its_header_then_it_is_truncated(size: int) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(DELTA[:size])
    assert refused.value.reason == "truncated"


FULL = modem_full(1000, 5000, 700)


def test_given_a_full_modem_image_then_segments_and_offsets_are_told() -> None:
    image = inspect_bytes(FULL, "mfw_nrf91x1_2.0.2.cbor")
    info = image.modem_full
    assert info is not None
    assert image.version == "2.0.2"
    assert [(part.address, part.size_bytes) for part in info.segments] == [
        (0x50000, 1000),
        (0x60000, 5000),
        (0x70000, 700),
    ]
    assert info.segments[0].offset == info.wrapper_size_bytes
    assert FULL[info.segments[1].offset] == 1
    assert info.size_bytes == len(FULL)


def test_given_any_truncation_of_a_full_modem_image_then_it_is_refused() -> None:
    for size in range(len(FULL)):
        with pytest.raises(ImageRefusedError):
            inspect_bytes(FULL[:size])


def test_given_one_more_byte_then_the_full_modem_image_is_too_long() -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(FULL + b"\0")
    assert (refused.value.reason, refused.value.offset) == ("trailing-bytes", len(FULL))


@given(st.integers(0, 6700 - 1))
def test_given_a_bit_flipped_in_the_segments_then_the_blob_hash_shows_it(position: int) -> None:
    broken = bytearray(FULL)
    broken[len(FULL) - 6700 + position] ^= 0x40
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(bytes(broken))
    assert refused.value.reason == "digest-mismatch"


@pytest.mark.parametrize(
    "data",
    [
        modem_full(100, tag=99).replace(cbor2.dumps(cbor2.CBORTag(99, 0))[:2], b"\xd2\x84", 1),
        modem_full(100, parts=[b"", {}, b"", "no signature"]),
        modem_full(100, parts=[b"", {}, b"\xff", b"s"]),
        modem_full(100, parts=[b"", {}, cbor2.dumps([1, 2]) + b"\0", b"s"]),
        modem_full(100, parts=[b"", {}, cbor2.dumps(cbor2.CBORTag(0, "no date")), b"s"]),
        modem_full(100, manifest=[1, 2, b"short", b""]),
        modem_full(100, segments=[]),
        modem_full(100, segments=[1]),
        modem_full(100, segments=7),
        modem_full(100, segments=["a", 1]),
        modem_full(100, segments=[1, 0]),
        modem_full(100, segments=[True, 100]),
        b"\xd2\x84" + b"\x1c" * 100,
        b"\xd2\x84" + b"\x81" * 100,
        b"\xd2\x84\x59\x08\x00" + bytes(3000),
    ],
)
def test_given_a_wrapper_that_is_none_then_it_is_refused(data: bytes) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(data)
    assert refused.value.reason == "bad-cbor"


CBOR = st.recursive(
    st.integers(-(1 << 60), 1 << 60)
    | st.binary(max_size=300)
    | st.text(max_size=20)
    | st.booleans()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.integers(0, 99), inner, max_size=4)
        | inner.map(lambda value: cbor2.CBORTag(1234, value))
    ),
    max_leaves=6,
)


@given(CBOR, st.binary(max_size=5000))
def test_given_an_item_and_what_follows_then_its_end_is_found_without_decoding(
    value: object, rest: bytes
) -> None:
    item = cbor2.dumps(value)
    assert item_size(item + rest) == len(item)
    for size in range(len(item)):
        assert item_size(item[:size]) is None


def test_given_indefinite_lengths_then_the_end_is_found() -> None:
    item = b"\x9f\x01\xbf\x01\x5f\x41a\x41b\xff\xff\xff"
    assert cbor2.loads(item) == [1, {1: b"ab"}]
    assert item_size(item + b"\xff") == len(item)
    for size in range(len(item)):
        assert item_size(item[:size]) is None


def test_given_no_cbor_then_it_is_said() -> None:
    for data in (b"\x1c", b"\x3f", b"\x81" * 20):
        with pytest.raises(CborFormatError):
            item_size(data)
    assert item_size(b"\x9b" + struct.pack(">Q", 1 << 62)) is None
