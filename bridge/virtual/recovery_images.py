"""The image list of MCUboot's serial recovery, and marking images in it.

Source: MCUboot ``boot/boot_serial/src/boot_serial.c`` (``bs_list``, ``bs_set``, ``bs_slot_info``). In most releases marking
means the secondary slot, whatever the digest names: only an application can confirm what it runs. For later ones see
``strict_marks`` of :class:`~bridge.virtual.bootloader_options.BootloaderOptions`.
"""

from collections.abc import Sequence
from typing import Any, Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import ImageFlag, McubootInfo
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.recovery_cbor import ZcborError, decode_map
from bridge.virtual.slot_image import SlotImage
from bridge.virtual.swap_request import request_upgrade, swap_type, write_img_confirmed
from bridge.virtual.trailer import SwapType
from bridge.wire.smp_message import MgmtError

_HASH_BYTES: Final = 32
_BAD_IMAGE: Final = 3
_BAD_VECTOR: Final = 4
"""``BOOT_EBADIMAGE`` and ``BOOT_EBADVECT``, which go out as if they were an ``rc`` of SMP."""


class RecoveryImages:
    """What is in the slots, as far as it is good.

    Args:
        flash: The flash.
        layout: Where the slots are.
        options: Kconfig of MCUboot.
        public_keys_pem: The keys built into it.
    """

    def __init__(
        self, flash: Flash, layout: Layout, options: BootloaderOptions, public_keys_pem: Sequence[bytes]
    ) -> None:
        self._flash = flash
        self._layout = layout
        self._options = options
        self._keys = public_keys_pem
        self._slots = (layout.primary, layout.secondary)

    def read(self) -> dict[str, Any]:
        """The list: only images that pass validation are in it."""
        images = []
        for slot in range(len(self._slots)):
            image = self._valid(slot)
            if image is not None:
                images.append(self._entry(slot, image))
        return {"images": images}

    def write(self, body: bytes) -> dict[str, Any]:
        """Mark an image for the next boot, and answer with the list."""
        if not self._options.image_state:
            return {"rc": int(MgmtError.NOT_SUPPORTED)}
        known: dict[str, type] = {"confirm": bool}
        if self._options.image_hash:
            known["hash"] = bytes
        try:
            keys = decode_map(body, known)
        except ZcborError:
            return {"rc": int(MgmtError.INVALID)}
        digest = keys.get("hash", b"")
        if digest and len(digest) != _HASH_BYTES:
            return {"rc": int(MgmtError.INVALID)}
        digests = [self._digest(slot) for slot in range(len(self._slots))]
        if digest and digest not in digests:
            return {"rc": int(MgmtError.NO_ENTRY)}
        confirm = keys.get("confirm", False)
        if self._options.strict_marks:
            code = self._mark_strictly(digests.index(digest) if digest else None, confirm=confirm)
        else:
            marked = request_upgrade(self._flash, self._layout, permanent=confirm)
            code = MgmtError.OK if marked else _BAD_IMAGE
        return {"rc": int(code)} if code else self.read()

    def _mark_strictly(self, slot: int | None, *, confirm: bool) -> int:
        """What is marked already counts only with a digest; without one the primary slot is marked, as if it waited."""
        kind = swap_type(self._flash, self._layout)
        if slot == 0 and not confirm:
            return MgmtError.INVALID
        if slot is not None and kind in (SwapType.TEST, SwapType.PERM):
            return MgmtError.BAD_STATE
        if kind is SwapType.REVERT and slot == 1:
            return MgmtError.BAD_STATE
        if slot == 0:
            return MgmtError.OK if write_img_confirmed(self._flash, self._layout) else _BAD_VECTOR
        target = self._slots[slot or 0]
        marked = request_upgrade(self._flash, self._layout, permanent=confirm, slot=target)
        return MgmtError.OK if marked else _BAD_IMAGE

    def slot_info(self, max_image_bytes: int | None) -> dict[str, Any]:
        """Sizes of the slots.

        Args:
            max_image_bytes: Largest image that can be swapped, if MCUboot has worked it out at this boot.
        """
        slots = [{"slot": number, "size": slot.size} for number, slot in enumerate(self._slots)]
        if self._options.direct_upload:
            for number, each in enumerate(slots):
                each["upload_image_id"] = number + 1
        elif self._options.strict_marks:
            slots[0]["upload_image_id"] = 0
        else:
            # So it says; such an upload is refused, and one to image 0 lands in slot 0.
            slots[1]["upload_image_id"] = 1
        image: dict[str, Any] = {"image": 0, "slots": slots}
        if max_image_bytes is not None:
            image["max_image_size"] = max_image_bytes
        return {"images": [image]}

    def _valid(self, slot: int) -> McubootInfo | None:
        image = SlotImage(self._flash, self._slots[slot])
        if not image.has_magic:
            return None
        try:
            return image.validate(self._keys)
        except ImageRefusedError:
            return None

    def _digest(self, slot: int) -> bytes | None:
        image = self._valid(slot)
        return None if image is None else bytes.fromhex(image.digest)

    def _entry(self, slot: int, image: McubootInfo) -> dict[str, Any]:
        entry: dict[str, Any] = self._flags(slot, image) if self._options.image_state else {}
        entry["slot"] = slot
        if self._options.image_hash:
            entry["hash"] = bytes.fromhex(image.digest)
        entry["version"] = image.version.replace("+", ".")
        return entry

    def _flags(self, slot: int, image: McubootInfo) -> dict[str, bool]:
        """The flags that are set, in MCUboot's order; "active" is what an application would call it."""
        kind = swap_type(self._flash, self._layout)
        primary = slot == 0
        flags = {
            "bootable": not image.header.flags & ImageFlag.NON_BOOTABLE,
            "confirmed": primary != (kind is SwapType.REVERT),
            "active": primary and kind in (SwapType.NONE, SwapType.REVERT) and not self._options.strict_marks,
            "pending": not primary and kind in (SwapType.TEST, SwapType.PERM),
            "permanent": not primary and kind is SwapType.PERM,
        }
        return {name: True for name, is_set in flags.items() if is_set}
