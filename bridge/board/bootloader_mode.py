"""Serial Modem's bootloader mode, in which it writes full modem firmware: getting there, and telling it from others.

Sources: ncs-serial-modem ``app/src/sm_at_dfu.c`` (``#XDFUINIT=2`` restarts into it, in it as well; since 2026 ``OK`` is
said before), ``app/src/main.c`` (a modem that does not start leads there too; the request is forgotten at the start, so
one more restart leads out again), ``app/src/sm_at_host.c`` (only ``#XDFU...`` and ``#XRESET`` are not answered ``ERROR``).
"""

from typing import Final

from bridge import clock
from bridge.board import boot
from bridge.board.at_client import AtClient
from bridge.board.identity import in_bootloader_mode
from bridge.board.link import Link
from bridge.board.modem import Modem
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.at import FinalResult
from bridge.wire.xdfu import XdfuType, init_command

ENTRY_TIMEOUT_S: Final = 60.0
_REFUSAL_S: Final = 0.5
"""In that time ``ERROR`` comes, if it comes; silence is what older versions answer when they restart."""
_RESET: Final = "AT#XRESET"
_WRITE_S: Final = 3.0
_TRIES: Final = 2


def enter(at: AtClient, link: Link, modem: Modem, timeout_s: float = ENTRY_TIMEOUT_S) -> None:
    """Restart the board into bootloader mode; whatever it was told in that mode before is forgotten.

    Args:
        at: The AT conversation.
        link: Its link, at the rate that the board has after a restart.
        modem: Its typed commands.
        timeout_s: How long each of two tries may take.

    Raises:
        BoardRefusedError: The firmware was built without it (reason ``not-supported``).
        LinkError: The board did not come back (``not-back``), or not in that mode (``no-bootloader-mode``).
    """
    with at.session():
        for _ in range(_TRIES):
            _request(at)
            if boot.BOOTLOADER_MODE in boot.wait_boot(at, link, clock.monotonic() + timeout_s):
                return
            if in_bootloader_mode(modem):  # noise may have spoilt the message
                return
    raise LinkError(
        "the board did not restart into the mode in which it writes modem firmware",
        reason="no-bootloader-mode",
        hint="Reset the board and try again; nothing was written.",
    )


def leave(at: AtClient) -> None:
    """Have a board in bootloader mode restart; older versions do so without ``OK``.

    Raises:
        LinkError: It does not answer at all.
    """
    with at.session():
        _send(at, _RESET)


def _send(at: AtClient, command: str) -> FinalResult | None:
    at.synchronise()
    at.take_urcs()
    at.send_then_command(b"", command, _WRITE_S)
    return at.poll_result(_REFUSAL_S)


def _request(at: AtClient) -> None:
    result = _send(at, init_command(XdfuType.MODEM_FULL))
    if result is not None and not result.ok:
        raise BoardRefusedError(
            f"the board's firmware does not write full modem images by #XDFU: it answered {result.text}",
            reason="not-supported",
            hint="Serial Modem must be built with CONFIG_SM_DFU_MODEM_FULL, which is off by default.",
        )
