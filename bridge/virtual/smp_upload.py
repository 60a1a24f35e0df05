"""SMP image upload as Zephyr does it: one session in RAM, an offset that rules, erase before or along the way.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt.c`` and ``zephyr_img_mgmt.c``;
``subsys/dfu/img_util/flash_img.c`` (blocks of 512 bytes).
"""

from collections.abc import Mapping
from typing import Any, Final

from bridge.image.mcuboot import HEADER_BYTES, IMAGE_MAGIC_BYTES
from bridge.image.mcuboot import parse_header as parse_image_header
from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import Layout
from bridge.virtual.slot_image import release
from bridge.virtual.smp_errors import ImageError, SmpRefusal
from bridge.virtual.smp_image_state import ImageStates
from bridge.virtual.swap_request import running_version
from bridge.wire.smp_message import MgmtError

BLOCK_BYTES: Final = 512
_MAX_SHA_BYTES: Final = 32


class ImageUpload:
    """The upload session.

    Args:
        flash: The flash.
        layout: Where the slots are.
        states: Tells whether the secondary slot is free.
        progressive_erase: Erase page by page.
    """

    def __init__(self, flash: Flash, layout: Layout, states: ImageStates, *, progressive_erase: bool) -> None:
        self._flash = flash
        self._layout = layout
        self._slot = layout.secondary
        self._states = states
        self._progressive = progressive_erase
        self.forget()

    def forget(self) -> None:
        """End the session."""
        self._open = False
        self._sha = b""
        self._size_bytes = self._offset = self._erased_bytes = 0
        self._block = bytearray()

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take one request.

        Raises:
            SmpRefusal: It is refused.
        """
        offset, data = body.get("off"), body.get("data", b"")
        if not isinstance(data, bytes):
            raise SmpRefusal(MgmtError.INVALID)
        if not isinstance(offset, int) or offset < 0:
            raise SmpRefusal(ImageError.INVALID_OFFSET, uploading=True)
        if offset == 0:
            if not self._begin(body, data):
                return {"off": self._offset}
        elif offset != self._offset or not self._open:
            return {"off": self._offset}
        if self._offset + len(data) > self._size_bytes:
            raise SmpRefusal(ImageError.INVALID_IMAGE_DATA_OVERRUN, uploading=True)
        self._store(data)
        answer = {"off": self._offset}
        if self._offset == self._size_bytes:
            self.forget()
        return answer

    def erase_slot(self) -> None:
        """Erase the secondary slot.

        Raises:
            SmpRefusal: Its image is pending, or is the one to go back to.
        """
        if self._states.secondary_in_use:
            raise SmpRefusal(ImageError.NO_FREE_SLOT)
        self.forget()
        self._erase(0, self._slot.size)

    def _begin(self, body: Mapping[str, Any], data: bytes) -> bool:
        """First request; False when the session that is open goes on."""
        if len(data) < HEADER_BYTES:
            raise SmpRefusal(ImageError.INVALID_IMAGE_HEADER, uploading=True)
        size, sha = body.get("len"), body.get("sha", b"")
        if not isinstance(size, int):
            raise SmpRefusal(ImageError.INVALID_LENGTH, uploading=True)
        if not isinstance(sha, bytes) or len(sha) > _MAX_SHA_BYTES or body.get("image", 0) != 0:
            raise SmpRefusal(MgmtError.INVALID)
        if self._open and sha and sha == self._sha:
            return False
        if not data.startswith(IMAGE_MAGIC_BYTES):
            raise SmpRefusal(ImageError.INVALID_IMAGE_HEADER_MAGIC, uploading=True)
        if self._states.secondary_in_use:
            raise SmpRefusal(ImageError.NO_FREE_SLOT, uploading=True)
        if size > self._slot.size:
            raise SmpRefusal(ImageError.INVALID_IMAGE_TOO_LARGE, uploading=True)
        if body.get("upgrade") and not self._is_upgrade(data):
            raise SmpRefusal(ImageError.CURRENT_VERSION_IS_NEWER, uploading=True)
        self.forget()
        self._open, self._sha, self._size_bytes = True, sha, size
        self._prepare_flash()
        return True

    def _is_upgrade(self, data: bytes) -> bool:
        new = parse_image_header(data[:HEADER_BYTES]).version
        return release(new) > release(running_version(self._flash, self._layout))

    def _prepare_flash(self) -> None:
        """Everything that the image needs and the trailer's page, unless blank; or the trailer's page alone."""
        if not self._progressive:
            self._erase(0, -(-self._size_bytes // PAGE_BYTES) * PAGE_BYTES)
            self._erased_bytes = self._slot.size
        self._erase(self._slot.size - PAGE_BYTES, PAGE_BYTES)

    def _store(self, data: bytes) -> None:
        self._offset += len(data)
        self._block += data
        while len(self._block) >= BLOCK_BYTES:
            self._write_block(BLOCK_BYTES)
        if self._offset == self._size_bytes and self._block:
            self._write_block(len(self._block))

    def _write_block(self, size: int) -> None:
        data = bytes(self._block[:size])
        start = self._offset - len(self._block)
        del self._block[:size]
        while self._erased_bytes < start + len(data):
            self._erase(self._erased_bytes, PAGE_BYTES)
            self._erased_bytes += PAGE_BYTES
        padding = b"\xff" * (-len(data) % self._flash.write_size)
        self._flash.write(self._slot.address + start, data + padding)

    def _erase(self, start: int, size_bytes: int) -> None:
        first = self._slot.address + start
        for page in range(first, first + size_bytes, PAGE_BYTES):
            if not self._flash.is_erased(page, PAGE_BYTES):
                self._flash.erase(page)
