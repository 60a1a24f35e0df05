"""Proof that a full modem update by ``#XDFU`` took: the modem starts, and its version is the image's.

The board has restarted at the end of the transfer. A modem that does not start leads Serial Modem into its bootloader mode
(source: ncs-serial-modem ``app/src/main.c``). ``#XDFU`` has no way to read back what was written.
"""

from collections.abc import Iterator

from bridge.board import Board, BoardIdentity, BootReport
from bridge.errors import VerificationError
from bridge.fota.proof import WantedImage
from bridge.fota.versions import modem_release


class ModemFullProof:
    """See :class:`~bridge.fota.proof.Proof`."""

    success = "the modem starts with the new firmware and tells its version"

    def __init__(self, board: Board, before: BoardIdentity) -> None:
        self._board = board
        self._before = before

    def version_of(self, identity: BoardIdentity) -> str | None:
        """Release of the running modem firmware, such as ``2.0.2``; None for a modem that does not start."""
        return modem_release(identity.modem_version) or identity.modem_version

    def apply(self) -> BootReport:
        """Nothing is left to do."""
        return BootReport((), 0.0)

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """The modem must answer, with the wanted version."""
        running = after.modem_version
        if after.modem_bootloader or running is None:
            raise VerificationError(
                "the modem does not start with its new firmware; the board waits in bootloader mode",
                reason="modem-damaged",
                hint="Run the update again, with firmware that is made for this chip.",
            )
        if wanted.version is None:
            self.success = f"the modem starts and runs {running}; the image does not tell its version"
        elif modem_release(running) != modem_release(wanted.version):
            raise VerificationError(
                f"the modem runs {running}, not {wanted.version}",
                reason="modem-not-updated" if running == self._before.modem_version else "unexpected-version",
                hint="The board is usable.",
            )

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The modem runs the image's version, and ran something else earlier."""
        target = modem_release(wanted.version)
        return target is not None and modem_release(now.modem_version) == target != modem_release(earlier)

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Never: a board in bootloader mode does not tell how far it got, and nothing there can be trusted."""
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Nothing to do: a full update is final."""
        return iter(())
