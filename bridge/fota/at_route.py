"""The route over AT: a board that runs Nordic's Serial Modem, which takes images by ``#XDFU``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from bridge.board import Board, BoardIdentity
from bridge.dfu import DfuTarget, XdfuTarget
from bridge.fota.at_proofs import ApplicationProof, ModemDeltaProof
from bridge.fota.proof import Proof
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead, ImageKind

AT_KINDS: Final = frozenset({ImageKind.APPLICATION, ImageKind.MODEM_DELTA})


class AtRoute:
    """See :class:`~bridge.fota.route.Route`.

    Args:
        board: The opened board; whoever opened it closes it.
        why: Why this route was taken.
    """

    name: Final = "xdfu"
    kinds: Final = AT_KINDS

    def __init__(self, board: Board, why: str = "") -> None:
        self.why = why
        self._board = board

    def identify(self) -> BoardIdentity:
        """Ask the modem and the application."""
        return self._board.identify()

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """``AT+IPR`` up, and back down."""
        return nullcontext() if baud is None else self._board.at_baud(baud)

    def target(self, kind: ImageKind) -> DfuTarget:
        """``#XDFU``, whatever the kind."""
        return XdfuTarget(self._board)

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """What the application, or the modem, must show."""
        proof = ModemDeltaProof if kind is ImageKind.MODEM_DELTA else ApplicationProof
        return proof(self._board, before)


def over_at(open_board: Callable[[], AbstractContextManager[Board]]) -> RouteOpener:
    """A route opener for boards that speak AT.

    Args:
        open_board: Opens the board, such as ``lambda: Board.open("/dev/ttyACM0")``.
    """

    @contextmanager
    def open_route(_head: ImageHead) -> Iterator[Route]:
        with open_board() as board:
            yield AtRoute(board)

    return open_route
