"""Finding a board again that was lost after its image may have been scheduled, so that nobody is told a guess.

A port that came back under another name, a supply that failed for a minute or an answer that was lost say nothing about the
update: MCUboot or the modem goes on with it at the next start. So the board is waited for and asked.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bridge import clock
from bridge.board import BoardIdentity
from bridge.errors import BoardNotFoundError, BridgeError, LinkError
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead

LONGEST_S: Final = 900.0
"""Longer than a modem needs to apply a delta; after that somebody has to look after the board."""
_KNOCK_AGAIN_S: Final = 1.0
LOST: Final = (LinkError, BoardNotFoundError)


@contextmanager
def found_again(
    open_route: RouteOpener, head: ImageHead, deadline_s: float, stop_reason: Callable[[], BridgeError | None]
) -> Iterator[tuple[Route, BoardIdentity]]:
    """Open a board as soon as it answers.

    Args:
        open_route: Opens it.
        head: Of the image that was written.
        deadline_s: When to give up, on the monotonic clock.
        stop_reason: Why to give up now, if there is a reason.

    Yields:
        The route, and what the board says.

    Raises:
        LinkError: It did not come back in time.
        BoardNotFoundError: The same.
        BridgeError: The reason to stop.
    """
    with ExitStack() as stack:
        while True:
            attempt = ExitStack()
            try:
                route = attempt.enter_context(open_route(head))
                identity = route.identify()
                break
            except LOST:
                attempt.close()
                if clock.monotonic() > deadline_s:
                    raise
            except BaseException:
                attempt.close()
                raise
            if (reason := stop_reason()) is not None:
                raise reason
            clock.event().wait(_KNOCK_AGAIN_S)  # nothing announces that a board is back
        stack.enter_context(attempt)
        yield route, identity
