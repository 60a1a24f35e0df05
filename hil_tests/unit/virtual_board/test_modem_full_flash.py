"""The modem's own flash and its bootloader, without a board around them."""

import base64
import hashlib
import json
import zlib

import pytest

from bridge.image.sample_modem import (
    FIRMWARE_HEADER_ADDRESS,
    FIRMWARE_HEADER_BYTES,
    ModemFirmware,
    decode_modem_firmware,
    encode_modem_firmware,
    encode_modem_loader,
    is_modem_loader,
)
from bridge.lab.sample_modem import METADATA_ADDRESS, make_modem_image
from bridge.virtual.modem_bootloader import ModemBootloader
from bridge.virtual.modem_flash import PAGE_BYTES, ModemFlash
from bridge.virtual.modem_nvm import ModemNvm, firmware_uuid

SHORT_PAGE = base64.b64encode(zlib.compress(b"short")).decode()
IMAGE = make_modem_image("2.0.3", "nrf91x1")
DELIVERED = ModemFirmware("nrf91x1", "2.0.2", firmware_uuid("nrf91x1_2.0.2"))
UPDATED = ModemFirmware("nrf91x1", "2.0.3", firmware_uuid("nrf91x1_2.0.3"))


def loaded(flash: ModemFlash) -> ModemBootloader:
    bootloader = ModemBootloader(flash)
    bootloader.begin()
    assert bootloader.write_loader(IMAGE.loader).ok
    assert bootloader.update().ok
    return bootloader


def write_all(bootloader: ModemBootloader, step: int) -> None:
    for address, data in IMAGE.firmware.items():
        for start in range(0, len(data), step):
            assert bootloader.write_firmware(address + start, data[start : start + step]).ok


@pytest.mark.parametrize("step", [328, 4096, 16384])
def test_given_loader_and_firmware_in_pieces_then_the_modem_runs_it(step: int) -> None:
    nvm = ModemNvm()
    assert nvm.firmware == DELIVERED
    bootloader = loaded(nvm.flash)
    write_all(bootloader, step)
    assert bootloader.update().ok
    assert nvm.firmware == UPDATED


def test_given_the_last_piece_is_not_completed_then_the_modem_has_no_firmware_and_a_rerun_repairs_it() -> (
    None
):
    nvm = ModemNvm()
    bootloader = loaded(nvm.flash)
    write_all(bootloader, 4096)
    assert nvm.firmware is None
    bootloader = loaded(nvm.flash)
    write_all(bootloader, 4096)
    bootloader.update()
    assert nvm.firmware == UPDATED


def test_given_only_a_loader_then_the_delivered_firmware_still_runs() -> None:
    nvm = ModemNvm()
    loaded(nvm.flash)
    assert nvm.firmware == DELIVERED


def test_given_the_first_page_of_another_version_then_neither_is_whole() -> None:
    nvm = ModemNvm()
    bootloader = loaded(nvm.flash)
    write_all(bootloader, 4096)
    bootloader.update()
    other = make_modem_image("2.0.4", "nrf91x1").firmware[0x6000]
    assert loaded(nvm.flash).write_firmware(0x6000, other[:PAGE_BYTES]).ok
    assert nvm.firmware is None


def test_a_piece_that_comes_twice_does_no_harm_as_firmware_but_spoils_a_loader() -> None:
    nvm = ModemNvm()
    bootloader = loaded(nvm.flash)
    for address, data in IMAGE.firmware.items():
        for start in range(0, len(data), 4096):
            for _ in range(1 + (start == 4096)):
                assert bootloader.write_firmware(address + start, data[start : start + 4096]).ok
    bootloader.update()
    assert nvm.firmware == UPDATED
    bootloader = ModemBootloader(nvm.flash)
    bootloader.begin()
    bootloader.write_loader(IMAGE.loader[:1000])
    bootloader.write_loader(IMAGE.loader[:1000])
    bootloader.write_loader(IMAGE.loader[1000:])
    assert not bootloader.update().ok


def test_firmware_is_written_8_kb_at_a_time_so_an_error_may_come_late() -> None:
    flash = ModemFlash()
    bootloader = loaded(flash)
    assert bootloader.write_firmware(0x10000, bytes(100)).ok  # between the ranges, but only collected
    assert flash.is_as_delivered
    assert not bootloader.update().ok
    assert bootloader.write_firmware(0x6000, bytes(PAGE_BYTES - 1)).duration_ns == 0
    assert bootloader.write_firmware(0x6000 + PAGE_BYTES - 1, bytes(1)).duration_ns > 0


