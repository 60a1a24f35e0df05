"""Packages: what is listed, what is taken out, and what an archive must not do to us."""

import io
import struct
import zipfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ImageRefusedError
from bridge.image import ImageKind, inspect_bytes
from bridge.image.archive import MAX_MEMBERS, MAX_TOTAL_BYTES, read_archive
from bridge.image.package import member_image
from bridge.image.package_info import DigestRange, ModemRole
from bridge.image.package_source import PackedImage, choose, unpack
from hil_tests.unit.image.build import DELTA, dfu_package, intel_hex, manifest, mcuboot, modem_full, zipped

LOADER, FULL = intel_hex((0x2000, b"loader")), modem_full(100, 200)
DIGESTS = b"""SHA256 of all ranges in ascending address order: AA
Range: 0x00006000--0x0000FFFF SHA256: %s
Range: 0x00050000--0x00237FFF SHA256: %s
""" % (b"AB" * 32, b"cd" * 32)


def application(package: bytes) -> PackedImage:
    (found,) = choose(unpack(package, "package.zip"))
    return found


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_bytes(data)
    return refused.value.reason


def test_given_a_sysbuild_package_then_its_member_is_listed_with_numbers_from_text() -> None:
    image = inspect_bytes(dfu_package(), "dfu_application.zip")
    assert (image.kind, image.version) == (ImageKind.DFU_PACKAGE, "1.2.3")
    info = image.dfu_package
    assert info is not None
    (member,) = info.members
    assert (member.image_index, member.slot_index_primary, member.slot_index_secondary) == (0, 1, 2)
    assert (member.board, member.soc, member.load_address) == ("nrf9151dk/nrf9151/ns", "nrf9151", 0x20200)
    assert member.mcuboot is not None
    assert not member.bootloader


def test_given_a_package_when_the_application_is_taken_then_it_is_the_member_byte_for_byte() -> None:
    content = mcuboot(b"my application", version=(7, 0, 0, 0))
    packed = application(dfu_package(content))
    image = packed.image
    assert packed.data == content
    assert (image.kind, image.name, image.version) == (ImageKind.APPLICATION, "app.signed.bin", "7.0.0")
    assert image == inspect_bytes(content, "app.signed.bin")


def test_given_the_older_manifest_format_then_it_is_read() -> None:
    files = {
        "app_update.bin": mcuboot(),
        "manifest.json": manifest({"file": "app_update.bin", "image_index": 0}, **{"format-version": 0}),
        "notes.txt": b"hello",
    }
    info = inspect_bytes(zipped(files)).dfu_package
    assert info is not None
    assert (info.format_version, info.unlisted, info.members[0].type) == (0, ("notes.txt",), None)
    assert application(zipped(files)).data == mcuboot()


def _two(first: dict[str, Any], second: dict[str, Any], data: bytes | None = None) -> bytes:
    image = mcuboot()
    entries = [
        {"file": "a.bin", "type": "application", **first},
        {"file": "b.bin", "type": "application", **second},
    ]
    return zipped({"a.bin": image, "b.bin": data or image, "manifest.json": manifest(*entries)})


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (_two({"slot": "0"}, {"slot": "1"}), "ambiguous-package"),
        (_two({"type": "mcuboot"}, {"type": "mcuboot"}), "ambiguous-package"),
        (_two({"image_index": 2}, {}, b"radio firmware"), "no-image"),
        (zipped({"a.bin": mcuboot()}), "not-an-image"),
    ],
)
def test_given_none_or_several_applications_then_none_is_taken(package: bytes, reason: str) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        application(package)
    assert refused.value.reason == reason


def test_given_another_image_beside_the_application_then_the_application_is_taken() -> None:
    assert application(_two({}, {"image_index": "1"}, b"radio firmware")).file == "a.bin"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("signed_by_mcuboot_and_b0_mcuboot.bin", None),
        ("signed_by_mcuboot_and_b0_s1_image.bin", None),
        ("x", "mcuboot"),
    ],
)
def test_given_mcuboot_itself_in_a_package_then_the_manifest_makes_it_a_bootloader(
    name: str, kind: str | None
) -> None:
    entry = {"file": name, **({"type": kind} if kind else {})}
    info = inspect_bytes(zipped({name: mcuboot(), "manifest.json": manifest(entry)})).dfu_package
    assert info is not None
    assert member_image(info.members[0]).kind is ImageKind.MCUBOOT_BOOTLOADER
    assert inspect_bytes(mcuboot(), name).kind is ImageKind.APPLICATION


