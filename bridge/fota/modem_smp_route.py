"""The route for full modem firmware over SMP, to a board that runs NCS's fmfu server.

That server knows no version: it holds the modem in bootloader mode, and AT commands are not answered. What can be proven
is what the modem's flash holds. A build with its console on this port also prints the modem's version whenever it starts
(source: sdk-nrf ``samples/cellular/fmfu_smp_svr/src/main.c``); the sample as it is prints it elsewhere.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from bridge.board import BoardIdentity, BootReport
from bridge.board.smp_board import SmpBoard
from bridge.dfu import DfuTarget
from bridge.dfu.modem_smp import ModemSmpTarget
from bridge.dfu.modem_smp_client import ModemSmpClient
from bridge.errors import BoardRefusedError, VerificationError
from bridge.fota.proof import Proof, WantedImage
from bridge.fota.versions import modem_release
from bridge.image import ImageKind

_MODEM_VERSION: Final = re.compile(r"Modem version: *(\S+)")
_WHOLE_DIGEST_BYTES: Final = 32


def updates_modem(board: SmpBoard) -> bool:
    """Whether the server behind a port updates the modem.

    Raises:
        LinkError: It does not answer any more.
    """
    return not board.in_recovery and ModemSmpClient(board.client).is_offered()


class ModemSmpRoute:
    """See :class:`~bridge.fota.route.Route`.

    Args:
        board: The opened board; whoever opened it closes it.
        why: Why this route was taken.

    Raises:
        BoardRefusedError: Its server does not update modems (reason ``not-supported``).
    """

    name: Final = "modem-smp"
    kinds: Final = frozenset({ImageKind.MODEM_FULL})

    def __init__(self, board: SmpBoard, why: str = "") -> None:
        if not updates_modem(board):
            raise BoardRefusedError(
                "the SMP server on the port has no commands for modem firmware",
                reason="not-supported",
                hint="Program NCS's fmfu_smp_svr sample; or use Serial Modem with CONFIG_SM_DFU_MODEM_FULL by #XDFU.",
            )
        self.why = why
        self._board = board
        self._target: ModemSmpTarget | None = None

    def identify(self) -> BoardIdentity:
        """The server's application; nothing of the chip and the modem."""
        return replace(self._board.identify(), firmware="fmfu")

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """SMP has no way to change the rate."""
        return nullcontext()

    def supply_mv(self) -> int | None:
        """Not told over SMP."""
        return None

    def target(self, kind: ImageKind) -> DfuTarget:
        """The modem's flash."""
        self._target = ModemSmpTarget(self._board)
        return self._target

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """What was read back, and what the board prints."""
        return _ModemSmpProof(self)

    def restart(self) -> BootReport:
        """Restart the board, which lets the modem start once."""
        return self._board.reset()

    @property
    def transfer(self) -> ModemSmpTarget | None:
        """The transfer that was made."""
        return self._target


class _ModemSmpProof:
    """The modem's flash holds the firmware, as far as its digests can be compared; and the version, if it is printed."""

    success = "the modem took its new firmware"

    def __init__(self, route: ModemSmpRoute) -> None:
        self._route = route
        self._printed: str | None = None

    def version_of(self, identity: BoardIdentity) -> str | None:
        """The version that was printed at the last start, if one was."""
        return modem_release(self._printed) or self._printed

    def apply(self) -> BootReport:
        """Restart the board and listen."""
        report = self._route.restart()
        found = (_MODEM_VERSION.search(line) for line in report.messages)
        self._printed = next((match[1] for match in found if match is not None), None)
        return report

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """A version that is printed must be the wanted one; digests were judged when they were read."""
        if (
            self._printed is None
            or wanted.version is None
            or modem_release(self._printed) == modem_release(wanted.version)
        ):
            return
        raise VerificationError(
            f"the modem starts with {self._printed}, not {wanted.version}", reason="unexpected-version"
        )

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Nobody can tell."""
        return False

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Never: written is installed."""
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Say what was proven, and what was not; raise ``VerificationError`` when it was nothing (reason ``unproven``)."""
        transfer = self._route.transfer
        result = transfer.read_back if transfer else None
        held = result is not None and result.proven
        if result is not None and held:
            yield f"read back: {result.matched} range(s) of the modem's flash hold what " + (
                "the release says" if result.from_release else "was sent"
            )
            if result.shortest_bytes < _WHOLE_DIGEST_BYTES:
                yield f"the server told only the first {result.shortest_bytes} bytes of each digest"
        else:
            yield "the digests of the modem's flash are not those of the file, as with all encrypted firmware"
        if self._printed is None:
            if not held:
                raise VerificationError(
                    "the modem took all of its new firmware, but nothing was seen that proves it",
                    reason="unproven",
                    hint="Write the release's zip: its digest.txt says what the modem's flash must hold.",
                )
            yield "not proven: this server does not let the modem run, so its version was not read"
        self.success = _success(held=held, printed=self._printed)


def _success(*, held: bool, printed: str | None) -> str:
    flash = "the modem's flash holds the new firmware" if held else "the modem took its new firmware"
    return f"{flash}; it starts as {printed}" if printed else f"{flash}; whether it starts was not seen"
