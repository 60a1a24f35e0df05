"""Nordic Serial Modem's ``#XDFU`` commands as a route into flash, for application images and modem deltas.

MCUboot's own images and full modem images go the same way with differences of their own, see
:mod:`bridge.dfu.xdfu_bootloader` and :mod:`bridge.dfu.xdfu_modem_full`.

Sources: ncs-serial-modem ``doc/app/at_dfu.rst``, ``app/src/sm_at_dfu.c``, ``app/src/sm_at_host.c``: the
address of a write is ignored (bytes are appended), data mode ends only with the announced count, and the
``#XDFU`` URC waits for the end of a command or for a 100 ms grid.
"""

import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, NoReturn

from bridge import clock
from bridge.board import Board, rescue
from bridge.dfu.delta_area import DeltaArea
from bridge.dfu.target import TransferImage, TransferRestartError
from bridge.dfu.xdfu_chunk import BytesLostError, forget_statuses, wait_status, write_chunk
from bridge.dfu.xdfu_slot import PAGE_BYTES, SlotSessions
from bridge.dfu.xdfu_stream import XdfuStream
from bridge.dfu.xdfu_tuning import (
    BUFFERED_BYTES,
    CHUNK_WITH_FLOW_CONTROL_BYTES,
    CHUNK_WITHOUT_FLOW_CONTROL_BYTES,
    SHORTER_CHUNK_BYTES,
    SHORTEST_CHUNK_BYTES,
    STREAMED_CHUNK_BYTES,
    XdfuTiming,
)
from bridge.errors import BoardRefusedError, LinkError, UsageError
from bridge.image import ImageKind
from bridge.wire.xdfu import (
    XdfuOperation,
    XdfuStatus,
    XdfuType,
    apply_command,
    init_command,
    write_command,
)

_log = logging.getLogger(__name__)

_SLOT_TYPES: Final = (XdfuType.APPLICATION, XdfuType.MCUBOOT_BOOTLOADER)
"""What is written into MCUboot's secondary slot."""


