"""The inspector: any bytes, any chunks, one judgement."""

import contextlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError, UsageError
from bridge.image import ImageInspector, ImageKind, inspect_bytes, inspect_file
from bridge.image.inspector import unreadable
from bridge.image.nsib import make_nsib_image
from bridge.lab.sample_images import SampleImages
from hil_tests.unit.image.build import DELTA, dfu_package, intel_hex, mcuboot, modem_full, zipped

HTML = b"\n <!DOCTYPE html><html><body>404 Not Found</body></html>"
S3_ERROR = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'

FILES = {
    "application": mcuboot(),
    "delta": DELTA,
    "full": modem_full(2000, 3000),
    "hex": intel_hex((0x20000, mcuboot())),
    "package": dfu_package(),
    "html": HTML,
    "short": b"4",
    "empty": b"",
    "padding": mcuboot() + b"\xff" * 300,
}


def judge(data: bytes, sizes: list[int]) -> object:
    """What the inspector says about a file that comes in chunks of these sizes, the last one repeated."""
    inspector = ImageInspector("file")
    position = 0
    try:
        while position < len(data):
            size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
            inspector.feed(data[position : position + size])
            position += size
        return inspector.finish()
    except ImageRefusedError as error:
        return error.reason, error.message, error.offset


@pytest.mark.parametrize("name", FILES)
@given(sizes=st.lists(st.integers(1, 400), min_size=1, max_size=20))
def test_given_any_chunking_then_the_judgement_is_that_of_the_whole_file(name: str, sizes: list[int]) -> None:
    data = FILES[name]
    assert judge(data, sizes) == judge(data, [len(data) + 1])


PREFIXES = st.sampled_from([b"", *(data[:40] for data in FILES.values()), b"PK\x03\x04", b":10", b"\xd2\x84"])


@given(prefix=PREFIXES, rest=st.binary(max_size=400))
def test_given_any_bytes_then_they_are_inspected_or_refused_and_nothing_else(
    prefix: bytes, rest: bytes
) -> None:
    with contextlib.suppress(ImageRefusedError):
        inspect_bytes(prefix + rest)


@given(
    name=st.sampled_from(["application", "full", "hex", "package"]),
    position=st.integers(0, 1 << 20),
    value=st.integers(0, 255),
)
def test_given_a_damaged_file_then_it_is_inspected_or_refused_and_nothing_else(
    name: str, position: int, value: int
) -> None:
    data = bytearray(FILES[name])
    data[position % len(data)] = value
    with contextlib.suppress(ImageRefusedError):
        inspect_bytes(bytes(data))


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "empty"),
        (HTML, "HTML page"),
        (b"<html>" + b"x" * 100, "HTML page"),
        (S3_ERROR, "XML document"),
        (b"<Error><Code>NoSuchKey</Code></Error>", "XML document"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"\x7fELF" + bytes(100), "ELF"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
        (b'{"error": "denied"}', "JSON"),
        (b"\xef\xbb\xbf{}", "JSON"),
        (b"-----BEGIN CERTIFICATE-----\n", "PEM"),
        (b"404 page not found\n", "text file"),
        (b"S00600004844521B\n", "S-record"),
        (b"PK\x05\x06" + bytes(18), "empty zip"),
        (b"\xff" * 4096, "erased flash"),
        (b"\0" * 100, "0x00 only"),
        (b"\x00\x80\x00\x20\x01\x02\x00\x00" + bytes(range(100)), "unsigned program for an Arm core"),
        (b"\x96\xf3\xb8\x3d" + bytes(100), "big-endian MCUboot image"),
        (bytes([0x80, 0x81, 0x82]) * 50, "unknown file that starts with 80 81 82"),
        (zipped({"readme.txt": b"hello"}), "zip archive without manifest.json"),
    ],
)
def test_given_a_file_that_is_no_firmware_then_the_refusal_names_what_it_is(data: bytes, named: str) -> None:
    with pytest.raises(ImageRefusedError, match=named):
        inspect_bytes(data, "update.bin")


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("piece_bytes", [64, 1 << 20])
def test_given_mcuboot_itself_without_its_package_then_it_is_not_taken_for_an_application(
    tmp_path: Path, slot: int, piece_bytes: int
) -> None:
    data = SampleImages(tmp_path).mcuboot_bootloader(2, slot).read_bytes()
    inspector = ImageInspector("update.bin")
    with pytest.raises(ImageRefusedError, match="MCUboot itself") as caught:
        for start in range(0, len(data), piece_bytes):
            inspector.feed(data[start : start + piece_bytes])
        inspector.finish()
    assert caught.value.reason == "wrong-kind"
    assert "dfu_mcuboot.zip" in (caught.value.hint or "")


