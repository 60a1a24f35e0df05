"""SMP image upload as Zephyr does it: one session in RAM, an offset that rules, erase before or along the way.

An error ends the session. With one image the number of the image means nothing.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt.c`` and ``zephyr_img_mgmt.c``;
``subsys/dfu/img_util/flash_img.c`` (blocks of 512 bytes).
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from bridge.image.mcuboot import HEADER_BYTES, IMAGE_MAGIC_BYTES
from bridge.image.mcuboot import parse_header as parse_image_header
from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import Layout
from bridge.virtual.slot_image import release
from bridge.virtual.smp_errors import ImageError, SmpRefusal
from bridge.virtual.smp_image_state import ImageStates
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.swap_request import running_version
from bridge.virtual.trailer import Trailer
from bridge.wire.smp_message import MgmtError

BLOCK_BYTES: Final = 512
_MAX_SHA_BYTES: Final = 32


class ImageUpload:
    """The upload session.

    Args:
        flash: The flash.
        layout: Where the slots are.
        states: Tells whether the secondary slot is free.
        options: Kconfig of the build.
    """

    def __init__(self, flash: Flash, layout: Layout, states: ImageStates, options: SmpOptions) -> None:
        self._flash = flash
        self._layout = layout
        self._slot = layout.secondary
        self._states = states
        self._options = options
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
        sha, image = body.get("sha", b""), body.get("image", 0)
        if not isinstance(data, bytes) or not isinstance(sha, bytes) or not isinstance(image, int):
            raise SmpRefusal(MgmtError.INVALID)
        try:
            return self._take(body, offset, data, sha)
        except SmpRefusal:
            self.forget()
            raise

    def _take(self, body: Mapping[str, Any], offset: object, data: bytes, sha: bytes) -> dict[str, Any]:
        if not isinstance(offset, int) or offset < 0:
            raise SmpRefusal(ImageError.INVALID_OFFSET, uploading=True)
        if offset == 0:
            size = self._inspect(body, data, sha)
            if size is None:
                return {"off": self._offset}
            self._open, self._sha, self._size_bytes, self._offset = True, sha, size, 0
            self._block.clear()
            if self._options.image_check and len(sha) == _MAX_SHA_BYTES and self._matches():
                self._offset = size
                return self._last_answer(matches=True)
            self._prepare_flash()
        elif offset != self._offset or not self._open:
            return {"off": self._offset}
        elif self._offset + len(data) > self._size_bytes:
            raise SmpRefusal(ImageError.INVALID_IMAGE_DATA_OVERRUN, uploading=True)
        self._store(data)
        if self._offset == self._size_bytes:
            return self._last_answer(matches=self._options.image_check and self._matches())
        return {"off": self._offset}

    def _last_answer(self, *, matches: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"off": self._offset}
        if self._options.image_check:
            answer["match"] = matches
        self.forget()
        return answer

    def _matches(self) -> bool:
        return hashlib.sha256(self._flash.read(self._slot.address, self._size_bytes)).digest() == self._sha

    def erase_slot(self) -> None:
        """Erase the secondary slot, unless it is blank.

        Raises:
            SmpRefusal: Its image is pending, or is the one to go back to.
        """
        if self._states.holds_image(1) and self._states.secondary_in_use:
            raise SmpRefusal(ImageError.NO_FREE_SLOT)
        self.forget()
        if not self._flash.is_erased(self._slot.address, self._slot.size):
            self._flash.erase(self._slot.address, self._slot.size)

    def _inspect(self, body: Mapping[str, Any], data: bytes, sha: bytes) -> int | None:
        """Size of a new upload; None when the session that is open goes on."""
        if len(data) < HEADER_BYTES:
            raise SmpRefusal(ImageError.INVALID_IMAGE_HEADER, uploading=True)
        size = body.get("len")
        if not isinstance(size, int):
            raise SmpRefusal(ImageError.INVALID_LENGTH, uploading=True)
        if not data.startswith(IMAGE_MAGIC_BYTES):
            raise SmpRefusal(ImageError.INVALID_IMAGE_HEADER_MAGIC, uploading=True)
        if len(sha) > _MAX_SHA_BYTES:
            raise SmpRefusal(ImageError.INVALID_HASH)
        if self._open and sha and sha == self._sha:
            return None
        if self._states.secondary_in_use:
            raise SmpRefusal(ImageError.NO_FREE_SLOT, uploading=True)
        if size > self._slot.size:
            raise SmpRefusal(ImageError.INVALID_IMAGE_TOO_LARGE, uploading=True)
        if body.get("upgrade") and not self._is_upgrade(data):
            raise SmpRefusal(ImageError.CURRENT_VERSION_IS_NEWER, uploading=True)
        return size

    def _is_upgrade(self, data: bytes) -> bool:
        new = parse_image_header(data[:HEADER_BYTES]).version
        return release(new) > release(running_version(self._flash, self._layout))

    def _prepare_flash(self) -> None:
        """Unless the slot is blank: all pages that the image needs and the trailer's, or only the trailer's."""
        trailer = Trailer(self._flash, self._slot).first_page
        if self._options.progressive_erase:
            self._erased_bytes = 0
            self._flash.erase(trailer)
            return
        self._erased_bytes = self._slot.size
        if self._flash.is_erased(self._slot.address, self._slot.size):
            return
        image_bytes = -(-self._size_bytes // PAGE_BYTES) * PAGE_BYTES
        self._flash.erase(self._slot.address, image_bytes)
        if self._slot.address + image_bytes <= trailer:
            self._flash.erase(trailer, self._slot.end - trailer)

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
            self._flash.erase(self._slot.address + self._erased_bytes)
            self._erased_bytes += PAGE_BYTES
        padding = b"\xff" * (-len(data) % self._flash.write_size)
        self._flash.write(self._slot.address + start, data + padding)
