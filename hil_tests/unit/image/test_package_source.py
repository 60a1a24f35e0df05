"""Images out of packages: which one is meant, and what the package knows of it that the image does not."""

from typing import Any

import pytest

from bridge.errors import ImageRefusedError
from bridge.image import ImageKind
from bridge.image.package_source import application_image, choose, for_slot, unpack
from hil_tests.unit.image.build import DELTA, dfu_package, intel_hex, manifest, mcuboot, modem_full, zipped

S0, S1 = "signed_by_mcuboot_and_b0_mcuboot.bin", "signed_by_mcuboot_and_b0_s1_image.bin"
FULL = modem_full(100, 200)
DIGESTS = b"Range: 0x00050000--0x000500C7 SHA256: %s\n" % (b"ab" * 32)


def fw_info(counter: int, offset: int = 0x200, magic: str = "dee61e284cbbce8f025b0000") -> bytes:
    """A payload with firmware information, by the layout of sdk-nrf's fw_info_bare.h."""
    numbers = [0x3C, 0x800, counter, 0x8200, 0x8200, 0x9102FFFF, *[0] * 6]
    info = bytes.fromhex(magic) + b"".join(number.to_bytes(4, "little") for number in numbers)
    return (bytes(offset) + info).ljust(0x1800, b"\0")