@pytest.mark.parametrize(
    ("address", "ok"), [(0x6000, True), (0x5000, False), (0x27E000, True), (0x280000, False)]
)
def test_where_firmware_may_be(address: int, ok: bool) -> None:
    assert loaded(ModemFlash()).write_firmware(address, bytes(PAGE_BYTES)).ok is ok


def test_the_metadata_of_a_release_is_taken_and_is_no_firmware() -> None:
    flash = ModemFlash()
    bootloader = loaded(flash)
    bootloader.write_firmware(METADATA_ADDRESS, bytes(2360))
    assert bootloader.update().ok
    assert flash.is_as_delivered


def test_what_is_asked_in_the_wrong_order_is_refused() -> None:
    bootloader = ModemBootloader(ModemFlash())
    assert not bootloader.write_loader(b"x").ok
    assert not bootloader.update().ok
    bootloader.begin()
    assert not bootloader.write_firmware(0x6000, b"x").ok
    assert bootloader.digest(0x6000, 0x7FFF) == (None, 0)
    assert not bootloader.write_loader(bytes(0x10001)).ok
    assert not bootloader.update().ok  # nothing that could be started
    bootloader = loaded(ModemFlash())
    assert not bootloader.write_loader(b"x").ok
    assert not bootloader.write_firmware(0, b"x").ok


def test_digests_are_sha_256_with_the_bytes_of_each_word_reversed() -> None:
    bootloader = loaded(ModemFlash())
    write_all(bootloader, 4096)
    bootloader.update()
    data = IMAGE.firmware[0x6000]
    digest, _ = bootloader.digest(0x6000, 0x6000 + len(data) - 1)
    assert digest is not None
    words = [digest[start : start + 4][::-1] for start in range(0, 32, 4)]
    assert b"".join(words) == hashlib.sha256(data).digest()
    assert bootloader.digest(0xF000, 0x10000) == (None, 0)
    assert bootloader.digest(0x7000, 0x6000) == (None, 0)


def test_given_a_delta_on_top_of_a_full_update_then_the_flash_says_so() -> None:
    nvm = ModemNvm()
    bootloader = loaded(nvm.flash)
    write_all(bootloader, 4096)
    bootloader.update()
    nvm.patch_firmware("2.0.4", firmware_uuid("nrf91x1_2.0.4"))
    assert nvm.firmware == ModemFirmware("nrf91x1", "2.0.4", firmware_uuid("nrf91x1_2.0.4"))
    assert nvm.version == "2.0.2"  # what was delivered no longer counts


def test_the_modem_survives_as_json_and_an_unused_flash_takes_no_room() -> None:
    nvm = ModemNvm()
    assert nvm.to_dict()["flash"] == {}
    bootloader = loaded(nvm.flash)
    write_all(bootloader, 4096)
    bootloader.update()
    again = ModemNvm.from_dict(json.loads(json.dumps(nvm.to_dict())))
    assert again.firmware == UPDATED
    old = nvm.to_dict()
    del old["flash"]
    assert ModemNvm.from_dict(old).firmware == DELIVERED


@pytest.mark.parametrize(
    "pages", [{"0x6000": "AAAA"}, {"0x6001": ""}, {"0x6000": "not base64"}, {"0x6000": SHORT_PAGE}]
)
def test_damaged_pages_are_an_error(pages: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        ModemFlash.from_dict(pages)


def test_every_flipped_bit_of_the_header_is_found() -> None:
    flash = ModemFlash()
    for address, data in IMAGE.firmware.items():
        flash.program(address, data)
    assert decode_modem_firmware(flash.read) == UPDATED
    header = flash.read(FIRMWARE_HEADER_ADDRESS, FIRMWARE_HEADER_BYTES)
    for place in range(0, FIRMWARE_HEADER_BYTES, 7):
        broken = bytearray(header)
        broken[place] ^= 4
        flash.overwrite(FIRMWARE_HEADER_ADDRESS, bytes(broken))
        assert decode_modem_firmware(flash.read) is None


def test_what_no_look_alike_can_be_made_of() -> None:
    with pytest.raises(ValueError, match="header"):
        encode_modem_firmware(UPDATED, {FIRMWARE_HEADER_ADDRESS: b"x"})
    with pytest.raises(ValueError, match="ranges"):
        encode_modem_firmware(UPDATED, {0x6000 + number: b"x" for number in range(9)})
    with pytest.raises(ValueError, match="fit"):
        encode_modem_firmware(ModemFirmware("nrf91x1", "2" * 32, UPDATED.modem_uuid), {})
    loader = encode_modem_loader(b"payload")
    assert is_modem_loader(loader)
    assert not is_modem_loader(loader[:-1])
    assert not is_modem_loader(b"short")
