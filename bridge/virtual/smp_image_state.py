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
from bridge.virtual.trailer import SwapType, Trailer
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
    """

    def __init__(self, flash: Flash, layout: Layout) -> None:
        self._flash = flash
        self._layout = layout
        self._slots = (layout.primary, layout.secondary)

    @property
    def secondary_in_use(self) -> bool:
        """Whether the secondary slot must not be touched: its image is pending, or is the one to revert to."""
        return swap_type(self._flash, self._layout) is not SwapType.NONE

    def read(self) -> dict[str, Any]:
        """Answer to a state read."""
        images = []
        for number, slot in enumerate(self._slots):
            content = slot_content(self._flash, slot)
            if content is not None:
                images.append(
                    {
                        "slot": number,
                        "version": content.version,
                        "hash": content.digest,
                        "bootable": content.bootable,
                        **self._flags(number),
                    }
                )
        return {"images": images, "splitStatus": 0}

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
        slot = self._slot_of(digest) if digest else 0
        if slot == 0:
            self._mark_running(confirm=confirm)
        else:
            self._mark_secondary(permanent=confirm)
        return self.read()

    def _slot_of(self, digest: bytes) -> int:
        if len(digest) != _HASH_BYTES:
            raise SmpRefusal(ImageError.INVALID_HASH)
        for number, slot in enumerate(self._slots):
            content = slot_content(self._flash, slot)
            if content is not None and content.digest == digest:
                return number
        raise SmpRefusal(ImageError.HASH_NOT_FOUND)

    def _mark_running(self, *, confirm: bool) -> None:
        if not confirm:
            raise SmpRefusal(ImageError.IMAGE_SETTING_TEST_TO_ACTIVE_DENIED)
        if not write_img_confirmed(self._flash, self._layout):
            raise SmpRefusal(ImageError.UNKNOWN)

    def _mark_secondary(self, *, permanent: bool) -> None:
        pending = swap_type(self._flash, self._layout)
        if pending is SwapType.REVERT:
            raise SmpRefusal(ImageError.IMAGE_ALREADY_PENDING)
        if pending is SwapType.TEST and permanent:
            Trailer(self._flash, self._layout.secondary).write_image_ok()
        elif pending is SwapType.NONE and not request_upgrade(self._flash, self._layout, permanent=permanent):
            raise SmpRefusal(ImageError.UNKNOWN)

    def _flags(self, slot: int) -> dict[str, bool]:
        kind = swap_type(self._flash, self._layout)
        running = slot == 0
        return {
            "pending": not running and kind in (SwapType.TEST, SwapType.PERM),
            "confirmed": running != (kind is SwapType.REVERT),
            "active": running,
            "permanent": not running and kind is SwapType.PERM,
        }
