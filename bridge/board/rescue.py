"""Bringing back a board that does not answer: one that was left at another rate, or in data mode.

A transfer that was cut off on the host's side leaves a Serial Modem at the transfer's rate and waiting for
the rest of a chunk, for ever. Source: ncs-serial-modem ``app/src/sm_at_host.c`` (data mode ends only when the
announced bytes have arrived; noise before ``AT`` is dropped), ``doc/app/at_generic.rst`` (``+IPR`` rates).
"""

import logging
from collections.abc import Iterator
from typing import Final

from bridge import clock
from bridge.board.at_client import AtClient
from bridge.board.link import Link
from bridge.errors import BoardNotFoundError, LinkError, UsageError
from bridge.wire.xdfu import DATA_MODE_EXIT_URC

_log = logging.getLogger(__name__)

OTHER_BAUDS: Final = (1_000_000, 115_200, 921_600, 460_800, 230_400)
FILLER: Final = b"\xff"
"""Erased flash, and dropped by the AT parser when it arrives there."""

_PROBE_S: Final = 0.3
_STEP_MARGIN_S: Final = 0.15
_SYNCHRONISE_S: Final = 2.0
_FIRST_STEP_BYTES: Final = 64
_LARGEST_STEP_BYTES: Final = 8192
_LARGEST_CHUNK_BYTES: Final = 40 * 1024
_FLASH_BYTES_PER_S: Final = 30_000


def bring_back(at: AtClient, link: Link, timeout_s: float) -> None:
    """Make the board answer AT at the link's rate.

    First it is just asked, then at the other rates, then it is led out of data mode; again and again while there is time,
    because an answer may come too late when this computer, or the board, has other things to do.

    Raises:
        LinkError: It stays silent (reason ``no-answer``), or the link is lost.
        BoardNotFoundError: It answers, but at another rate only (reason ``other-baud``).
    """
    deadline = clock.monotonic() + timeout_s
    baud = link.baud
    try:
        at.synchronise(min(timeout_s / 3, _SYNCHRONISE_S))
    except LinkError as error:
        if error.reason != "no-answer":
            raise
        while not _search(at, link, baud, deadline):
            if clock.monotonic() >= deadline:
                link.set_baud(baud)
                raise


def _search(at: AtClient, link: Link, baud: int, deadline: float) -> bool:
    for rate in _rates(link, baud, deadline):
        if rate != baud and at.probe(_PROBE_S):
            _log.info("the board was left at %d baud", rate)
            _bring_to_baud(at, link, baud)
            return True
    for rate in _rates(link, baud, deadline):
        if fill_up(at, link, _LARGEST_CHUNK_BYTES, deadline):
            _log.info("the board was left in data mode at %d baud", rate)
            at.synchronise()
            if rate != baud:
                return_to_baud(at, link, baud)
            return True
    return False


def _bring_to_baud(at: AtClient, link: Link, baud: int) -> None:
    found = link.baud
    try:
        return_to_baud(at, link, baud)
    except LinkError as error:
        if error.reason != "baud-lost":
            raise
        link.set_baud(found)
        if not at.probe(_PROBE_S):
            raise
        raise BoardNotFoundError(
            f"the board answers at {found} baud, and does not switch to {baud}",
            reason="other-baud",
            hint=f"Give --baud {found}.",
        ) from error


def _rates(link: Link, baud: int, deadline: float) -> Iterator[int]:
    """Set the link to one rate after the other, the likeliest for an interrupted transfer first."""
    for rate in dict.fromkeys((OTHER_BAUDS[0], baud, *OTHER_BAUDS)):
        if clock.monotonic() >= deadline:
            return
        try:
            link.set_baud(rate)
        except UsageError:
            continue  # this port cannot do it
        yield rate


def fill_up(at: AtClient, link: Link, limit_bytes: int, deadline: float) -> bool:
    """Lead a board out of data mode by sending filler until it is full; harmless when it is in AT mode.

    How many bytes are missing is unknown. Each step is followed by ``AT``: an answer shows that data mode is
    over. Steps grow, because too much does no harm.

    Args:
        at: The AT conversation.
        link: Its link.
        limit_bytes: When to give up.
        deadline: When to give up, on the monotonic clock.

    Returns:
        Whether the board answers AT.
    """
    step_bytes = _FIRST_STEP_BYTES
    sent_bytes = 0
    while sent_bytes < limit_bytes and clock.monotonic() < deadline:
        wire_s = step_bytes * (10 / link.baud + 1 / _FLASH_BYTES_PER_S)
        at.send_then_command(FILLER * step_bytes, "AT", wire_s + 3.0)
        sent_bytes += step_bytes
        if at.poll_result(wire_s + _STEP_MARGIN_S) is not None:
            return True
        if at.take_urcs(DATA_MODE_EXIT_URC):
            return at.probe(1.0)  # the AT behind the filler was part of the data
        step_bytes = min(4 * step_bytes, _LARGEST_STEP_BYTES)
    return False


def return_to_baud(at: AtClient, link: Link, baud: int) -> None:
    """Get board and link to one rate, from wherever either is.

    Raises:
        LinkError: The board answers at no rate (reason ``baud-lost``).
    """
    for rate in dict.fromkeys((link.baud, baud, *OTHER_BAUDS)):
        try:
            link.set_baud(rate)
        except UsageError:
            continue
        # It may well hear us without our hearing it. If its answer comes late it must not be taken for the next one.
        at.send_then_command(b"", f"AT+IPR={baud}", 3.0)
        at.poll_result(_PROBE_S)
        link.set_baud(baud)
        if at.probe(_PROBE_S) or at.probe(_PROBE_S):
            at.synchronise()
            return
    raise LinkError(
        f"the board answers at no rate since it was told to switch to {baud} baud",
        reason="baud-lost",
        hint="Reset the board; it then goes back to its default rate.",
    )
