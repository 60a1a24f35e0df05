"""Restarting a board over SMP, and knowing that it did: the request or its answer may be lost, and may take its time.

Asking twice is not always harmless: a second restart undoes the trial of a new image. Source: MCUboot ``docs/design.md``: no
image waits through a restart, and none is on trial both before and after one.
"""

import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Final, Protocol

from bridge import clock
from bridge.board.smp_answers import ImageState
from bridge.errors import LinkError

_log = logging.getLogger(__name__)

RESET_TRIES: Final = 3
_LATE_RESET_S: Final = 12.0
"""How long a server that has promised a restart may take over it; Zephyr has ``MCUMGR_GRP_OS_RESET_MS`` for that."""


class Restartable(Protocol):
    """What is needed of a board; see :class:`~bridge.board.smp_board.SmpBoard`."""

    in_recovery: bool

    def image_states(self) -> tuple[ImageState, ...]:
        """What is in the slots."""

    def send_reset(self) -> bool:
        """Ask for a restart; whether it was promised."""

    def wait_back(self, deadline: float, pause_s: float) -> list[str]:
        """Wait until a server answers; what was printed meanwhile."""


def restart_once(board: Restartable, deadline: float, pause_s: float) -> list[str]:
    """Restart a board and wait until a server answers again; ask again only if nothing happened.

    Args:
        board: The board.
        deadline: On the monotonic clock.
        pause_s: How long to leave it alone while it says nothing.

    Returns:
        What was printed meanwhile.

    Raises:
        BoardRefusedError: It refuses to restart.
        LinkError: It did not come back in time (reason ``not-back``).
    """
    was_in_recovery, before, text = board.in_recovery, frozenset[object](), list[str]()
    with suppress(LinkError):
        before = _unsettled(board)
    for _ in range(RESET_TRIES):
        answered = board.send_reset()
        given_up = min(deadline, clock.monotonic() + _LATE_RESET_S)
        while True:
            text += board.wait_back(deadline, pause_s)
            if was_in_recovery or board.in_recovery:
                return text  # who stays there, or came there, is the caller's affair
            restarted = _has_changed(board, before) if before else answered
            if restarted or not before or clock.monotonic() >= given_up:
                break
        if restarted:
            break
        _log.warning("the board has not restarted")
    return text


def _has_changed(board: Restartable, before: Collection[object]) -> bool:
    try:
        return _unsettled(board) != before
    except LinkError:
        return False  # it goes down just now


def _unsettled(board: Restartable) -> frozenset[object]:
    """Images that wait for a restart, or run on trial."""
    return frozenset(
        (state.image, state.slot, state.digest or state.version, state.pending)
        for state in board.image_states()
        if state.pending or (state.active and not state.confirmed)
    )
