"""Finding a board again that was lost after its image may have been scheduled, so that nobody is told a guess.

A port that came back under another name, a supply that failed for a minute or an answer that was lost say nothing about the
update: MCUboot or the modem goes on with it at the next start. So the board is waited for and asked.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from bridge import clock
from bridge.board import BoardIdentity
from bridge.dfu import TransferImage
from bridge.errors import BoardNotFoundError, BridgeError, LinkError
from bridge.fota.earlier_run import EarlierRun, Position, find_position
from bridge.fota.events import UpdateEvent
from bridge.fota.leftovers import discard
from bridge.fota.proof import Proof
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead, ImageKind

LONGEST_S: Final = 900.0
"""Longer than a modem needs to apply a delta; after that somebody has to look after the board."""
LOST: Final = (LinkError, BoardNotFoundError)
"""What says nothing about the update."""
_KNOCK_AGAIN_S: Final = 1.0

StopReason = Callable[[], BridgeError | None]
TakeUp = Callable[[Position, EarlierRun, Route, Proof], Iterator[UpdateEvent]]
"""Brings an update to its end from where the board stands."""


class SecondLook:
    """One search for a board, and what is done when it is found.

    Args:
        open_route: Opens the board.
        head: Of the image that was written.
        kind: As what it was written.
        size_bytes: Its size.
        failure: Why the board is looked at again; raised when the image is not there.

    Attributes:
        unfinished: What ran is partly overwritten, and only writing the image once more helps.
    """

    def __init__(
        self,
        open_route: RouteOpener,
        head: ImageHead,
        kind: ImageKind,
        size_bytes: int,
        failure: BridgeError,
    ) -> None:
        self._open_route = open_route
        self._head = head
        self._kind = kind
        self._size_bytes = size_bytes
        self._failure = failure
        self.unfinished = False

    def run(
        self, how_far: Callable[[], EarlierRun], take_up: TakeUp, stop_reason: StopReason
    ) -> Iterator[UpdateEvent]:
        """Look, again and again if the board gets lost again.

        Args:
            how_far: Tells how far the update got by now.
            take_up: Goes on with it.
            stop_reason: Why to give up now, if there is a reason.

        Yields:
            Events of what is done.

        Raises:
            BridgeError: The failure, with nothing left on the board that could be installed later, or with a board that
                stays lost; or what going on raised.
        """
        deadline_s = clock.monotonic() + LONGEST_S
        while True:
            try:
                with _found_again(self._open_route, self._head, deadline_s, stop_reason) as (route, now):
                    yield from self._settle(how_far(), route, now, take_up)
            except LOST as lost:
                if lost is self._failure or clock.monotonic() > deadline_s:
                    raise self._failure from None
            else:
                return

    def _settle(
        self, earlier: EarlierRun, route: Route, now: BoardIdentity, take_up: TakeUp
    ) -> Iterator[UpdateEvent]:
        proof = route.proof(self._kind, now)
        position = find_position(earlier, proof, now, self._head.version)
        if position is not Position.UNKNOWN:
            yield from take_up(position, earlier, route, proof)
            return
        target = route.target(self._kind)
        if target.in_place and isinstance(self._failure, LOST):
            self.unfinished = True
            return
        left = discard(target, TransferImage(self._kind, self._size_bytes))
        raise left if isinstance(left, LOST) else self._failure


@contextmanager
def _found_again(
    open_route: RouteOpener, head: ImageHead, deadline_s: float, stop_reason: StopReason
) -> Iterator[tuple[Route, BoardIdentity]]:
    """Open a board as soon as it answers."""
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
