"""Uploading an image over SMP with a window: bytes in, requests out, and found back after every loss.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt.c`` (upload, resume by ``sha``); the window is
:mod:`bridge.wire.upload_window`.
"""

import logging
from typing import Any, Final

from bridge import clock
from bridge.board.smp_answers import SmpParameters, parse_upload_offset, raise_refusal
from bridge.board.smp_client import SmpClient
from bridge.dfu.target import TransferRestartError
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.message_size import MessageSize
from bridge.wire.smp_frame import largest_message_bytes
from bridge.wire.smp_message import ImageCommand, SmpGroup, SmpMessage, SmpOp
from bridge.wire.upload_window import Outcome, Piece, UploadWindow, WindowLimits

_log = logging.getLogger(__name__)

_BYTE_STRING_HEAD_BYTES: Final = 2
"""What a byte string of up to 65535 bytes has in front, more than an empty one."""
_WRITE_UNIT_BYTES: Final = 4
_FIRST_PIECE_BYTES: Final = 64
"""Enough for the image header that servers look at. The first request is sent alone and may be followed by a long erase, so
its loss costs most; a short one is lost least, and the next is under way the sooner."""
_SMALLEST_FIRST_PIECE_BYTES: Final = 32
"""An image's header, less of which Zephyr's server refuses."""
_SPARE_LINES: Final = 2
"""Line buffers that are left free: for a question, and for the line that is being received."""
_IMPOSSIBLE_OFFSET: Final = 0x7FFF_FFFF
"""No server takes data there; it answers with the offset that it wants, and does nothing."""


