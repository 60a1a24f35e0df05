"""Waiting for a board that restarts, and gathering what it says.

Sources: ncs-serial-modem ``app/src/main.c`` (``Ready`` is sent at once, the result of an update is queued as
a URC right behind it), ``app/src/sm_at_host.c`` (queued URCs are flushed at the end of a command).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge import clock
from bridge.board.at_client import AtClient
from bridge.board.link import Link
from bridge.errors import LinkError

BOOTLOADER_MODE: Final = "Bootloader mode ready"
START_MESSAGES: Final = ("Ready", "INIT ERROR", BOOTLOADER_MODE)
_PROBE_EVERY_S: Final = 15.0
_PROBE_S: Final = 1.0
_SETTLE_S: Final = 30.0
_MOST_RESTARTS: Final = 8


@dataclass(frozen=True)
class BootReport:
    """What a restart said.

    Attributes:
        messages: The board's own messages, in order, such as ``Ready`` and ``#XFOTA: 5,0``.
        duration_s: From the command to the first answer.
    """

    messages: tuple[str, ...]
    duration_s: float


def wait_boot(at: AtClient, link: Link, deadline: float, seen: Sequence[str] = ()) -> list[str]:
    """Wait until a board that was told to restart answers again, wherever its port comes back.

    Args:
        at: The AT conversation.
        link: Its link.
        deadline: On the monotonic clock.
        seen: Start messages that have been taken already.

    Returns:
        Its messages.

    Raises:
        LinkError: It is not back in time (reason ``not-back``), or restarts again and again (``boot-loop``).
    """
    messages = list(seen)
    alive = bool(messages)
    while True:
        try:
            if not alive:
                messages += _wait_sign_of_life(at, deadline)
                alive = True
            return _settle(at, messages, deadline)
        except LinkError as error:
            if error.reason == "boot-loop":
                raise
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                raise LinkError(
                    "the board did not come back in time after the reset",
                    reason="not-back",
                    hint="Switch it off and on; MCUboot goes on with an interrupted swap.",
                ) from error
            if not link.is_open:
                link.reopen(left_s)
                at.restart()
                alive = at.probe(_PROBE_S)  # its start message may have gone before the port was there


def _wait_sign_of_life(at: AtClient, deadline: float) -> list[str]:
    """Wait for the start message; ask now and then, in case there is none or noise garbled it."""
    while True:
        left_s = deadline - clock.monotonic()
        try:
            return [at.wait_urc(lambda urc: urc in START_MESSAGES, min(_PROBE_EVERY_S, left_s))]
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            if at.probe(_PROBE_S):
                return []
            if left_s <= _PROBE_EVERY_S:
                raise


def _settle(at: AtClient, messages: list[str], deadline: float) -> list[str]:
    """Gather what comes with the start; a board that restarts once more meanwhile is waited for again."""
    for _ in range(_MOST_RESTARTS):
        at.synchronise(max(_PROBE_S, min(_SETTLE_S, deadline - clock.monotonic())))
        if BOOTLOADER_MODE not in messages:  # there, AT is answered with ERROR
            at.flush_urcs()
        later = at.take_urcs()
        messages += later
        if not any(urc in START_MESSAGES for urc in later):
            return messages
    raise LinkError(
        f"the board restarted {_MOST_RESTARTS} times",
        reason="boot-loop",
        hint="Its power or its application is at fault; `nrf91-bridge info` shows whether it calms down.",
    )