def test_given_a_member_that_is_no_image_then_it_cannot_be_made_one() -> None:
    info = inspect_bytes(_two({}, {}, b"radio firmware")).dfu_package
    assert info is not None
    with pytest.raises(ImageRefusedError):
        member_image(info.members[1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"no json", "bad-manifest"),
        (b"\xff\xfe", "bad-manifest"),
        (b"[" * 100_000, "bad-manifest"),
        (b" " * 300_000, "bad-manifest"),
        (b"[]", "bad-manifest"),
        (b'{"files": {}}', "bad-manifest"),
        (b'{"files": []}', "bad-manifest"),
        (b'{"format-version": true, "files": []}', "bad-manifest"),
        (b'{"format-version": 2, "files": []}', "bad-manifest"),
        (manifest("a.bin"), "bad-manifest"),  # type: ignore[arg-type]  # on purpose
        (manifest({}), "bad-manifest"),
        (manifest({"file": "a.bin"}, {"file": "a.bin"}), "bad-manifest"),
        (manifest({"file": "a.bin", "image_index": "one"}), "bad-manifest"),
        (manifest({"file": "a.bin", "image_index": -1}), "bad-manifest"),
        (manifest({"file": "a.bin", "load_address": [1]}), "bad-manifest"),
        (manifest({"file": "a.bin", "size": 5}), "wrong-size"),
        (manifest({"file": "b.bin"}), "missing-member"),
        (manifest({"file": "../a.bin"}), "missing-member"),
        (manifest({"file": "manifest.json"}), "missing-member"),
    ],
)
def test_given_a_manifest_that_cannot_be_then_the_package_is_refused(text: bytes, reason: str) -> None:
    files = {"a.bin": mcuboot(), "manifest.json": text}
    assert reason_of(zipped(files, zipfile.ZIP_STORED)) == reason


def test_given_a_broken_image_in_a_package_then_the_refusal_names_the_member() -> None:
    broken = bytearray(mcuboot())
    broken[0x210] ^= 1
    with pytest.raises(ImageRefusedError, match=r"app\.signed\.bin") as refused:
        inspect_bytes(dfu_package(bytes(broken)))
    assert refused.value.reason == "digest-mismatch"


MODEM = {
    "72B3D7C.ipc_dfu.signed_1.1.2.ihex": LOADER,
    "ipc-dfu_nrf91x1_2.0.0.ihex": LOADER,
    "firmware.update.image.segments.0.hex": intel_hex((0x5960_2000, b"meta")),
    "firmware.update.image.digest.txt": DIGESTS,
    "mfw_nrf91x1_2.0.2.cbor": FULL,
    "mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin": DELTA,
    "delta.bin": DELTA,
    "license.txt": b"text",
}


def test_given_a_modem_release_then_roles_versions_and_digests_are_listed() -> None:
    image = inspect_bytes(zipped(MODEM), "release.zip")
    assert (image.kind, image.version) == (ImageKind.MODEM_PACKAGE, "2.0.2")
    info = image.modem_package
    assert info is not None
    assert info.family == "nrf91x1"
    assert [member.role for member in info.members] == [
        ModemRole.LOADER,
        ModemRole.LOADER,
        ModemRole.SEGMENTS,
        ModemRole.DIGESTS,
        ModemRole.FULL,
        ModemRole.DELTA,
        ModemRole.DELTA,
        ModemRole.OTHER,
    ]
    assert [(m.base_version, m.target_version) for m in info.members[5:7]] == [
        ("2.0.1", "2.0.2"),
        (None, None),
    ]
    assert info.ranges == (
        DigestRange(0x6000, 0xFFFF, "ab" * 32),
        DigestRange(0x50000, 0x237FFF, "cd" * 32),
    )


def test_given_a_modem_release_with_a_telling_name_then_the_name_gives_the_version() -> None:
    files = {"firmware.update.image.segments.0.hex": LOADER}
    assert inspect_bytes(zipped(files), "mfw_nrf9160_1.3.5.zip").version == "1.3.5"
    assert inspect_bytes(zipped(files), "x.zip").version is None


