"""What a board model is, as plain data: where its flash keeps what, and by what names its parts are known.

Sources: ncs-serial-modem ``app/sysbuild/mcuboot/boards/nrf9151dk_nrf9151.overlay`` (partitions of the Serial Modem
build on nRF9151 DK); Zephyr ``dts/common/nordic/nrf91xx_partition.dtsi`` (the other DKs); NCS
``boards/nordic/thingy91`` (``pm_static``). USB ids from udev listings of real boards.
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import UsageError

FLASH_BYTES: Final = 0x100000


@dataclass(frozen=True)
class Slot:
    """An image slot, or another partition.

    Attributes:
        address: First byte in flash.
        size: Size in bytes.
    """

    address: int
    size: int

    @property
    def end(self) -> int:
        """First byte after the slot."""
        return self.address + self.size


@dataclass(frozen=True)
class Layout:
    """The internal flash of one board model.

    Attributes:
        model: Name of the board.
        flash_size: Size of the internal flash in bytes.
        primary: Slot that the application runs from. Swap using move wants it one page larger than the other.
        secondary: Slot that an update is written to.
        bootloader_slots: The two slots of MCUboot itself (s0, s1), where an immutable bootloader comes first.
        storage: Settings of the application.
    """

    model: str
    flash_size: int
    primary: Slot
    secondary: Slot
    bootloader_slots: tuple[Slot, Slot] | None = None
    storage: Slot | None = None


@dataclass(frozen=True)
class BoardModel:
    """A board that one can buy.

    Attributes:
        name: As Zephyr names it, without the SoC.
        soc: The SoC.
        modem_model: What ``AT+CGMM`` says.
        hardware_version: What ``AT%HWVERSION`` says.
        usb_vendor_id: Of its debugger or USB bridge.
        usb_product_id: Of the same; DKs with another debugger firmware differ.
        layout: Its flash; None where the secondary slot is not in internal flash.
    """

    name: str
    soc: str
    modem_model: str
    hardware_version: str
    usb_vendor_id: int
    usb_product_id: int
    layout: Layout | None


_SEGGER: Final = 0x1366
_NORDIC: Final = 0x1915


def _zephyr_default(model: str) -> Layout:
    # The secure and the non-secure half of each slot together; equal slots, so the largest image is a page smaller.
    return Layout(
        model, FLASH_BYTES, Slot(0x10000, 0x70000), Slot(0x80000, 0x70000), storage=Slot(0xF8000, 0x8000)
    )


BOARD_MODELS: Final = {
    model.name: model
    for model in (
        BoardModel(
            "nrf9151dk",
            "nRF9151",
            "nRF9151-LACA",
            "nRF9151 LACA ADA",
            _SEGGER,
            0x1059,
            Layout(
                "nrf9151dk",
                FLASH_BYTES,
                primary=Slot(0x20000, 0x6F000),
                secondary=Slot(0x8F000, 0x6E000),
                bootloader_slots=(Slot(0x8000, 0xC000), Slot(0x14000, 0xC000)),
                storage=Slot(0xFD000, 0x3000),
            ),
        ),
        BoardModel(
            "nrf9161dk",
            "nRF9161",
            "nRF9161-LACA",
            "nRF9161 LACA A0A",
            _SEGGER,
            0x1059,
            _zephyr_default("nrf9161dk"),
        ),
        BoardModel(
            "nrf9160dk",
            "nRF9160",
            "nRF9160-SICA",
            "nRF9160 SICA B0A",
            _SEGGER,
            0x1055,
            _zephyr_default("nrf9160dk"),
        ),
        BoardModel(
            "thingy91",
            "nRF9160",
            "nRF9160-SICA",
            "nRF9160 SICA B0A",
            _NORDIC,
            0x9100,
            Layout(
                "thingy91",
                FLASH_BYTES,
                primary=Slot(0xC000, 0x69000),
                secondary=Slot(0x75000, 0x69000),
                storage=Slot(0xFE000, 0x2000),
            ),
        ),
        BoardModel("thingy91x", "nRF9151", "nRF9151-LACA", "nRF9151 LACA ADA", _NORDIC, 0x910A, None),
    )
}
"""Every model that is known. The modem's texts are sure for nRF9160 and from few captures for the others; which of
its debugger's product ids a DK shows depends on its age."""

VIRTUAL_MODELS: Final = ("nrf9151dk",)
"""Models that there is a virtual board of; the others wait for their applications."""


def board_model(name: str) -> BoardModel:
    """A board model by name.

    Raises:
        UsageError: There is no virtual board of that name.
    """
    if name not in VIRTUAL_MODELS:
        raise UsageError(
            f"there is no virtual board {name}",
            reason="unknown-model",
            hint=f"Known: {', '.join(VIRTUAL_MODELS)}.",
        )
    return BOARD_MODELS[name]


def layout_of(model: str) -> Layout:
    """The layout of a board model.

    Raises:
        UsageError: There is no such virtual board.
    """
    layout = board_model(model).layout
    assert layout is not None
    return layout
