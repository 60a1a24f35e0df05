"""The route over AT: a board that runs Nordic's Serial Modem, which takes images by ``#XDFU``."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from bridge.board import Board, BoardIdentity
from bridge.dfu import DfuTarget, XdfuBootloaderTarget, XdfuModemFullTarget, XdfuTarget
from bridge.errors import BoardRefusedError
from bridge.fota.at_proofs import ApplicationProof, ModemDeltaProof
from bridge.fota.bootloader_proof import BootloaderProof
from bridge.fota.modem_full_proof import ModemFullProof
from bridge.fota.proof import Proof
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead, ImageKind

_TARGETS: Final[dict[ImageKind, Callable[[Board], DfuTarget]]] = {
    ImageKind.APPLICATION: XdfuTarget,
    ImageKind.MODEM_DELTA: XdfuTarget,
    ImageKind.MODEM_FULL: XdfuModemFullTarget,
    ImageKind.MCUBOOT_BOOTLOADER: XdfuBootloaderTarget,
}
_PROOFS: Final[dict[ImageKind, Callable[[Board, BoardIdentity], Proof]]] = {
    ImageKind.APPLICATION: ApplicationProof,
    ImageKind.MODEM_DELTA: ModemDeltaProof,
    ImageKind.MODEM_FULL: ModemFullProof,
    ImageKind.MCUBOOT_BOOTLOADER: BootloaderProof,
}
AT_KINDS: Final = frozenset(_TARGETS)


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
        self._waits_for_modem = False
        self._restarts_first = False

    def identify(self) -> BoardIdentity:
        """Ask the modem and the application."""
        identity = self._board.identify()
        self._waits_for_modem = identity.modem_bootloader
        return identity

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """``AT+IPR`` up, and back down; not for modem firmware, whose bootloader mode knows one rate only."""
        if baud is None or self._restarts_first:
            return nullcontext()
        return self._board.at_baud(baud)

    def supply_mv(self) -> int | None:
        """``%XVBAT``; in bootloader mode the modem cannot be asked."""
        try:
            return self._board.modem.battery_mv()
        except BoardRefusedError:
            return None

    def target(self, kind: ImageKind) -> DfuTarget:
        """``#XDFU``, with what is special about the kind.

        Raises:
            BoardRefusedError: The board waits for modem firmware and takes nothing else (reason ``modem-damaged``).
        """
        self._restarts_first = kind is ImageKind.MODEM_FULL
        if self._waits_for_modem and kind is not ImageKind.MODEM_FULL:
            raise BoardRefusedError(
                "the board is in bootloader mode: an update of its modem was cut off, or the modem does not start",
                reason="modem-damaged",
                hint="Write full modem firmware; if the modem was not touched yet, AT#XRESET leads out, too.",
            )
        return _TARGETS[kind](self._board)

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """What the application, the modem or MCUboot must show."""
        return _PROOFS.get(kind, ApplicationProof)(self._board, before)


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