def test_given_a_broken_full_image_in_a_modem_release_then_it_is_refused() -> None:
    with pytest.raises(ImageRefusedError, match=r"full\.cbor"):
        inspect_bytes(zipped({"full.cbor": FULL[:-1]}))


# What an archive must not do.


def _rename(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


@pytest.mark.parametrize(
    "name", ["../evil.bin", "a/../../b", "/etc/passwd", "C:/x.bin", "a\\..\\b", "a\nb", "x/.."]
)
def test_given_a_name_that_leads_out_then_the_archive_is_refused(name: str) -> None:
    placeholder = "N" * len(name)
    data = _rename(zipped({placeholder: b"x", "manifest.json": b"{}"}), placeholder.encode(), name.encode())
    assert reason_of(data) == "unsafe-archive"


def test_given_a_name_that_is_cut_at_a_nul_then_the_archive_is_refused() -> None:
    data = _rename(zipped({"aaaaaa": b"x"}), b"aaaaaa", b"a.b\0zz")
    assert reason_of(data) == "unsafe-archive"


@pytest.mark.parametrize("second", ["a.bin", "A.bin"])
def test_given_a_name_twice_then_the_archive_is_refused(second: str) -> None:
    data = _rename(zipped({"a.bin": b"1", "b.bin": b"2"}), b"b.bin", second.encode())
    assert reason_of(data) == "unsafe-archive"


def test_given_a_symbolic_link_then_the_archive_is_refused() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("app.bin")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert reason_of(packed.getvalue()) == "unsafe-archive"


def test_given_a_bomb_then_it_is_refused_without_unpacking() -> None:
    assert reason_of(zipped({"bomb.bin": bytes(50 << 20)})) == "unsafe-archive"


def test_given_too_many_members_then_the_archive_is_refused() -> None:
    assert reason_of(zipped({f"{number}.bin": b"" for number in range(MAX_MEMBERS + 1)})) == "unsafe-archive"


def test_given_too_many_bytes_in_all_then_the_archive_is_refused() -> None:
    data = bytearray(zipped({"a.bin": b"x" * 10, "b.bin": b"y" * 10}, zipfile.ZIP_STORED))
    entry = data.find(b"PK\x01\x02")
    data[entry + 20 : entry + 28] = struct.pack("<II", 1 << 30, MAX_TOTAL_BYTES)
    with pytest.raises(ImageRefusedError, match="unpack to"):
        read_archive(bytes(data))


def test_given_folders_then_they_are_left_out() -> None:
    assert read_archive(zipped({"folder/": b"", "folder/a.bin": b"x"})) == {"folder/a.bin": b"x"}


def test_given_an_encrypted_member_then_the_archive_is_refused() -> None:
    data = bytearray(zipped({"a.bin": b"x"}))
    data[data.find(b"PK\x01\x02") + 8] |= 1
    assert reason_of(bytes(data)) == "unsafe-archive"


def test_given_an_unknown_packing_method_then_the_archive_is_refused() -> None:
    assert reason_of(zipped({"a.bin": b"x" * 100}, zipfile.ZIP_LZMA)) == "unsafe-archive"


def test_given_a_member_whose_declared_size_lies_then_the_archive_is_refused() -> None:
    data = bytearray(zipped({"a.bin": b"x" * 1000}))
    entry = data.find(b"PK\x01\x02")
    for size in (1001, 999):
        data[entry + 24 : entry + 28] = struct.pack("<I", size)
        assert reason_of(bytes(data)) == "bad-archive"


def test_given_bytes_before_or_after_or_missing_then_the_archive_is_refused() -> None:
    data = dfu_package()
    assert reason_of(data + b"\0") == "trailing-bytes"
    for size in range(0, len(data), 7):
        with pytest.raises(ImageRefusedError):
            inspect_bytes(data[:size])


def test_given_a_comment_that_is_cut_off_then_the_archive_is_truncated() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.bin", b"x")
        archive.comment = b"a comment"
    assert reason_of(packed.getvalue()[:-1]) == "truncated"
    assert read_archive(packed.getvalue()) == {"a.bin": b"x"}


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_given_a_damaged_archive_then_its_members_are_right_or_it_is_refused(
    position: int, change: int
) -> None:
    data = bytearray(dfu_package())
    data[position % len(data)] ^= change
    try:
        files = read_archive(bytes(data))
    except ImageRefusedError:
        return
    assert mcuboot() in files.values()
