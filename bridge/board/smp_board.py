"""A board whose application or bootloader answers SMP: found, identified, reset and found again.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/os_mgmt`` (a reset is answered first, and done 250 ms later by default); MCUboot
``boot/zephyr/main.c`` (with ``BOOT_SERIAL_WAIT_FOR_DFU`` any SMP request that arrives while it boots keeps it in recovery,
so a board that restarts must not be asked too soon).
"""

import logging
from typing import Final

from bridge import clock
from bridge.board.boot import BootReport
from bridge.board.identity import BoardIdentity
from bridge.board.link import DEFAULT_BAUD, Link
from bridge.board.smp_answers import ImageState
from bridge.board.smp_client import SmpClient
from bridge.board.smp_next_boot import next_image, running_image
from bridge.board.smp_restart import RESET_TRIES, restart_once
from bridge.errors import BoardNotFoundError, BoardRefusedError, LinkError
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES

_log = logging.getLogger(__name__)

RECOVERY_BOOT_MODE: Final = 1
RESET_TIMEOUT_S: Final = 180.0
_PROBE_S: Final = 0.6
_RESET_DELAY_S: Final = 1.0
"""Longer than a server waits between its answer and the restart; until then it still answers as if nothing were."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 32.0
_SETTLE_S: Final = 0.05


class SmpBoard:
    """A board behind a port, in an SMP conversation; use as a context manager.

    Args:
        link: A link that is not open yet.
        line_bytes: Longest line that the board takes.

    Attributes:
        link: The port.
        client: The conversation.
        in_recovery: Whether MCUboot's serial recovery answers rather than an application.
        image_index: Number of the MCUboot image that is meant when one is identified or confirmed; 0 is the application.
    """

    def __init__(self, link: Link, *, line_bytes: int = DEFAULT_LINE_BYTES) -> None:
        self.link = link
        self.client = SmpClient(link, line_bytes=line_bytes)
        self.in_recovery = False
        self.image_index = 0
        self._seen: tuple[ImageState, ...] | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        baud: int = DEFAULT_BAUD,
        flow_control: bool = True,
        line_bytes: int = DEFAULT_LINE_BYTES,
        timeout_s: float = 10.0,
    ) -> "SmpBoard":
        """Open a port and make sure that an SMP server answers there.

        Args:
            url: Device name or pyserial URL.
            baud: Bit rate of the server.
            flow_control: RTS/CTS.
            line_bytes: Longest line that the board takes; more than 127 only if its firmware was built for it.
            timeout_s: How long to try.

        Raises:
            BoardNotFoundError: No such port, or nothing answers SMP there (reason ``board-silent``).
            BenchError: The port is held by another program.
        """
        board = cls(Link(url, baud=baud, flow_control=flow_control), line_bytes=line_bytes)
        board.link.open()
        try:
            found = board.probe(timeout_s)
        except BaseException:
            board.close()
            raise
        if not found:
            board.close()
            raise BoardNotFoundError(
                f"nothing on {board.link.url} answers SMP at {baud} baud",
                reason="board-silent",
                hint="Does the application have an SMP server on this port, or is the board in MCUboot's recovery?",
            )
        return board

    def __enter__(self) -> "SmpBoard":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self.link.close()

    def probe(self, timeout_s: float) -> bool:
        """Ask who is there, until somebody answers or time is up; sets :attr:`in_recovery`.

        Raises:
            LinkError: The link is lost.
        """
        deadline = clock.monotonic() + timeout_s
        foreign_line = True
        while True:
            try:
                if foreign_line:
                    # Once only: Zephyr's shell misses a frame that comes in one go with something else.
                    self.client.end_foreign_line()
                    foreign_line = False
                self.in_recovery = self.client.is_recovery(timeout_s=_PROBE_S, tries=1)
            except LinkError as error:
                if error.reason not in {"no-answer", "write-timeout"}:
                    raise
                if clock.monotonic() >= deadline:
                    return False
            else:
                return True

    # --- who it is ------------------------------------------------------------------------------------------

    def identify(self) -> BoardIdentity:
        """Who answers, and what runs, or in recovery would run. SMP tells nothing of the chip or the modem.

        Raises:
            LinkError: It stopped answering.
        """
        states = self.image_states()
        running = running_image(states, self.image_index)
        waiting = next_image(states, self.image_index)
        return BoardIdentity(
            port=self.link.url,
            firmware="mcuboot-recovery" if self.in_recovery else "smp-server",
            application_version=running.version if running else None,
            application_digest=running.digest if running else None,
            pending_version=waiting.version if waiting else None,
            on_trial=running is not None
            and not running.confirmed
            and (running.active or waiting is not None),
        )

    def running_image(self) -> ImageState | None:
        """The entry of the image that runs, of :attr:`image_index`."""
        return running_image(self.image_states(), self.image_index)

    def confirm(self) -> None:
        """Keep the image that runs, of :attr:`image_index`.

        Raises:
            BoardRefusedError: The server does not let it be confirmed; of other images than its own few do.
        """
        running = self.running_image() if self.image_index else None
        self.client.confirm(running.digest if running is not None else None)

    def image_states(self) -> tuple[ImageState, ...]:
        """What is in the slots; nothing when the server has no image group."""
        try:
            self._seen = self.client.image_states()
        except BoardRefusedError as error:
            if error.reason != "not-supported":
                raise
            self._seen = ()
        return self._seen

    def seen_image_states(self) -> tuple[ImageState, ...]:
        """What was in the slots when it was asked last, which is now if it never was."""
        return self.image_states() if self._seen is None else self._seen

    # --- resets ---------------------------------------------------------------------------------------------

    def reset(self, timeout_s: float = RESET_TIMEOUT_S) -> BootReport:
        """Restart the board and wait until its application answers again, swap included.

        A bootloader that stays in recovery because it was asked while it booted is reset once more and then left
        alone for longer.

        Raises:
            LinkError: It did not come back in time (reason ``not-back``).
        """
        started = clock.monotonic()
        deadline = started + timeout_s
        was_in_recovery, pause_s, text = self.in_recovery, _FIRST_PAUSE_S, list[str]()
        while True:
            text += restart_once(self, deadline, pause_s)
            if not self.in_recovery or clock.monotonic() >= deadline or pause_s >= _LONGEST_PAUSE_S:
                return BootReport(tuple(text), clock.monotonic() - started)
            if was_in_recovery and pause_s > _FIRST_PAUSE_S:
                # A button that is held, or no application that could be booted: asking again changes nothing.
                return BootReport(tuple(text), clock.monotonic() - started)
            pause_s = min(4 * pause_s, _LONGEST_PAUSE_S)

    def enter_recovery(self, timeout_s: float = RESET_TIMEOUT_S) -> None:
        """Restart an application into MCUboot's serial recovery.

        Raises:
            BoardRefusedError: The application cannot (``not-supported``), or the board came up in the application
                again (``no-recovery``).
            LinkError: It did not come back in time.
        """
        if self.in_recovery:
            return
        for _ in range(RESET_TRIES):
            answered = self.send_reset(boot_mode=RECOVERY_BOOT_MODE)
            self.wait_back(clock.monotonic() + timeout_s, _FIRST_PAUSE_S)
            if self.in_recovery or answered:
                break
        if not self.in_recovery:
            raise BoardRefusedError(
                "the board restarted, but not into its bootloader's recovery",
                reason="no-recovery",
                hint="The application and MCUboot must be built with boot mode retention; or hold the recovery button"
                " while the board is reset.",
            )

    def send_reset(self, *, boot_mode: int | None = None) -> bool:
        """Ask for a restart; a port that goes away with the board does not matter.

        Returns:
            Whether the server promised it. Else the request was lost, or only its answer.
        """
        self._seen = None
        try:
            self.client.wait_text(0.0)
            self.client.reset(boot_mode=boot_mode)
        except LinkError:
            return False
        return True

    def wait_back(self, deadline: float, pause_s: float) -> list[str]:
        """Wait until a server answers after a restart, wherever the port comes back.

        Args:
            deadline: On the monotonic clock.
            pause_s: How long to leave a board alone that says nothing, before it is asked; doubles each time.

        Returns:
            What was printed meanwhile.

        Raises:
            LinkError: Nothing answers in time (reason ``not-back``).
        """
        text: list[str] = []
        wait_s = _RESET_DELAY_S
        while True:
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                raise LinkError(
                    "nothing answers SMP after the reset",
                    reason="not-back",
                    hint="Switch the board off and on; MCUboot goes on with an interrupted swap.",
                )
            try:
                printed = self.client.wait_text(min(wait_s, left_s))
                if printed:
                    text += printed + self.client.wait_text(_SETTLE_S)
                if self.probe(min(_PROBE_S, left_s)):
                    return text
            except LinkError:
                self.link.reopen(max(0.1, deadline - clock.monotonic()))
                self.client.restart()
            wait_s = pause_s
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
