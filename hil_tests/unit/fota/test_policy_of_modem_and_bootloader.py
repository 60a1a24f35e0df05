"""What is refused before anything is written: modem firmware for another chip, and updates of MCUboot that cannot work."""

import pytest

from bridge.board import BoardIdentity
from bridge.errors import ImageRefusedError
from bridge.fota.policy import Expectations, Policy, check_head
from bridge.image import ImageHead, ImageKind
from bridge.image.model import BootloaderImage

BOARD = BoardIdentity("port", "serial-modem", bootloader_version=3, bootloader_slot=0)


def judge(head: ImageHead, identity: BoardIdentity, order: str | None = None) -> str | list[str]:
    """The reason of the refusal, or the remarks."""
    try:
        return check_head(head, 1000, identity, Expectations(version=order), Policy(strict_version=True))
    except ImageRefusedError as error:
        return error.reason


def modem(name: str, kind: ImageKind = ImageKind.MODEM_FULL, version: str | None = None) -> ImageHead:
    return ImageHead(kind, name, version)


def bootloader(slot: int | None, counter: int | None) -> ImageHead:
    version = None if counter is None else str(counter)
    return ImageHead(
        ImageKind.MCUBOOT_BOOTLOADER, "x.bin", version, bootloader=BootloaderImage(slot, counter)
    )


@pytest.mark.parametrize("kind", [ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE])
@pytest.mark.parametrize(
    ("name", "model", "verdict"),
    [
        ("mfw_nrf91x1_2.0.2.zip", "nRF9151-LACA", []),
        ("mfw_nrf91x1_2.0.2.cbor", "nRF9161-LACA", []),
        ("mfw_nrf91x1_2.0.2.cbor", "nRF9131", []),
        ("mfw_nrf91x1_2.0.2.cbor", "nRF9160-SICA", "wrong-board"),
        ("mfw_nrf9160_1.3.7.zip", "nRF9160-SICA", []),
        ("mfw_nrf9160_1.3.7.zip", "nRF9151-LACA", "wrong-board"),
        ("firmware.update.image.cbor", "nRF9160-SICA", []),  # nobody can tell
        ("mfw_nrf91z9_1.0.0.zip", "nRF9160-SICA", []),  # a family of tomorrow
    ],
)
def test_modem_firmware_is_held_against_the_chip(
    kind: ImageKind, name: str, model: str, verdict: str | list[str]
) -> None:
    assert judge(modem(name, kind), BoardIdentity("port", model=model)) == verdict


def test_a_chip_that_is_not_told_is_remarked_on() -> None:
    remarks = judge(modem("mfw_nrf91x1_2.0.2.cbor"), BoardIdentity("port", modem_bootloader=True))
    assert len(remarks) == 1
    assert "does not tell its chip" in remarks[0]


@pytest.mark.parametrize(
    ("ordered", "verdict"), [("2.0.2", []), ("mfw_nrf91x1_2.0.2", []), ("2.0.3", "version-mismatch")]
)
def test_the_ordered_modem_version_may_be_written_either_way(ordered: str, verdict: str | list[str]) -> None:
    identity = BoardIdentity("port", model="nRF9151-LACA")
    assert judge(modem("mfw_nrf91x1_2.0.2.cbor", version="2.0.2"), identity, ordered) == verdict


@pytest.mark.parametrize(
    ("image", "verdict"),
    [
        (bootloader(1, 4), []),
        (bootloader(1, 3), "counter-not-higher"),
        (bootloader(1, 1), "counter-not-higher"),
        (bootloader(0, 4), "wrong-slot"),
        (bootloader(None, 4), "no-firmware-info"),
        (bootloader(1, None), "no-firmware-info"),
        (ImageHead(ImageKind.MCUBOOT_BOOTLOADER, "x.bin"), "no-firmware-info"),
    ],
)
def test_an_update_of_mcuboot_needs_the_other_slot_and_a_higher_counter(
    image: ImageHead, verdict: str | list[str]
) -> None:
    assert judge(image, BOARD) == verdict


@pytest.mark.parametrize("identity", [BoardIdentity("port"), BoardIdentity("port", bootloader_version=3)])
def test_a_board_that_does_not_tell_its_slot_gets_none(identity: BoardIdentity) -> None:
    assert judge(bootloader(1, 4), identity) == "wrong-board"