class SmpUpload:
    """One upload.

    Args:
        client: The conversation.
        parameters: What the server can hold.
        size_bytes: Size of the whole file.
        sha256: SHA-256 of the whole file; with it an upload that was cut off goes on where it was (Zephyr).
        image: Number of the image, or of what else the server calls so, that is uploaded.
        start: Offset from which the server goes on with an earlier upload (MCUboot's recovery).
        line_buffers: For MCUboot's recovery, which has one buffer for messages but collects lines while it is busy:
            how many it can hold (``BOOT_LINE_BUFS``, 8). None for servers that queue whole messages.

    Attributes:
        window: Where the upload is. If ``window.end_unseen`` is true afterwards, nobody has heard the server confirm the
            last bytes; in any case look at the image list to see that the image is whole.
    """

    def __init__(
        self,
        client: SmpClient,
        parameters: SmpParameters,
        size_bytes: int,
        sha256: bytes | None = None,
        *,
        image: int = 0,
        start: int = 0,
        line_buffers: int | None = None,
    ) -> None:
        # One buffer is left free: Zephyr takes the buffer for the answer from the same pool.
        requests = max(1, parameters.buffer_count - 1)
        self._overlap_bytes: int | None = None
        if line_buffers is not None and line_buffers > _SPARE_LINES:
            requests = 2
            self._overlap_bytes = largest_message_bytes(line_buffers - _SPARE_LINES, client.line_bytes)
        limits = WindowLimits(max_requests=requests, flow_control=client.flow_control)
        self.window = UploadWindow(size_bytes, limits, start)
        self._client = client
        self._message_size = MessageSize(parameters.message_bytes)
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._image = image
        self._start = start
        self._data = bytearray()
        if self._room_bytes(0, parameters.message_bytes) < _SMALLEST_FIRST_PIECE_BYTES:
            self._sha256 = None  # so small a server can do without, if with the loss of resuming
        if self._room_bytes(max(1, start), parameters.message_bytes) < _WRITE_UNIT_BYTES:
            raise BoardRefusedError(
                f"the board takes messages of {parameters.message_bytes} bytes, into which no image data fits",
                reason="buffers-too-small",
            )

    def write(self, data: bytes) -> None:
        """Take the next bytes of the image; returns when all but less than one request of them are under way.

        Raises:
            BoardRefusedError: The server refuses the image.
            TransferRestartError: The server has lost the upload (reason ``session-lost``).
            LinkError: No answer any more, or the link is lost.
        """
        self._data += data
        self._pump(last=self._end >= self._size_bytes)

    def finish(self) -> None:
        """Wait until the board has every byte.

        Raises:
            LinkError: Fewer bytes were written than announced (reason ``incomplete``), or as :meth:`write`.
        """
        if self._end < self._size_bytes:
            raise LinkError(
                f"{self._end} of {self._size_bytes} bytes were written", reason="incomplete", offset=self._end
            )
        while not self.window.done:
            self._pump(last=True)
            if not self.window.done:
                self._wait()

    @property
    def _end(self) -> int:
        return self._start + len(self._data)

    def _pump(self, *, last: bool) -> None:
        while True:
            self._forget_acknowledged()
            size = self._piece_bytes()
            available = self._end - self.window.next_offset
            if available <= 0 or (available < size and not last):
                return
            if self.window.may_send:
                fresh_line = self.window.unsure
                self._send(self.window.send(min(size, available), clock.monotonic()), fresh_line)
            elif self.window.outstanding:
                self._wait()
            else:
                return

    def _send(self, piece: Piece, fresh_line: bool) -> None:
        start = piece.offset - self._start
        body = self._body(piece.offset, bytes(self._data[start : start + piece.size_bytes]))
        self._client.post(self._request(body, piece.sequence), fresh_line=fresh_line)

    def _body(self, offset: int, data: bytes) -> dict[str, Any]:
        body: dict[str, Any] = {"off": offset, "data": data}
        if offset == 0:
            body["len"] = self._size_bytes
            if self._sha256 is not None:
                body["sha"] = self._sha256
            if self._image:
                body["image"] = self._image
        return body

    @staticmethod
    def _request(body: dict[str, Any], sequence: int = 0) -> SmpMessage:
        return SmpMessage(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body, sequence)

    def _piece_bytes(self) -> int:
        """Most bytes of the image that fit into the next request, in whole words of flash."""
        room = self._room_bytes(self.window.next_offset, self._message_bytes)
        if self.window.next_offset == 0:
            room = min(room, _FIRST_PIECE_BYTES)
        return min(room - room % _WRITE_UNIT_BYTES, self._size_bytes - self.window.next_offset)

    def _room_bytes(self, offset: int, message_bytes: int) -> int:
        """How many bytes of the image fit into a message of that size."""
        overhead = len(self._request(self._body(offset, b"")).encode())
        return message_bytes - overhead - _BYTE_STRING_HEAD_BYTES

    @property
    def _message_bytes(self) -> int:
        """Longest message now: with a second one behind it, both must fit into the line buffers."""
        size_bytes = self._message_size.size_bytes
        if self._overlap_bytes is None or self.window.window == 1:
            return size_bytes
        return min(size_bytes, self._overlap_bytes)

    def _wait(self) -> None:
        deadline, question = self.window.deadline_s(), self.window.question_s()
        assert deadline is not None
        soonest = deadline if question is None else min(deadline, question)
        losses = self.window.losses
        answer = self._client.next_answer(soonest - clock.monotonic())
        if answer is not None:
            if (answer.group, answer.command) == (SmpGroup.IMAGE, ImageCommand.UPLOAD):
                self._take(answer)
        elif soonest == question:
            self._ask()
        else:
            _log.debug("no answer for the bytes from %d on", self.window.acknowledged)
            self.window.on_timeout()
        if self.window.losses > losses:
            self._message_size.on_loss(self.window.acknowledged)
        else:
            self._message_size.on_progress(self.window.acknowledged)
        if self.window.gave_up:
            raise LinkError(
                f"the board does not get on at byte {self.window.acknowledged} of {self._size_bytes}",
                reason="no-answer",
                offset=self.window.acknowledged,
                hint="Check the cable, and --flow-control if the board has RTS/CTS.",
            )

    def _ask(self) -> None:
        piece = self.window.ask(clock.monotonic())
        body = {"off": _IMPOSSIBLE_OFFSET, "data": b""}
        self._client.post(self._request(body, piece.sequence), fresh_line=True)

    def _take(self, answer: SmpMessage) -> None:
        raise_refusal(answer)
        offset = parse_upload_offset(answer.body, self.window.acknowledged)
        if self.window.on_answer(answer.sequence, offset, clock.monotonic()) is Outcome.SESSION_LOST:
            raise TransferRestartError(
                f"the board forgot the upload at byte {self.window.acknowledged}: it has restarted, or another"
                " program talks to it",
                reason="session-lost",
                offset=self.window.acknowledged,
            )

    def _forget_acknowledged(self) -> None:
        done = min(self.window.acknowledged, self._end) - self._start
        if done > 0:
            del self._data[:done]
            self._start += done