def test_given_an_application_with_firmware_information_then_it_is_one() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    payload = make_nsib_image(bytes(8000), version=7, address=0x2_0200, key=key)
    assert inspect_bytes(mcuboot(payload)).kind is ImageKind.APPLICATION


def test_given_a_name_that_lies_then_the_content_decides() -> None:
    assert inspect_bytes(mcuboot(), "picture.png").kind is ImageKind.APPLICATION
    with pytest.raises(ImageRefusedError, match="PNG"):
        inspect_bytes(b"\x89PNG" + bytes(100), "app_update.bin")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("application", ImageKind.APPLICATION),
        ("delta", ImageKind.MODEM_DELTA),
        ("hex", ImageKind.INTEL_HEX),
        ("package", ImageKind.DFU_PACKAGE),
    ],
)
def test_given_the_first_bytes_then_the_head_is_known_before_the_rest(name: str, kind: ImageKind) -> None:
    inspector = ImageInspector("x")
    inspector.feed(FILES[name][:31])
    too_early = inspector.head
    inspector.feed(FILES[name][31:200])
    head = inspector.head
    assert too_early is None
    assert head is not None
    assert head.kind is kind


def test_given_a_full_modem_image_then_its_head_is_known_with_its_whole_manifest() -> None:
    wrapper_bytes = inspect_bytes(FILES["full"], "x").modem_full.wrapper_size_bytes  # type: ignore[union-attr]
    inspector = ImageInspector("x")
    inspector.feed(FILES["full"][: wrapper_bytes - 1])
    too_early = inspector.head
    inspector.feed(FILES["full"][wrapper_bytes - 1 : wrapper_bytes])
    head = inspector.head
    assert too_early is None
    assert head is not None
    assert head.kind is ImageKind.MODEM_FULL
    assert head.modem_full is not None


def test_given_an_application_then_its_head_has_version_and_header() -> None:
    inspector = ImageInspector("https://host/path/app.bin?X-Amz-Signature=secret")
    inspector.feed(mcuboot(version=(4, 5, 6, 0))[:64])
    assert inspector.head is not None
    assert (inspector.head.version, inspector.head.name) == ("4.5.6", "app.bin")
    assert inspector.head.mcuboot is not None
    assert inspector.head.mcuboot.payload_size_bytes == 320


def test_given_an_error_page_then_it_is_refused_while_it_arrives() -> None:
    inspector = ImageInspector()
    with pytest.raises(ImageRefusedError, match="HTML"):
        inspector.feed(HTML.ljust(64))
    with pytest.raises(ImageRefusedError, match="HTML"):
        inspector.feed(b"more")
    with pytest.raises(ImageRefusedError, match="HTML"):
        inspector.finish()


def test_given_an_image_when_printed_as_json_then_bytes_are_hex_and_other_kinds_are_left_out() -> None:
    data = inspect_bytes(mcuboot(), "a.bin").to_dict()
    assert data["kind"] == "application"
    assert "modem_full" not in data
    assert data["mcuboot"]["tlvs"][0]["name"] == "sha256"
    assert data["mcuboot"]["tlvs"][0]["data"] == data["mcuboot"]["digest"]
    assert inspect_bytes(dfu_package(), "a.zip").to_dict()["dfu_package"]["members"][0]["image_index"] == 0


def test_given_a_file_on_disk_then_it_is_inspected_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "app.bin"
    path.write_bytes(mcuboot(b"p" * 200_000))
    assert inspect_file(path).size_bytes == path.stat().st_size


def test_given_a_folder_or_a_missing_file_then_it_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.bin"):
        with pytest.raises(UsageError) as refused:
            inspect_file(path)
        assert refused.value.reason == "unreadable"
    assert "strange" in unreadable(tmp_path, OSError("strange")).message


def test_given_large_files_then_what_is_kept_stays_small() -> None:
    """Memory does not grow with MCUboot and delta images: the readers keep neither payload nor padding."""
    for head in (mcuboot(b"p" * (1 << 20))[:-10], DELTA):
        inspector = ImageInspector()
        inspector.feed(head)
        inspector.feed(bytes(1 << 20)) if head is DELTA else None
        kept = [
            value
            for value in vars(vars(inspector._reader)["_reader"]).values()
            if isinstance(value, bytes | bytearray)
        ]
        assert sum(map(len, kept)) < 1024


def test_given_a_buffered_kind_that_never_ends_then_it_is_refused_at_a_limit() -> None:
    inspector = ImageInspector()
    inspector.feed(b":" + b"0" * 64)
    with pytest.raises(ImageRefusedError, match="more than") as refused:
        for _ in range(100):
            inspector.feed(b"0" * (1 << 20))
    assert refused.value.reason == "too-large"
