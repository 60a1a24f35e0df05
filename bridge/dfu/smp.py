"""Application images over SMP: to Zephyr's server, which keeps the old image, or to MCUboot's recovery, which may not.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt`` (test and confirm); MCUboot ``boot/boot_serial/src/boot_serial.c`` (nothing
is checked; the image list shows valid images only). Where the image goes is :mod:`bridge.dfu.smp_slots`, what the next reset
starts :mod:`bridge.dfu.smp_mark`.
"""

import logging
from typing import Any, Final

from bridge.board.smp_answers import parse_upload_offset
from bridge.board.smp_board import SmpBoard
from bridge.dfu.smp_mark import SmpMark
from bridge.dfu.smp_slots import SmpSlots
from bridge.dfu.smp_upload import SmpUpload
from bridge.dfu.target import TransferImage
from bridge.dfu.upload_notes import UploadNotes
from bridge.errors import BoardRefusedError, UsageError
from bridge.image import ImageKind
from bridge.wire.smp_message import ImageCommand, SmpGroup, SmpOp

_log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 4096
_ERASE_TIMEOUT_S: Final = 60.0
_IMPOSSIBLE_OFFSET: Final = 0x7FFF_FFFF
_RECOVERY_LINE_BUFFERS: Final = 8
"""``BOOT_LINE_BUFS`` by default; recovery does not tell, and the upload finds out when it has fewer."""


class SmpTarget:
    """One upload by SMP; see :class:`~bridge.dfu.target.DfuTarget` for the contract.

    Args:
        board: The board, in an SMP conversation.
        notes: What is remembered of uploads to MCUboot's recovery.
        upload_image: Number to upload to (the ``image`` of the request) instead of the one that is found out; with direct
            upload MCUboot counts 1 for the primary slot, 2 for the secondary one, and so on.
    """

    route: Final = "smp"
    chunk_size_bytes: Final = CHUNK_BYTES

    def __init__(
        self, board: SmpBoard, *, notes: UploadNotes | None = None, upload_image: int | None = None
    ) -> None:
        self._board = board
        self._client = board.client
        self._notes = notes or UploadNotes(None)
        self._recovery = board.in_recovery
        self._slots = SmpSlots(board, upload_image)
        self._marks = SmpMark(board)
        self._upload: SmpUpload | None = None

    @property
    def in_place(self) -> bool:
        """Whether the upload goes into the slot that is run: in recovery, unless the secondary slot can be reached."""
        return self._slots.in_place

    @property
    def sent_bytes(self) -> int:
        """Bytes of the image that were sent, repeated ones included."""
        return self._upload.window.sent_bytes if self._upload is not None else 0

    def begin(self, image: TransferImage) -> int:
        """See what is there, and find out where an interrupted upload of the same image goes on."""
        if image.kind is not ImageKind.APPLICATION:
            raise UsageError(f"SMP cannot write a {image.kind} image", reason="unsupported-kind")
        self._slots.check(image)
        if not self.in_place:
            self._marks.check_free()
        start = self._unfinished_bytes(image) if self._recovery else 0
        if self._recovery and start == 0:
            self._notes.begin(self._board.link.url, image)
        self._upload = SmpUpload(
            self._client,
            self._client.parameters(),
            image.size_bytes,
            bytes.fromhex(image.sha256) if image.sha256 else None,
            image=self._slots.upload_image(image.image_index),
            start=start,
            line_buffers=_RECOVERY_LINE_BUFFERS if self._recovery else None,
        )
        return start

    def write(self, chunk: bytes) -> None:
        """Hand over the next bytes; several requests are under way at a time."""
        assert self._upload is not None
        try:
            self._upload.write(chunk)
        except BoardRefusedError as error:
            raise (self._marks.slot_in_use() if error.reason == "slot-in-use" else error) from error

    def finish(self) -> None:
        """Wait until the board has acknowledged every byte."""
        assert self._upload is not None
        self._upload.finish()
        self._notes.end(self._board.link.url)

    def schedule(self, digest: str | None = None) -> None:
        """Have the image tried at the next reset, or see that MCUboot finds it valid where it was written in place."""
        if digest is None:
            raise UsageError("an image without a digest cannot be told from others", reason="no-digest")
        if self.in_place:
            self._check_valid(digest)
        else:
            self._marks.mark(digest)

    def check_listed(self, digest: str) -> None:
        """See that the image is in a slot from which nothing runs.

        Raises:
            BoardRefusedError: The board does not list it there (reason ``not-listed``).
        """
        self._marks.find(digest)

    def abort(self) -> None:
        """Erase what was written. A board keeps an image that waits for a reset, and says so.

        In recovery there is nothing to take back: what was written in place is whole or it is not, and MCUboot decides.
        """
        if self._upload is not None and self._upload.window.acknowledged:
            self._erase_secondary()

    def discard(self, image: TransferImage) -> None:
        """As :meth:`abort`."""
        self._erase_secondary()

    def _erase_secondary(self) -> None:
        if self._recovery:
            return
        try:
            index = self._board.image_index
            self._client.erase(_ERASE_TIMEOUT_S, 2 * index + 1 if index else None)
        except BoardRefusedError as error:
            raise self._marks.not_invalidated() from error

    # --- resuming, refusing ---------------------------------------------------------------------------------

    def _unfinished_bytes(self, image: TransferImage) -> int:
        """What recovery has of an earlier upload of this image; it tells when asked for an impossible offset."""
        if not self._notes.fits(self._board.link.url, image):
            return 0
        body: dict[str, Any] = {"off": _IMPOSSIBLE_OFFSET, "data": b""}
        try:
            answer = self._client.request(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body)
        except BoardRefusedError:
            return 0
        offset = parse_upload_offset(answer, 0)
        if not 0 < offset < image.size_bytes:
            return 0
        _log.info("the board has %d of %d bytes of an earlier upload", offset, image.size_bytes)
        return offset

    def _check_valid(self, digest: str) -> None:
        states = [state for state in self._client.image_states() if state.image == self._board.image_index]
        if any(state.digest == digest for state in states):
            return
        if any(state.slot == 0 and state.digest is None for state in states):
            return  # listed, so valid; this build does not tell digests
        raise BoardRefusedError(
            "MCUboot does not find a valid image in the slot that was written",
            reason="rejected-by-bootloader",
            hint="It is not signed with the key that this MCUboot knows, or too large. The board stays in recovery: write"
            " another image.",
        )