class XdfuTarget:
    """One transfer by ``#XDFU``; see :class:`~bridge.dfu.target.DfuTarget` for the contract.

    A chunk is never sent twice: the board appends what it gets. When bytes are lost it waits for the rest for
    ever, so it is filled up, brought back into step, and the whole transfer starts again.

    Args:
        board: The board, in AT mode.
        on_notice: Called with remarks for people, such as that the modem erases.
        timing: How long the board may take.
        streams: Keep several chunks under way, where the line has RTS/CTS and until something is lost.
    """

    route: Final = "xdfu"
    _types: ClassVar[Mapping[ImageKind, XdfuType]] = {
        ImageKind.APPLICATION: XdfuType.APPLICATION,
        ImageKind.MODEM_DELTA: XdfuType.MODEM_DELTA,
    }

    def __init__(
        self,
        board: Board,
        *,
        on_notice: Callable[[str], None] | None = None,
        timing: XdfuTiming | None = None,
        streams: bool = True,
    ) -> None:
        self._board = board
        self._at = board.at
        self._notice = on_notice or _log.info
        self._timing = timing or XdfuTiming()
        self._chunk_bytes = (
            CHUNK_WITH_FLOW_CONTROL_BYTES if board.link.flow_control else CHUNK_WITHOUT_FLOW_CONTROL_BYTES
        )
        self._slot_sessions = SlotSessions(self._at, self._timing.command_s)
        self._area = DeltaArea(
            board,
            self._write_filler,
            self._notice,
            command_timeout_s=self._timing.command_s,
            erase_timeout_s=self._timing.erase_s,
        )
        self._streams = streams
        self._stream: XdfuStream | None = None
        self._type = XdfuType.APPLICATION
        self._size_bytes = 0
        self._offset = 0
        self._touched = False
        self._may_be_scheduled = False
        self._may_be_in_data_mode = False

    @property
    def chunk_size_bytes(self) -> int:
        """Preferred size of a chunk; smaller after each failure."""
        return STREAMED_CHUNK_BYTES if self._stream is not None else self._chunk_bytes

    @property
    def in_place(self) -> bool:
        """Never: what is written waits in the secondary slot or in the modem's update area."""
        return False

    def begin(self, image: TransferImage) -> int:
        """``#XDFUINIT``: open a session; a used delta area is erased, which takes minutes."""
        size_bytes = image.size_bytes
        self._type = self._type_of(image.kind)
        self._size_bytes = size_bytes
        if self._type is XdfuType.MODEM_DELTA:
            self._offset = self._area.prepare(size_bytes)
        else:
            self._slot_sessions.open(self._type, size_bytes)
            self._offset = 0
        self._stream = self._new_stream()
        return self._offset

    def write(self, chunk: bytes) -> None:
        """``#XDFUWRITE``: streamed with RTS/CTS until something is lost for the first time, else one by one."""
        with self._at.session():
            self._touched = True
            self._area.written_bytes = None
            if self._stream is not None:
                self._write_streamed(self._stream, chunk)
            else:
                self._write_alone(chunk)

    def _write_streamed(self, stream: XdfuStream, chunk: bytes) -> None:
        self._may_be_in_data_mode = True
        try:
            stream.send(self._offset, chunk)
        except BytesLostError as error:
            stream.settle()
            self._recover(STREAMED_CHUNK_BYTES, str(error))
        self._offset += len(chunk)
        self._after_streaming(stream)

    def _drain(self, stream: XdfuStream) -> None:
        try:
            stream.drain()
        except BytesLostError as error:
            stream.settle()
            self._recover(STREAMED_CHUNK_BYTES, str(error))
        self._after_streaming(stream)

    def _after_streaming(self, stream: XdfuStream) -> None:
        if stream.is_drained:
            self._may_be_in_data_mode = False
            self._check_written(stream.failed)
            self._area.written_bytes = self._offset

    def _write_alone(self, chunk: bytes) -> None:
        self._may_be_in_data_mode = True
        command = write_command(self._type, self._address, len(chunk))
        try:
            status = write_chunk(
                self._at, self._board.link, command, chunk, dfu_type=self._type, timing=self._timing
            )
        except BytesLostError as error:
            self._recover(len(chunk), str(error))
        self._may_be_in_data_mode = False
        self._check_written(None if status.ok else status)
        self._offset += len(chunk)
        self._area.written_bytes = self._offset

    def _check_written(self, failed: XdfuStatus | None) -> None:
        if failed is None:
            return
        self._shrink()
        raise TransferRestartError(
            f"the board reported {failed} for bytes before {self._offset}",
            reason="write-failed",
            offset=self._offset,
        )

    def finish(self) -> None:
        """Wait for the last statuses and check the count; the board flushes with ``#XDFUAPPLY``."""
        if self._stream is not None:
            with self._at.session():
                self._drain(self._stream)
        if self._offset != self._size_bytes or not self._size_bytes:
            raise LinkError(
                f"{self._offset} of {self._size_bytes} bytes were written",
                reason="incomplete",
                offset=self._offset,
            )

    def schedule(self, digest: str | None = None) -> None:
        """``#XDFUAPPLY``: the image is tried at the next reset."""
        self.finish()
        with self._at.session():
            self._may_be_scheduled = True
            forget_statuses(self._at)
            try:
                self._at.command(apply_command(self._type), timeout_s=self._timing.schedule_s)
            except LinkError as error:
                if error.reason != "no-answer":
                    raise
                self._at.flush_urcs()  # if only the OK was lost, the status still comes
            try:
                status = wait_status(self._at, self._type, XdfuOperation.APPLY, self._timing.schedule_s)
            except BytesLostError as error:
                raise LinkError(f"{error} after #XDFUAPPLY", reason="no-answer") from error
        if not status.ok:
            raise BoardRefusedError(
                f"the board did not schedule the image ({status})",
                reason="schedule-refused",
                hint="Was every byte of it written, and is it whole?",
            )

    def abort(self) -> None:
        """Destroy what was written, so that no later reset can install it.

        Nothing is scheduled before ``#XDFUAPPLY``. An application image loses its first page: MCUboot then
        finds no image there, even if the trailer asks for a swap. That is done after any write, because a
        trailer of an earlier session may still be in the slot.
        """
        with self._at.session():
            self._streams, self._stream = False, None
            try:
                if self._may_be_in_data_mode:
                    self._leave_data_mode(self._chunk_bytes)
                if self._touched and self._type in _SLOT_TYPES:
                    self._overwrite_first_page()
                elif self._may_be_scheduled:
                    self._area.invalidate()
                self._touched = self._may_be_scheduled = False
            finally:
                self._board.go_back_online()

    def discard(self, image: TransferImage) -> None:
        """As :meth:`abort`; of a modem delta the whole area is emptied, for which the modem may restart."""
        self._type = self._type_of(image.kind)
        if self._type in _SLOT_TYPES:
            self._touched = True
        else:
            self._area.prepare(image.size_bytes)
        self.abort()

    @property
    def _address(self) -> int:
        """Address for the next chunk; the board looks at that of modem firmware only."""
        return self._offset

    # --- when it goes wrong ---------------------------------------------------------------------------------

    def _recover(self, announced_bytes: int, what: str) -> NoReturn:
        offset = self._offset
        _log.warning("bytes lost from %d on: %s", offset, what)
        self._leave_data_mode(announced_bytes)
        self._shrink()
        raise TransferRestartError(
            f"bytes were lost in the {announced_bytes} from {offset} on: {what}",
            reason="bytes-lost",
            offset=offset,
        )

    def _leave_data_mode(self, announced_bytes: int) -> None:
        deadline = clock.monotonic() + self._timing.recovery_s
        limit_bytes = 2 * announced_bytes + BUFFERED_BYTES
        if not rescue.fill_up(self._at, self._board.link, limit_bytes, deadline):
            raise LinkError(
                "the board does not come out of data mode",
                reason="wedged",
                offset=self._offset,
                hint="Reset the board; nothing was scheduled, it keeps its old firmware.",
            )
        self._at.synchronise()
        self._at.flush_urcs()
        forget_statuses(self._at)
        self._may_be_in_data_mode = False

    def _new_stream(self) -> XdfuStream | None:
        if self._streams and self._board.link.flow_control:
            forget_statuses(self._at)
            return XdfuStream(self._at, self._board.link, self._write_command, self._timing)
        return None

    def _write_command(self, offset: int, size_bytes: int) -> str:
        return write_command(self._type, offset, size_bytes)

    def _shrink(self) -> None:
        self._streams = False
        self._stream = None
        first = self._chunk_bytes > SHORTER_CHUNK_BYTES
        self._chunk_bytes = SHORTER_CHUNK_BYTES if first else SHORTEST_CHUNK_BYTES

    def _overwrite_first_page(self) -> None:
        self._at.command_again(init_command(self._type, PAGE_BYTES), timeout_s=self._timing.command_s)
        self._offset = 0
        self._write_filler(PAGE_BYTES)

    def _write_filler(self, size_bytes: int) -> None:
        """Write bytes that are no image; lost ones do not matter here, a reported failure does."""
        left = size_bytes
        while left:
            chunk = rescue.FILLER * min(left, self._chunk_bytes)
            try:
                self.write(chunk)
            except TransferRestartError as error:
                if error.reason != "bytes-lost":
                    raise
            left -= len(chunk)

    # --- opening a session ----------------------------------------------------------------------------------

    def _type_of(self, kind: ImageKind) -> XdfuType:
        if kind not in self._types:
            raise UsageError(f"this #XDFU target cannot write a {kind} image", reason="unsupported-kind")
        return self._types[kind]
