"""What a board model is, as plain data: where its flash keeps what, and by what names its parts are known.

Sources: ncs-serial-modem ``app/sysbuild/mcuboot/boards/nrf9151dk_nrf9151.overlay`` (partitions of the Serial Modem
build on nRF9151 DK); Zephyr ``dts/common/nordic/nrf91xx_partition.dtsi`` (the other DKs); NCS
``boards/nordic/thingy91`` and ``thingy91x`` (``pm_static``), ``boot/zephyr/boards/thingy91_nrf9160.conf`` and
ncs-serial-modem ``app/sysbuild/mcuboot/boards/thingy91x_nrf9151.conf`` (``BOOT_MAX_IMG_SECTORS``); ``hw-flow-control``
in the boards' overlays of ncs-serial-modem. USB ids from udev listings of real boards.
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import UsageError
from bridge.virtual.flash import Flash, external_flash

FLASH_BYTES: Final = 0x100000
EXTERNAL_ADDRESS: Final = FLASH_BYTES
"""Where external flash is in the board's address map here; in hardware it is behind SPI and has none."""
MAX_IMAGE_PAGES: Final = 128
"""``BOOT_MAX_IMG_SECTORS``, the default of MCUboot's Kconfig and of imgtool."""


@dataclass(frozen=True)
class Slot:
    """An image slot, or another partition.

    Attributes:
        address: First byte in flash.
        size: Size in bytes.
        max_pages: ``BOOT_MAX_IMG_SECTORS`` of the MCUboot that swaps it: sets the size of its trailer.
    """

    address: int
    size: int
    max_pages: int = MAX_IMAGE_PAGES

    @property
    def device(self) -> str:
        """Which flash it is in: ``internal``, or ``external``."""
        return "external" if self.address >= EXTERNAL_ADDRESS else "internal"

    @property
    def end(self) -> int:
        """First byte after the slot."""
        return self.address + self.size


@dataclass(frozen=True)
class Layout:
    """The flash of one board model.

    Attributes:
        model: Name of the board.
        flash_size: Size of the internal flash in bytes.
        primary: Slot that the application runs from. Swap using move wants it one page larger than the other.
        secondary: Slot that an update is written to.
        bootloader_slots: The two slots of MCUboot itself (s0, s1), where an immutable bootloader comes first.
        storage: Settings of the application.
        external_size: Size of the part of an external flash that has partitions, in bytes.
    """

    model: str
    flash_size: int
    primary: Slot
    secondary: Slot
    bootloader_slots: tuple[Slot, Slot] | None = None
    storage: Slot | None = None
    external_size: int = 0

    @property
    def total_size(self) -> int:
        """Size of all flash in bytes."""
        return self.flash_size + self.external_size

    def make_flash(self, content: bytes | None = None) -> Flash:
        """The board's flash chips, with what they hold."""
        external = external_flash(self.flash_size, self.external_size) if self.external_size else None
        return Flash(self.flash_size, content, external=external)


@dataclass(frozen=True)
class BoardModel:
    """A board that one can buy.

    Attributes:
        name: As Zephyr names it, without the SoC.
        soc: The SoC.
        modem_model: What ``AT+CGMM`` says.
        hardware_version: What ``AT%HWVERSION`` says.
        modem_family: Part of its modem firmware's names.
        modem_version: Modem firmware of a fresh board.
        usb_vendor_id: Of its debugger or USB bridge.
        usb_product_id: Of the same; DKs with another debugger firmware differ.
        flow_control: Its UART 0 has RTS/CTS.
        layout: Its flash.
    """

    name: str
    soc: str
    modem_model: str
    hardware_version: str
    modem_family: str
    modem_version: str
    usb_vendor_id: int
    usb_product_id: int
    flow_control: bool
    layout: Layout


_SEGGER: Final = 0x1366
_NORDIC: Final = 0x1915
_NRF9160: Final = ("nRF9160", "nRF9160-SICA", "nRF9160 SICA B0A", "nrf9160", "1.3.5")
_NRF9161: Final = ("nRF9161", "nRF9161-LACA", "nRF9161 LACA A0A", "nrf91x1", "2.0.2")
_NRF9151: Final = ("nRF9151", "nRF9151-LACA", "nRF9151 LACA ADA", "nrf91x1", "2.0.2")


def _zephyr_default(model: str) -> Layout:
    # The secure and the non-secure half of each slot together; equal slots, so the largest image is a page smaller.
    return Layout(
        model, FLASH_BYTES, Slot(0x10000, 0x70000), Slot(0x80000, 0x70000), storage=Slot(0xF8000, 0x8000)
    )


_NRF9151DK: Final = Layout(
    "nrf9151dk",
    FLASH_BYTES,
    primary=Slot(0x20000, 0x6F000),
    secondary=Slot(0x8F000, 0x6E000),
    bootloader_slots=(Slot(0x8000, 0xC000), Slot(0x14000, 0xC000)),
    storage=Slot(0xFD000, 0x3000),
)
# Between the slots and the storage the factory's file keeps a scratch area, which swap using move leaves alone.
_THINGY91: Final = Layout(
    "thingy91",
    FLASH_BYTES,
    primary=Slot(0xC000, 0x69000, max_pages=256),
    secondary=Slot(0x75000, 0x69000, max_pages=256),
    storage=Slot(0xFE000, 0x2000),
)
# Behind the secondary slot: room for a full modem image (4 MB), then the settings.
_THINGY91X: Final = Layout(
    "thingy91x",
    FLASH_BYTES,
    primary=Slot(0x30000, 0xD0000, max_pages=512),
    secondary=Slot(EXTERNAL_ADDRESS, 0xD0000, max_pages=512),
    bootloader_slots=(Slot(0x8000, 0x14000), Slot(0x1C000, 0x14000)),
    storage=Slot(EXTERNAL_ADDRESS + 0x4D0000, 0x2000),
    external_size=0x4D2000,
)

BOARD_MODELS: Final = {
    model.name: model
    for model in (
        BoardModel("nrf9151dk", *_NRF9151, _SEGGER, 0x1059, flow_control=True, layout=_NRF9151DK),
        BoardModel(
            "nrf9161dk", *_NRF9161, _SEGGER, 0x1059, flow_control=True, layout=_zephyr_default("nrf9161dk")
        ),
        BoardModel(
            "nrf9160dk", *_NRF9160, _SEGGER, 0x1055, flow_control=True, layout=_zephyr_default("nrf9160dk")
        ),
        BoardModel("thingy91", *_NRF9160, _NORDIC, 0x9100, flow_control=False, layout=_THINGY91),
        BoardModel("thingy91x", *_NRF9151, _NORDIC, 0x910A, flow_control=False, layout=_THINGY91X),
    )
}
"""Every model that is known. The modem's texts are sure for nRF9160 and from few captures for the others; which of
its debugger's product ids a DK shows depends on its age."""


def board_model(name: str) -> BoardModel:
    """A board model by name.

    Raises:
        UsageError: There is no virtual board of that name.
    """
    if name not in BOARD_MODELS:
        raise UsageError(
            f"there is no virtual board {name}",
            reason="unknown-model",
            hint=f"Known: {', '.join(BOARD_MODELS)}.",
        )
    return BOARD_MODELS[name]


def layout_of(model: str) -> Layout:
    """The layout of a board model.

    Raises:
        UsageError: There is no such virtual board.
    """
    return board_model(model).layout
