"""The modem's update area: what is in it before a delta is written, and how it is emptied.

Sources: nrfxlib ``nrf_modem_delta_dfu.h`` (the modem keeps an offset over resets; a dirty area must be
erased; erasing is quicker off the network), NCS ``dfu_target_modem_delta.c`` (``#XDFUINIT`` erases a dirty
area only, so a partly filled one would get the new delta appended), ncs-serial-modem ``app/src/sm_at_fota.c``
(``#XFOTA=7`` and ``=9``).
"""

from collections.abc import Callable
from typing import Final

from bridge.board import Board
from bridge.dfu.target import TransferRestartError
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.xdfu import XdfuType, apply_command, init_command

DIRTY_OFFSET: Final = 2_621_440
"""Offset that the modem gives when its area must be erased."""

_POISON_BYTES: Final = 4096


class DeltaArea:
    """Prepares the area for a delta and empties it again.

    Args:
        board: The board.
        write_filler: Appends that many bytes that are no part of any delta.
        notice: Called with remarks for people.
        command_timeout_s: How long an answer may take when nothing is erased.
        erase_timeout_s: How long an erase may take.

    Attributes:
        written_bytes: How many bytes of the delta that is being written are certainly in the area, in order
            and complete; None when that is not known. A transfer that starts again resumes there.
    """

    def __init__(
        self,
        board: Board,
        write_filler: Callable[[int], None],
        notice: Callable[[str], None],
        *,
        command_timeout_s: float,
        erase_timeout_s: float,
    ) -> None:
        self.written_bytes: int | None = None
        self._board = board
        self._write_filler = write_filler
        self._notice = notice
        self._command_timeout_s = command_timeout_s
        self._erase_timeout_s = erase_timeout_s

    def prepare(self, size_bytes: int) -> int:
        """Take the modem off the network, open a session, and see to it that the area is empty.

        Returns:
            0, or the offset at which the interrupted transfer of the same delta goes on.

        Raises:
            BoardRefusedError: The delta does not fit (``too-large``), the firmware has no delta updates
                (``not-supported``), or the area does not get empty (``area-not-erased``).
            LinkError: No answer in time.
        """
        area = self._area()
        if area is not None and size_bytes > area[0]:
            raise BoardRefusedError(
                f"the delta of {size_bytes} bytes does not fit into the modem's area of {area[0]}",
                reason="too-large",
            )
        self._board.take_offline()
        self._open_session(size_bytes)
        filled = self._filled_bytes()
        if filled and filled == self.written_bytes:
            return filled
        if filled:
            self._empty(size_bytes)
        self.written_bytes = 0
        return 0

    def invalidate(self) -> None:
        """Make a scheduled delta something that the modem cannot install.

        Where it cannot be erased, filler is appended: the modem authenticates the whole area and refuses it. The modem is
        taken off the network first, as for every erase; whoever calls this brings it back.

        Raises:
            BoardRefusedError: Nothing of that worked (reason ``not-invalidated``).
        """
        self._board.take_offline()
        self._erase_if_dirty()
        if self._filled_bytes() != 0 and not self._poison():
            raise BoardRefusedError(
                "the scheduled delta could not be invalidated",
                reason="not-invalidated",
                hint="It is applied when the modem restarts. Write the wanted delta before that happens.",
            )
        self.written_bytes = None

    def _poison(self) -> bool:
        """Append filler; True when the area certainly holds it."""
        before = self._filled_bytes()
        try:
            self._write_filler(_POISON_BYTES)
        except TransferRestartError:
            return False
        after = self._filled_bytes()
        return before is not None and after not in (None, before)

    def _open_session(self, size_bytes: int) -> None:
        command = init_command(XdfuType.MODEM_DELTA, size_bytes)
        try:
            if self._filled_bytes() in (None, DIRTY_OFFSET):
                self._erase(command)
            self._board.at.command_again(command, timeout_s=self._command_timeout_s)
        except BoardRefusedError as error:
            raise BoardRefusedError(
                f"the board does not take the modem delta: {error.message}",
                reason="not-supported",
                hint="Does Serial Modem firmware run (`nrf91-bridge info`), and is the modem started?",
            ) from error

    def _empty(self, size_bytes: int) -> None:
        """Drop what an interrupted transfer has left.

        Only a dirty area can be erased by command. One that is partly filled becomes dirty when the modem is
        told to install it and refuses, which it does with anything that is not authentic; filler makes sure
        of that.
        """
        self._erase_if_dirty()
        if self._filled_bytes() == 0:
            return
        self._notice("the modem's update area holds an unfinished delta; the modem restarts to drop it")
        if self._poison():
            self._board.at.command(apply_command(XdfuType.MODEM_DELTA))
            self._board.reset_modem(self._erase_timeout_s)
            self._board.take_offline()
            self._open_session(size_bytes)
        if self._filled_bytes() != 0:
            raise BoardRefusedError(
                "the modem's update area holds an unfinished delta that cannot be erased",
                reason="area-not-erased",
                hint="Reset the board and try again.",
            )

    def _erase(self, command: str) -> None:
        """Send a command that may erase, once: a second one would wait as long again.

        Raises:
            LinkError: The modem did not finish in time (reason ``erase-timeout``).
        """
        try:
            self._board.at.command(
                command,
                timeout_s=self._erase_timeout_s,
                on_slow=lambda: self._notice("the modem is erasing its update area; this can take minutes"),
            )
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            if self._is_empty_now():
                return  # only the answer was lost
            raise LinkError(
                f"the modem did not erase its update area within {self._erase_timeout_s:g} s",
                reason="erase-timeout",
                hint="It may still be erasing. Reset the board, keep it off the network (AT+CFUN=4), and try again.",
            ) from error

    def _is_empty_now(self) -> bool:
        try:
            return self._filled_bytes() == 0
        except LinkError:
            return False

    def _erase_if_dirty(self) -> None:
        try:
            self._erase("AT#XFOTA=9")
        except BoardRefusedError:
            return  # nothing to erase for it, or no such command

    def _filled_bytes(self) -> int | None:
        area = self._area()
        return None if area is None else area[1]

    def _area(self) -> tuple[int, int] | None:
        try:
            return self._board.modem.delta_area()
        except BoardRefusedError:
            return None