def package(*members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    entries = [{"file": name, **entry} for name, _, entry in members]
    return zipped({**{name: data for name, data, _ in members}, "manifest.json": manifest(*entries)})


def bootloaders(**extra: Any) -> bytes:
    return package(
        (S0, mcuboot(fw_info(7)), {"type": "mcuboot", **extra}),
        (S1, mcuboot(fw_info(7, 0x400)), {"type": "mcuboot", **extra}),
    )


def refusal(data: bytes, member: str | None = None, image_index: int = 0) -> ImageRefusedError:
    with pytest.raises(ImageRefusedError) as refused:
        choose(unpack(data, "package.zip"), member, image_index)
    return refused.value


# --- builds ------------------------------------------------------------------------------------------------


def test_the_application_of_a_build_is_taken_and_its_head_is_the_image_s() -> None:
    (packed,) = choose(unpack(dfu_package(), "dfu_application.zip"))
    assert (packed.file, packed.data) == ("app.signed.bin", mcuboot())
    head = packed.head
    assert (head.kind, head.name, head.version) == (ImageKind.APPLICATION, "app.signed.bin", "1.2.3")
    assert head.mcuboot is not None


def test_the_application_is_preferred_to_mcuboot_beside_it_which_can_be_asked_for() -> None:
    both = package(("app.bin", mcuboot(), {}), (S1, mcuboot(fw_info(3)), {"type": "mcuboot"}))
    assert [each.file for each in choose(unpack(both, "x.zip"))] == ["app.bin"]
    (asked,) = choose(unpack(both, "x.zip"), S1)
    assert asked.image.kind is ImageKind.MCUBOOT_BOOTLOADER


def test_the_image_for_another_image_number_is_taken_when_that_is_to_be_replaced() -> None:
    both = package(("app.bin", mcuboot(), {}), ("net.bin", mcuboot(b"net" * 99), {"image_index": "1"}))
    assert [each.file for each in choose(unpack(both, "x.zip"), None, 1)] == ["net.bin"]
    assert refusal(both, None, 2).reason == "no-image"
    assert refusal(both, "net.bin").reason == "no-image"


def test_a_member_that_is_not_there_is_refused_with_what_is() -> None:
    error = refusal(dfu_package(), "other.bin")
    assert error.reason == "no-image"
    assert "app.signed.bin" in error.message
    assert "--member" in (error.hint or "")


def test_several_images_of_a_kind_are_refused_with_the_way_out() -> None:
    error = refusal(package(("a.bin", mcuboot(), {}), ("b.bin", mcuboot(), {})))
    assert error.reason == "ambiguous-package"
    assert "a.bin, b.bin" in error.message


def test_an_application_image_is_only_ever_an_application() -> None:
    assert application_image(dfu_package())[1] == mcuboot()
    for data, reason in ((bootloaders(), "no-image"), (zipped({"m.cbor": FULL}), "no-image")):
        with pytest.raises(ImageRefusedError) as refused:
            application_image(data)
        assert refused.value.reason == reason


# --- MCUboot itself ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 0x200, 0x400, 0x600, 0x800, 0xE00, 0x1000])
def test_slot_and_counter_of_mcuboot_s_images_are_read(offset: int) -> None:
    data = package((S1, mcuboot(fw_info(9, offset)), {"type": "mcuboot"}))
    (packed,) = choose(unpack(data, "dfu_mcuboot.zip"))
    assert packed.head.bootloader is not None
    assert (packed.head.bootloader.slot, packed.head.bootloader.counter) == (1, 9)
    assert (packed.head.version, packed.image.version) == ("9", "9")


@pytest.mark.parametrize(
    ("name", "entry", "slot"),
    [
        (S0, {}, 0),
        (S1, {}, 1),
        ("signed_by_mcuboot_and_b0_mcuboot_s1_variant.bin", {}, 1),
        ("signed_by_mcuboot_and_b0_s0_image_update.bin", {}, 0),
        ("signed_by_mcuboot_and_b0_s1_image_update.bin", {}, 1),
        ("serial_modem_mcuboot_s1.signed.bin", {}, 1),
        ("x.bin", {"type": "mcuboot", "slot": "1"}, 1),
        ("x.bin", {"type": "mcuboot", "slot": 0}, 0),
        ("x.bin", {"type": "mcuboot"}, None),
    ],
)
def test_the_manifest_tells_the_slot_or_else_the_name_does(
    name: str, entry: dict[str, Any], slot: int | None
) -> None:
    (packed,) = choose(unpack(package((name, mcuboot(fw_info(2)), entry)), "x.zip"))
    assert packed.image.kind is ImageKind.MCUBOOT_BOOTLOADER
    assert packed.image.bootloader is not None
    assert packed.image.bootloader.slot == slot


@pytest.mark.parametrize(
    "payload",
    [
        b"no firmware information" * 300,
        fw_info(2, 0x300),
        fw_info(2, magic="dee61e28000000000000000000000000"[:24]),
    ],
)
def test_an_image_without_firmware_information_has_no_counter(payload: bytes) -> None:
    (packed,) = choose(unpack(package((S1, mcuboot(payload), {})), "x.zip"))
    assert packed.image.bootloader is not None
    assert (packed.image.bootloader.counter, packed.head.version) == (None, None)


@pytest.mark.parametrize(("active", "taken"), [(0, S1), (1, S0), (None, S0)])
def test_of_a_pair_the_one_for_the_inactive_slot_is_taken(active: int | None, taken: str) -> None:
    candidates = choose(unpack(bootloaders(), "dfu_mcuboot.zip"))
    assert len(candidates) == 2
    assert for_slot(candidates, active).file == taken


def test_two_images_for_the_same_slot_are_no_pair() -> None:
    data = package(
        (S0, mcuboot(), {"type": "mcuboot", "slot": 1}), (S1, mcuboot(), {"type": "mcuboot", "slot": 1})
    )
    assert refusal(data).reason == "ambiguous-package"


# --- modem releases ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["mfw_nrf91x1_2.0.2.cbor", "firmware.update.image.cbor"])
def test_full_firmware_is_taken_with_the_version_and_the_digests_of_the_release(member: str) -> None:
    files = {"x.ihex": intel_hex((0, b"x")), member: FULL, "f.digest.txt": DIGESTS, "readme.md": b"hi"}
    (packed,) = choose(unpack(zipped(files), "mfw_nrf91x1_2.0.2.zip"))
    head = packed.head
    assert (head.kind, head.version) == (ImageKind.MODEM_FULL, "2.0.2")
    assert "mfw_nrf91x1_2.0.2" in head.name
    assert head.modem_full is not None
    (only,) = head.modem_full.ranges
    assert (only.first_address, only.last_address, only.sha256) == (0x50000, 0x500C7, "ab" * 32)
    assert packed.data == FULL


def test_a_delta_is_taken_where_there_is_nothing_else_or_where_it_is_asked_for() -> None:
    delta = "mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin"
    (packed,) = choose(unpack(zipped({delta: DELTA}), "x.zip"))
    assert (packed.head.kind, packed.head.base_version) == (ImageKind.MODEM_DELTA, "2.0.1")
    both = unpack(zipped({delta: DELTA, "m.cbor": FULL}), "mfw_nrf91x1_2.0.2.zip")
    assert choose(both)[0].image.kind is ImageKind.MODEM_FULL
    assert choose(both, delta)[0].image.kind is ImageKind.MODEM_DELTA


def test_a_release_for_programmers_only_is_refused() -> None:
    files = {"72B3D7C.ipc_dfu.signed_1.1.2.ihex": intel_hex((0, b"x")), "f.digest.txt": DIGESTS}
    error = refusal(zipped(files))
    assert error.reason == "no-image"
    assert "other package" in (error.hint or "")


def test_an_archive_of_something_else_is_no_package() -> None:
    with pytest.raises(ImageRefusedError) as refused:
        unpack(zipped({"a.txt": b"hello"}), "x.zip")
    assert refused.value.reason == "not-an-image"
