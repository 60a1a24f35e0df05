"""Into which slot an upload over SMP goes, by which number, and whether there is room.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt`` (always the secondary slot of the numbered image); MCUboot
``boot/boot_serial/src/boot_serial.c`` and ``boot/zephyr/Kconfig.serial_recovery`` (the primary slot, or with
``MCUBOOT_SERIAL_DIRECT_IMAGE_UPLOAD`` any).
"""

import logging
from typing import Final

from bridge.board.smp_answers import SlotInfo
from bridge.board.smp_board import SmpBoard
from bridge.dfu.target import TransferImage
from bridge.errors import BoardRefusedError

_log = logging.getLogger(__name__)

_TRAILER_PAGE_BYTES: Final = 4096
"""At least so much of a slot belongs to MCUboot's trailer; servers that tell the largest image have subtracted it."""


class SmpSlots:
    """The slots of one board, asked for when they are needed.

    Args:
        board: The board, in an SMP conversation.
        wanted_image: Number to upload to, instead of the one that is found out.
    """

    def __init__(self, board: SmpBoard, wanted_image: int | None = None) -> None:
        self._board = board
        self._client = board.client
        self._wanted_image = wanted_image
        self._slots: tuple[SlotInfo, ...] | None = None
        self._in_place: bool | None = None

    @property
    def in_place(self) -> bool:
        """Whether an upload goes into the slot that is run: in recovery, unless the secondary slot can be reached."""
        if self._in_place is None:
            self._in_place = self._board.in_recovery and not self._reaches_secondary()
        return self._in_place

    def upload_image(self, image_index: int) -> int:
        """What an upload request must call the slot for that MCUboot image."""
        if self._wanted_image is not None:
            return self._wanted_image
        if self._board.in_recovery and not self.in_place:
            return self._secondary_image(image_index) or image_index
        return image_index

    def check(self, image: TransferImage) -> None:
        """See that the board has a place for an image.

        Raises:
            BoardRefusedError: It does not have it (reason ``wrong-image-index``), or it is too small (``too-large``).
        """
        self._check_image(image.image_index)
        self._check_size(image)

    def _reaches_secondary(self) -> bool:
        """Whether recovery was built for direct upload and can mark an image: only then is there a way back."""
        if self._wanted_image is not None:
            return self._wanted_image >= 2 and self._wanted_image % 2 == 0
        if not self._knows_image_state():
            return False
        found = self._secondary_image(self._board.image_index)
        if found is None and not self._slot_info():
            _log.warning(
                "MCUboot does not tell its slots; if this build has direct upload, as Thingy:91 X has, --upload-image 2"
                " reaches the secondary slot, with a way back"
            )
        return found is not None

    def _knows_image_state(self) -> bool:
        """MCUboot's list has flags only when it was built with image states, and digests, to mark them by, may be missing."""
        return any(
            state.digest is not None and (state.bootable or state.active or state.confirmed)
            for state in self._board.image_states()
        )

    def _secondary_image(self, image_index: int) -> int | None:
        """The number that uploads to the secondary slot, if the server has such numbers (MCUboot counts from 1).

        Without direct upload MCUboot tells a number of one slot only, and not always of the one that it means.
        """
        numbers = {slot.slot: slot.upload_image_id for slot in self._slot_info() if slot.image == image_index}
        return numbers.get(1) or None if numbers.get(0) is not None else None

    def _slot_info(self) -> tuple[SlotInfo, ...]:
        if self._slots is None:
            self._slots = self._client.slot_info()
        return self._slots

    def _check_image(self, image_index: int) -> None:
        """A server with one image takes an upload for another, and puts it into the only secondary slot that it has."""
        if image_index == 0:
            return
        states = self._board.image_states()
        told = {slot.image for slot in self._slot_info()} | {state.image for state in states}
        if image_index not in told:
            raise BoardRefusedError(
                f"the board has no MCUboot image {image_index}",
                reason="wrong-image-index",
                hint="`nrf91-bridge smp slots` shows which it has.",
            )

    def _check_size(self, image: TransferImage) -> None:
        slot = 0 if self.in_place else 1
        sizes = [
            info.max_image_bytes or (info.size_bytes and info.size_bytes - _TRAILER_PAGE_BYTES)
            for info in self._slot_info()
            if (info.image, info.slot) == (image.image_index, slot)
        ]
        room = next((size for size in sizes if size is not None), None)
        if room is not None and image.size_bytes > room:
            raise BoardRefusedError(
                f"the image of {image.size_bytes} bytes does not fit into the board's slot of {room}",
                reason="too-large",
            )
