"""Image upload in MCUboot's serial recovery: nothing is checked, and the offset in the answer rules.

Source: MCUboot ``boot/boot_serial/src/boot_serial.c`` (``bs_upload``, ``erase_range``). ``sha`` and ``upgrade`` are not
even looked at. What is known of an upload is in RAM, and says neither which image it was.
"""

from typing import Any, Final

from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.flash import ERASED, PAGE_BYTES, Flash
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.recovery_cbor import ZcborError, decode_map
from bridge.virtual.trailer import Trailer
from bridge.wire.smp_message import MgmtError

_UNSET: Final = 0xFFFFFFFF
_KEYS: Final[dict[str, type]] = {"image": int, "data": bytes, "len": int, "off": int}


class RecoveryUpload:
    """The upload that goes on, or went on.

    Args:
        flash: The flash.
        layout: Where the slots are.
        options: Kconfig of MCUboot.
    """

    def __init__(self, flash: Flash, layout: Layout, options: BootloaderOptions) -> None:
        self._flash = flash
        self._layout = layout
        self._options = options
        self._image = 0
        self._size_bytes = 0
        self._offset = 0
        self._not_yet_erased = 0

    def request(self, body: bytes) -> dict[str, Any]:
        """Take one request; the answer is ``rc``, and ``off`` if that is 0."""
        try:
            self._take(decode_map(body, _KEYS))
        except (ZcborError, _InvalidError):
            return {"rc": int(MgmtError.INVALID)}
        return {"rc": 0, "off": self._offset}

    def _take(self, keys: dict[str, Any]) -> None:
        data, offset = keys.get("data"), keys.get("off", _UNSET)
        if data is None or offset == _UNSET:
            raise _InvalidError
        if offset == 0:
            self._image = keys.get("image", 0)
        slot = self._slot(self._image)
        if offset == 0:
            self._begin(slot, keys.get("len", _UNSET))
        elif offset != self._offset:
            return
        elif self._offset + len(data) > self._size_bytes:
            raise _InvalidError
        self._store(slot, data)

    def _slot(self, image: int) -> Slot:
        slots = {0: self._layout.primary}
        if self._options.direct_upload:
            slots |= {1: self._layout.primary, 2: self._layout.secondary}
        if image not in slots:
            raise _InvalidError
        return slots[image]

    def _begin(self, slot: Slot, size_bytes: int) -> None:
        self._offset = 0
        if size_bytes > slot.size:
            raise _InvalidError
        if self._options.progressive_erase:
            self._not_yet_erased = 0
        else:
            self._flash.erase(slot.address, slot.size)
        self._size_bytes = size_bytes

    def _store(self, slot: Slot, data: bytes) -> None:
        self._make_room(slot, len(data))
        unit = self._flash.device(slot.address).write_bytes
        rest = len(data) % unit
        whole = len(data) - rest
        if self._offset + len(data) < self._size_bytes:
            rest = 0  # the host is asked for these bytes again
        padded = data[: whole + rest] + bytes([ERASED]) * (-rest % unit)
        if self._offset + len(padded) > slot.size:
            raise _InvalidError
        if padded:
            self._flash.write(slot.address + self._offset, padded)
        self._offset += whole + rest
        if self._offset == self._size_bytes and self._options.progressive_erase:
            # The page in which the swap status begins, even if the image has been written into it just now.
            self._flash.erase(Trailer(self._flash, slot).first_page)

    def _make_room(self, slot: Slot, size_bytes: int) -> None:
        if not self._options.progressive_erase:
            return
        last = self._offset + size_bytes - 1
        if last >= slot.size:
            raise _InvalidError
        while self._not_yet_erased <= last:
            self._flash.erase(slot.address + self._not_yet_erased)
            self._not_yet_erased += PAGE_BYTES


class _InvalidError(Exception):
    """The request is answered with "invalid"."""
