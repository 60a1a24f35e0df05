"""SMP image state: what is in the slots, and marking an image for test or for good.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt_state.c`` and ``img_mgmt.c`` (``img_mgmt_read_info``: header
and digest are read, nothing is verified).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import ImageFlag, TlvType
from bridge.image.mcuboot_format import TLV_INFO_BYTES, parse_tlvs
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.slot_image import SlotImage
from bridge.virtual.smp_errors import ImageError, SmpRefusal
from bridge.virtual.swap_request import request_upgrade, swap_type, write_img_confirmed
from bridge.virtual.trailer import SwapType
from bridge.wire.smp_message import MgmtError

_HASH_BYTES: Final = 32


@dataclass(frozen=True)
class SlotContent:
    """What the server reads of an image.

    Attributes:
        version: As SMP writes it: the build number only if it is not 0, behind a dot.
        digest: Image digest from its TLV.
        bootable: It is meant to be booted.
    """

    version: str
    digest: bytes
    bootable: bool


def slot_content(flash: Flash, slot: Slot) -> SlotContent | None:
    """The image in a slot, or None when there is none or its digest cannot be found."""
    image = SlotImage(flash, slot)
    try:
        header, size = image.header, image.size_bytes()
        start = header.hashed_size_bytes + TLV_INFO_BYTES
        entries = parse_tlvs(flash.read(slot.address + start, size - start), start)
    except (ImageRefusedError, ValueError):
        return None
    digest = next((tlv.data for tlv in entries if tlv.type == TlvType.SHA256), None)
    if digest is None:
        return None
    bootable = not header.flags & ImageFlag.NON_BOOTABLE
    return SlotContent(header.version.replace("+", "."), digest, bootable)


class ImageStates:
    """The image list of a board with one image and two slots.

    Args:
        flash: The flash.
        layout: Where the slots are.
        frugal: Flags that are not set are left out of the list.
    """

    def __init__(self, flash: Flash, layout: Layout, *, frugal: bool = False) -> None:
        self._frugal = frugal
        self._flash = flash
        self._layout = layout
        self._slots = (layout.primary, layout.secondary)

    @property
    def secondary_in_use(self) -> bool:
        """Whether the secondary slot must not be touched: its image is pending, or is the one to revert to."""
        return swap_type(self._flash, self._layout) is not SwapType.NONE

    def read(self) -> dict[str, Any]:
        """Answer to a state read."""
        images: list[dict[str, Any]] = []
        for number, slot in enumerate(self._slots):
            content = slot_content(self._flash, slot)
            if content is None:
                continue
            flags = {"bootable": content.bootable, **self._flags(number)}
            if self._frugal:
                flags = {name: True for name, is_set in flags.items() if is_set}
            images.append({"slot": number, "version": content.version, "hash": content.digest, **flags})
        return {"images": images} if self._frugal else {"images": images, "splitStatus": 0}

    def holds_image(self, slot: int) -> bool:
        """Whether header and digest of an image can be read from a slot."""
        return slot_content(self._flash, self._slots[slot]) is not None

    def write(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Mark an image, and answer with the new list.

        Raises:
            SmpRefusal: It cannot be.
        """
        confirm, digest = body.get("confirm", False), body.get("hash", b"")
        if not isinstance(confirm, bool) or not isinstance(digest, bytes):
            raise SmpRefusal(MgmtError.INVALID)
        if not digest and not confirm:
            raise SmpRefusal(ImageError.INVALID_HASH)
        self._set_next(self._slot_of(digest) if digest else 0, confirm=confirm)
        return self.read()

    def _slot_of(self, digest: bytes) -> int:
        if len(digest) != _HASH_BYTES:
            raise SmpRefusal(ImageError.INVALID_HASH)
        for number, slot in enumerate(self._slots):
            content = slot_content(self._flash, slot)
            if content is not None and content.digest == digest:
                return number
        raise SmpRefusal(ImageError.HASH_NOT_FOUND)

    def _set_next(self, slot: int, *, confirm: bool) -> None:
        """``img_mgmt_set_next_boot_slot``: what is pending cannot be changed, only asked for again."""
        kind = swap_type(self._flash, self._layout)
        if slot == 0 and not confirm:
            raise SmpRefusal(ImageError.IMAGE_SETTING_TEST_TO_ACTIVE_DENIED)
        if kind is SwapType.NONE:
            asked_again = slot == 0
        elif kind is SwapType.REVERT and slot == 0:
            asked_again = False
        else:
            # The secondary image is pending, or is the one to go back to, for which only a confirmation makes sense.
            asked_again = slot == 1 and confirm == (kind is not SwapType.TEST)
            if not asked_again:
                raise SmpRefusal(ImageError.IMAGE_ALREADY_PENDING)
        if not asked_again:
            self._write(slot, permanent=confirm)

    def _write(self, slot: int, *, permanent: bool) -> None:
        """``boot_set_next``."""
        if slot == 0 and not write_img_confirmed(self._flash, self._layout):
            raise SmpRefusal(ImageError.INVALID_IMAGE_VECTOR_TABLE)
        if slot == 1 and not request_upgrade(self._flash, self._layout, permanent=permanent):
            raise SmpRefusal(ImageError.INVALID_IMAGE_HEADER_MAGIC)

    def _flags(self, slot: int) -> dict[str, bool]:
        kind = swap_type(self._flash, self._layout)
        running = slot == 0
        return {
            "pending": not running and kind in (SwapType.TEST, SwapType.PERM),
            "confirmed": running != (kind is SwapType.REVERT),
            "active": running,
            "permanent": not running and kind is SwapType.PERM,
        }
