"""One board: its link, its AT conversation, its identity, and how it is reset and found again.

Sources: ncs-serial-modem ``app/src/main.c`` (``Ready``, then ``#XFOTA: ...``), ``app/src/sm_at_commands.c``
(``#XRESET``, ``#XMODEMRESET``), ``doc/app/at_generic.rst`` (``+IPR``: the result still comes at the old rate;
back to the default after a reset).
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from bridge import clock
from bridge.board import boot, bootloader_mode, rescue
from bridge.board.at_client import AtClient
from bridge.board.boot import BootReport
from bridge.board.identity import BoardIdentity, read_identity
from bridge.board.link import DEFAULT_BAUD, Link
from bridge.board.modem import FunctionalMode, Modem
from bridge.errors import BoardNotFoundError, BoardRefusedError, BridgeError, LinkError

_log = logging.getLogger(__name__)

RESET_TIMEOUT_S: Final = 180.0
"""A swap of two full slots takes MCUboot about 0.4 s per 4 KiB page, which is some 45 s."""
_NEW_BAUD_S: Final = 3.0
MODEM_RESET_TIMEOUT_S: Final = 600.0
"""A restart with a scheduled delta patches the modem's flash; Nordic gives no number but says minutes."""


class Board:
    """A board behind a port; use as a context manager.

    Args:
        link: A link that is not open yet.

    Attributes:
        link: The port.
        at: The AT conversation.
        modem: Typed commands.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.at = AtClient(link)
        self.modem = Modem(self.at)
        self._default_baud = link.baud
        self._mode_to_restore: int | None = None

    @classmethod
    def open(
        cls, url: str, *, baud: int = DEFAULT_BAUD, flow_control: bool = True, timeout_s: float = 10.0
    ) -> "Board":
        """Open a port and make sure that a board answers AT there.

        A board that an interrupted transfer left at another rate or in data mode is brought back.

        Args:
            url: Device name or pyserial URL.
            baud: Rate that the board uses after a reset.
            flow_control: RTS/CTS.
            timeout_s: How long to try.

        Raises:
            BoardNotFoundError: No such port, the port is silent (reason ``board-silent``), or the board answers
                at another rate only (``other-baud``).
            BenchError: The port is held by another program.
        """
        board = cls(Link(url, baud=baud, flow_control=flow_control))
        board.link.open()
        try:
            rescue.bring_back(board.at, board.link, timeout_s)
        except LinkError as error:
            board.close()
            if error.reason not in {"no-answer", "write-timeout"}:
                raise
            raise BoardNotFoundError(
                f"nothing on {board.link.url} answers AT at {baud} baud",
                reason="board-silent",
                hint="Is the board switched on, are port and baud rate right, does its firmware speak AT? The"
                " DKs are silent while DTR is low, and a UART without RTS/CTS needs --no-flow-control.",
            ) from error
        except BaseException:
            board.close()
            raise
        return board

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self.link.close()

    def identify(self) -> BoardIdentity:
        """Ask the board who it is and what it runs.

        Raises:
            LinkError: It stopped answering.
        """
        return read_identity(self.modem, self.link.url)

    # --- resets ---------------------------------------------------------------------------------------------

    def reset(self, timeout_s: float = RESET_TIMEOUT_S) -> BootReport:
        """Restart the whole board and wait until it answers again, swap included.

        Args:
            timeout_s: How long all of it may take.

        Returns:
            What the board said from its start until everything it held back was out.

        Raises:
            BoardRefusedError: Its firmware has no ``#XRESET``.
            LinkError: It did not come back in time (reason ``not-back``).
        """
        started = clock.monotonic()
        deadline = started + timeout_s
        self.at.take_urcs()
        # In bootloader mode the answer may not get out any more, and some ports go away with the board.
        with contextlib.suppress(LinkError):
            self._order("AT#XRESET", timeout_s=min(5.0, timeout_s))
        return self._wait_back(started, deadline)

    def _order(self, command: str, *, timeout_s: float) -> list[str]:
        """Send a command that must not fail for a byte that was damaged on its way: the board does not know it then."""
        try:
            return self.at.command(command, timeout_s=timeout_s)
        except BoardRefusedError as error:
            if error.reason != "at-error":
                raise
        return self.at.command(command, timeout_s=timeout_s)

    def wait_restart(self, seen: Sequence[str] = (), timeout_s: float = RESET_TIMEOUT_S) -> BootReport:
        """Wait until a board that restarts on its own answers again.

        Args:
            seen: Start messages that have been taken already.
            timeout_s: How long it may take.

        Raises:
            LinkError: It did not come back in time (reason ``not-back``).
        """
        started = clock.monotonic()
        return self._wait_back(started, started + timeout_s, seen)

    def _wait_back(self, started: float, deadline: float, seen: Sequence[str] = ()) -> BootReport:
        with contextlib.suppress(LinkError):
            self.link.set_baud(self._default_baud)
        messages = boot.wait_boot(self.at, self.link, deadline, seen)
        duration_s = clock.monotonic() - started
        self._restore_functional_mode()
        return BootReport((*messages, *self.at.take_urcs()), duration_s)

    def enter_bootloader_mode(self, timeout_s: float = bootloader_mode.ENTRY_TIMEOUT_S) -> None:
        """Restart Serial Modem into the mode in which it writes full modem firmware.

        Raises:
            BoardRefusedError: Its firmware was built without it (reason ``not-supported``).
            LinkError: It did not come back, or not in that mode.
        """
        self.link.set_baud(self._default_baud)
        bootloader_mode.enter(self.at, self.link, self.modem, timeout_s)

    def leave_bootloader_mode(self, timeout_s: float = RESET_TIMEOUT_S) -> BootReport:
        """Restart a board that is in that mode; it is there again afterwards if its modem does not start.

        Raises:
            LinkError: It did not come back in time (reason ``not-back``).
        """
        bootloader_mode.leave(self.at)
        return self.wait_restart((), timeout_s)

    def reset_modem(self, timeout_s: float = MODEM_RESET_TIMEOUT_S) -> BootReport:
        """Restart the modem, which applies a scheduled delta.

        Returns:
            The messages, with the answer ``#XMODEMRESET: ...`` as the last but what was held back.

        Raises:
            BoardRefusedError: The modem does not start, and no update result says why (reason
                ``modem-reset-failed``).
            LinkError: No answer in time.
        """
        started = clock.monotonic()
        self.at.take_urcs()
        try:
            answer = self._order("AT#XMODEMRESET", timeout_s=timeout_s)
            duration_s = clock.monotonic() - started
            self.at.flush_urcs()
        finally:
            self._restore_functional_mode()
        messages = (*answer, *self.at.take_urcs())
        updated = any(message.startswith("#XFOTA") for message in messages)
        if not updated and any(
            line.startswith("#XMODEMRESET") and line != "#XMODEMRESET: 0" for line in answer
        ):
            raise BoardRefusedError(f"the modem did not restart: {answer[0]}", reason="modem-reset-failed")
        return BootReport(messages, duration_s)

    # --- radio ----------------------------------------------------------------------------------------------

    def take_offline(self) -> None:
        """Leave the network if the modem is in it; the next reset, or :meth:`go_back_online`, undoes that."""
        try:
            mode = self.modem.functional_mode()
        except BoardRefusedError:
            return
        if mode in (FunctionalMode.POWER_OFF, FunctionalMode.OFFLINE):
            return
        self._mode_to_restore = (
            mode  # first: if only the answer gets lost, the modem is off the network all the same
        )
        self.modem.set_functional_mode(FunctionalMode.OFFLINE)

    def go_back_online(self) -> None:
        """Undo :meth:`take_offline`, as far as the board lets us; raises nothing, because it is done on the way out."""
        self._restore_functional_mode()

    def _restore_functional_mode(self) -> None:
        mode, self._mode_to_restore = self._mode_to_restore, None
        if mode is None:
            return
        try:
            self.modem.set_functional_mode(mode)
        except BridgeError as error:
            _log.warning("the modem did not go back to its functional mode %d: %s", mode, error.message)

    # --- line speed -----------------------------------------------------------------------------------------

    @contextmanager
    def at_baud(self, baud: int) -> Iterator[int]:
        """Talk at another rate as long as the block lasts.

        When the board refuses the rate, or does not answer at it, the block runs at the old one.

        Args:
            baud: The wanted rate; Serial Modem has 115200 to 1000000.

        Yields:
            The rate that is really used.

        Raises:
            LinkError: The board answers at neither rate any more (reason ``baud-lost``).
        """
        original = self.link.baud
        if baud != original:
            self._switch_baud(baud)
        try:
            yield self.link.baud
        except BaseException:
            with contextlib.suppress(BridgeError):  # the first error is the one to tell
                self._leave_baud(baud, original)
            raise
        self._leave_baud(baud, original)

    def _leave_baud(self, baud: int, original: int) -> None:
        if self.link.baud == baud != original and self.link.is_open:
            self._switch_baud(original)

    def _switch_baud(self, baud: int) -> None:
        before = self.link.baud
        try:
            self.at.command(f"AT+IPR={baud}")
        except BoardRefusedError:
            _log.warning("the board does not switch to %d baud; staying at %d", baud, before)
            return
        self.link.set_baud(baud)
        try:
            self.at.synchronise(_NEW_BAUD_S)
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            _log.warning("no answer at %d baud; going back to %d", baud, before)
            rescue.return_to_baud(self.at, self.link, before)
