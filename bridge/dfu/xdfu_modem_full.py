"""Full modem firmware by ``#XDFU`` type 2: the board restarts into bootloader mode, and the modem is written in place.

First comes the modem's own loader (the first segment), which is started by an ``#XDFUAPPLY``; then the firmware, by
address; then a last ``#XDFUAPPLY``, after which the board restarts. Once the modem has written its first 8 kB the old
firmware is gone.

A chunk is never sent twice, although firmware chunks carry an address: the modem collects what it gets and writes 8 kB
at a time, so bytes of a chunk that was cut short may be in its flash or not, and flash cannot be written twice. Nordic
asks for a new start from the initialisation after any failure, and that is what happens: ``#XDFUINIT=2``, loader, all of
the firmware.

Sources: ncs-serial-modem ``doc/app/at_dfu.rst``, ``app/src/sm_at_dfu.c`` (before 2026 the restarts come without ``OK`` and
status, since then behind them); nrfxlib ``nrf_modem/doc/bootloader.rst`` and ``nrf_modem_bootloader.h``.
"""

import logging
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from bridge import clock
from bridge.board import Board, BootReport
from bridge.board.boot import BOOTLOADER_MODE, START_MESSAGES
from bridge.dfu.target import TransferImage, TransferRestartError
from bridge.dfu.xdfu import XdfuTarget
from bridge.dfu.xdfu_tuning import XdfuTiming
from bridge.errors import BoardRefusedError, LinkError, UsageError
from bridge.image import ImageKind
from bridge.image.modem_full import ModemFullInfo, ModemSegment
from bridge.wire.xdfu import XdfuOperation, XdfuStatus, XdfuType, apply_command, parse_status

_log = logging.getLogger(__name__)

MODEM_TIMING: Final = XdfuTiming(margin_s=20.0, schedule_s=120.0)
"""The modem erases while it writes, and nobody tells how long that may take."""
_POLL_S: Final = 1.0
_WRITE_S: Final = 3.0
_TRIES: Final = 2


