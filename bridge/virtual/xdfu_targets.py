"""Where ``#XDFU`` data goes: the secondary slot, the modem's delta area, or the modem's own flash.

Sources: ncs-serial-modem ``app/src/sm_at_dfu.c``; NCS ``dfu_target_mcuboot.c`` and ``dfu_target_modem_delta.c``.
Applications and MCUboot itself take the very same way, into the secondary slot: only the bootloader tells them apart.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Final, Protocol

from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.mcuboot import request_upgrade
from bridge.virtual.modem import Modem
from bridge.virtual.modem_delta import AREA_BYTES
from bridge.virtual.settings import Settings
from bridge.virtual.slot_stream import SlotStream

BOOTLOADER_MODE_SETTING: Final = "sm/bootloader_mode_requested"
SEGMENT_SETTING: Final = "sm/full_mfw_dfu_segment_type"
_INT_BYTES: Final = 4


class Segment(IntEnum):
    """What a full update of the modem writes next."""

    BOOTLOADER = 0
    FIRMWARE = 1


class XdfuTarget(Protocol):
    """One kind of destination."""

    def begin(self, size_bytes: int | None) -> bool:
        """Prepare for an image."""

    def writer(self, address: int) -> Callable[[bytes], bool]:
        """What takes the bytes of one ``#XDFUWRITE``."""

    def apply(self) -> bool:
        """Finish, and schedule what was written."""


class SlotTarget:
    """The secondary slot.

    Args:
        flash: The internal flash.
        layout: Where the slot is.
    """

    def __init__(self, flash: Flash, layout: Layout) -> None:
        self._flash = flash
        self._layout = layout
        self._stream: SlotStream | None = None

    def begin(self, size_bytes: int | None) -> bool:
        """Start over; a size that does not fit is refused."""
        slot = self._layout.secondary
        if size_bytes is None or size_bytes > slot.size:
            return False
        self._stream = SlotStream(self._flash, slot.address, slot.size)
        return True

    def writer(self, address: int) -> Callable[[bytes], bool]:
        """Appends, whatever the address."""
        return lambda data: self._stream is not None and self._stream.write(data)

    def apply(self) -> bool:
        """Mark the slot for a test at the next reset."""
        if self._stream is None:
            return False
        self._stream.flush()
        self._stream.erase_last_page()
        return request_upgrade(self._flash, self._layout, permanent=False)


class DeltaTarget:
    """The modem's area for delta updates.

    Args:
        modem: The modem.
    """

    def __init__(self, modem: Modem) -> None:
        self._modem = modem

    def begin(self, size_bytes: int | None) -> bool:
        """Erase the area if it is dirty, which takes its time."""
        if size_bytes is None or size_bytes > AREA_BYTES:
            return False
        return self._modem.step(self._modem.delta.erase())

    def writer(self, address: int) -> Callable[[bytes], bool]:
        """Appends, whatever the address."""
        return lambda data: self._modem.step(self._modem.delta.write(data))

    def apply(self) -> bool:
        """Let the next start of the modem apply it."""
        return self._modem.step(self._modem.delta.schedule())


class FullModemTarget:
    """The modem's own flash, with a loader first. What comes next is a setting, so it outlives a reset.

    Args:
        modem: The modem.
        settings: The application's settings.
    """

    def __init__(self, modem: Modem, settings: Settings) -> None:
        self._modem = modem
        self._settings = settings

    @property
    def segment(self) -> Segment:
        """What is written next."""
        value = self._settings.load().get(SEGMENT_SETTING, b"")
        known = len(value) == _INT_BYTES and value[0] == Segment.FIRMWARE
        return Segment.FIRMWARE if known else Segment.BOOTLOADER

    def begin(self, size_bytes: int | None) -> bool:
        """Ask for bootloader mode at the next start, and for a loader first."""
        self._settings.save(BOOTLOADER_MODE_SETTING, b"\1")
        self._expect(Segment.BOOTLOADER)
        return True

    def writer(self, address: int) -> Callable[[bytes], bool]:
        """Appends to the loader, or writes firmware from ``address`` on."""
        if self.segment is Segment.BOOTLOADER:
            return lambda data: self._modem.step(self._modem.bootloader.write_loader(data))
        return _FirmwareWriter(self._modem, address)

    def apply(self) -> bool:
        """Start the loader, or complete the firmware."""
        if not self._modem.step(self._modem.bootloader.update()):
            return False
        done = self.segment
        self._expect(Segment.FIRMWARE if done is Segment.BOOTLOADER else Segment.BOOTLOADER)
        return True

    def _expect(self, segment: Segment) -> None:
        self._settings.save(SEGMENT_SETTING, segment.to_bytes(_INT_BYTES, "little"))


class _FirmwareWriter:
    """Writes one run of firmware; a piece that fails does not move the address on."""

    def __init__(self, modem: Modem, address: int) -> None:
        self._modem = modem
        self._address = address

    def __call__(self, data: bytes) -> bool:
        ok = self._modem.step(self._modem.bootloader.write_firmware(self._address, data))
        if ok:
            self._address += len(data)
        return ok