class XdfuModemFullTarget(XdfuTarget):
    """One full modem update; see :class:`~bridge.dfu.target.DfuTarget` for the contract.

    A board that an earlier update left in bootloader mode is taken as it is. The wrapper in front of the segments stays
    on the host: this route gives the modem nothing to check it by.

    Args:
        board: The board, in AT or bootloader mode.
        on_notice: Called with remarks for people.
        timing: How long the board may take.
    """

    _types: ClassVar[Mapping[ImageKind, XdfuType]] = {ImageKind.MODEM_FULL: XdfuType.MODEM_FULL}

    def __init__(
        self,
        board: Board,
        *,
        on_notice: Callable[[str], None] | None = None,
        timing: XdfuTiming | None = None,
    ) -> None:
        super().__init__(board, on_notice=on_notice, timing=timing or MODEM_TIMING)
        self._info: ModemFullInfo | None = None
        self._in_bootloader_mode = False
        self._modem_is_broken = False

    @property
    def in_place(self) -> bool:
        """Always: the modem has room for one firmware."""
        return True

    @property
    def chunk_size_bytes(self) -> int:
        """Preferred size, but never past the end of a segment."""
        if self._info is None or self._offset >= self._size_bytes:
            return super().chunk_size_bytes
        segment = self._segment
        return min(super().chunk_size_bytes, segment.offset + segment.size_bytes - self._offset)

    def begin(self, image: TransferImage) -> int:
        """Restart into bootloader mode; the first byte to send is the loader's, behind the wrapper."""
        self._type = self._type_of(image.kind)
        self._size_bytes = image.size_bytes
        self._info = info = _checked(image)
        if not self._in_bootloader_mode:
            self._board.take_offline()
        self._board.enter_bootloader_mode()
        self._in_bootloader_mode = True
        self._offset = info.wrapper_size_bytes
        return self._offset

    def write(self, chunk: bytes) -> None:
        """The next bytes of a segment; behind the last of the first one the loader is started."""
        loader = self._loader
        while chunk:
            size_bytes = min(len(chunk), self.chunk_size_bytes)
            piece, chunk = chunk[:size_bytes], chunk[size_bytes:]
            if self._segment is not loader:
                self._modem_is_broken = True
            super().write(piece)
            if self._offset == loader.offset + loader.size_bytes:
                self._start_loader()

    def schedule(self, digest: str | None = None) -> None:
        """The last ``#XDFUAPPLY``: the modem finishes, and the board restarts with its new firmware.

        Raises:
            BoardRefusedError: The modem could not finish (reason ``write-failed``).
            LinkError: The board did not restart.
        """
        self.finish()
        with self._at.session():
            for _ in range(_TRIES):
                end = self._apply()
                status = parse_status(end)
                if status is not None and not status.ok:
                    raise BoardRefusedError(
                        f"the modem did not take the last bytes of its firmware ({end})",
                        reason="write-failed",
                    )
                seen = [end] if end in START_MESSAGES else []
                report = self._board.wait_restart(seen, self._timing.schedule_s)
                if self._has_restarted(report):
                    self._in_bootloader_mode = self._modem_is_broken = False
                    return
        raise LinkError(
            f"the board does not hear {apply_command(self._type)}: it waits in bootloader mode as before",
            reason="no-answer",
        )

    def abort(self) -> None:
        """Restart into normal mode if the modem's firmware was not touched yet.

        Once it was, only a whole update helps. The board is then left in bootloader mode, out of data mode, where the
        next run takes it up: a restart with half a firmware leads back there at best.

        Raises:
            BoardRefusedError: The modem has no working firmware now (reason ``modem-incomplete``).
        """
        with self._at.session():
            if self._may_be_in_data_mode:
                self._leave_data_mode(self._chunk_bytes)
            if self._modem_is_broken:
                raise _incomplete()
            if self._in_bootloader_mode:
                if BOOTLOADER_MODE in self._board.leave_bootloader_mode().messages:
                    raise _incomplete()
                self._in_bootloader_mode = False
            else:
                self._board.go_back_online()

    def discard(self, image: TransferImage) -> None:
        """Nothing: the old firmware is gone, or was never touched."""

    # --- segments -------------------------------------------------------------------------------------------

    @property
    def _loader(self) -> ModemSegment:
        assert self._info is not None
        return self._info.segments[0]

    @property
    def _segment(self) -> ModemSegment:
        """The one that the next byte belongs to."""
        assert self._info is not None
        return next(
            segment
            for segment in self._info.segments
            if segment.offset <= self._offset < segment.offset + segment.size_bytes
        )

    @property
    def _address(self) -> int:
        segment = self._segment
        return segment.address + self._offset - segment.offset

    # --- the two applies ------------------------------------------------------------------------------------

    def _start_loader(self) -> None:
        end = self._apply()
        status = parse_status(end)
        if status is None or not status.ok:
            raise TransferRestartError(
                f"the modem did not start its loader ({end or 'no answer'})",
                reason="write-failed" if status else "bytes-lost",
                offset=self._offset,
            )

    def _apply(self) -> str:
        """``#XDFUAPPLY``.

        Returns:
            The URC that ended it: its status, or a start message when the board restarted at once; empty when there
            was neither.
        """
        deadline = clock.monotonic() + self._timing.schedule_s
        self._at.take_urcs(_ends_apply)
        self._at.send_then_command(b"", apply_command(self._type), _WRITE_S)
        while clock.monotonic() < deadline:
            try:
                return self._at.wait_urc(_ends_apply, _POLL_S)
            except LinkError as error:
                if error.reason != "no-answer":
                    break  # a port that goes away with the board
            result = self._at.poll_result(0.0)
            if result is not None and not result.ok:
                return str(XdfuStatus(self._type, XdfuOperation.APPLY, -1))
        return ""

    def _has_restarted(self, report: BootReport) -> bool:
        """A start message tells; where noise spoilt it, only a board that did not hear the command is as before."""
        if any(message in START_MESSAGES for message in report.messages):
            return True
        return not self._board.identify().modem_bootloader


def _ends_apply(urc: str) -> bool:
    status = parse_status(urc)
    return urc in START_MESSAGES or (status is not None and status.operation is XdfuOperation.APPLY)


def _incomplete() -> BoardRefusedError:
    return BoardRefusedError(
        "the modem has no working firmware now; the board waits for it in bootloader mode",
        reason="modem-incomplete",
        hint="Run the update again: it takes up a board that waits like this.",
    )


def _checked(image: TransferImage) -> ModemFullInfo:
    info = image.modem_full
    if info is None or len(info.segments) < 2:
        raise UsageError(
            "a full modem image needs its manifest, with a loader and firmware in it",
            reason="no-segments",
        )
    return info
