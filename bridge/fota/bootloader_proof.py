"""Proof that MCUboot updated itself: it runs from its other slot, with the image's counter.

Sources: ncs-serial-modem ``doc/app/at_dfu.rst`` (``#XBOOTINFO``); sdk-nrf ``subsys/bootloader/bl_boot`` (the immutable
bootloader starts the valid slot with the higher counter). MCUboot copies the image at one restart; whether the immutable
bootloader comes by again before the application starts depends on the build, so a second restart may be needed.
"""

from collections.abc import Iterator

from bridge.board import Board, BoardIdentity, BootReport
from bridge.errors import VerificationError
from bridge.fota.proof import WantedImage


class BootloaderProof:
    """See :class:`~bridge.fota.proof.Proof`; versions are counters."""

    success = "MCUboot runs from its other slot with the new counter"

    def __init__(self, board: Board, before: BoardIdentity) -> None:
        self._board = board
        self._before = before

    def version_of(self, identity: BoardIdentity) -> str | None:
        """Counter of the running MCUboot."""
        return None if identity.bootloader_version is None else str(identity.bootloader_version)

    def apply(self) -> BootReport:
        """Reset the board, once more if the first time MCUboot only copied its image."""
        report = self._board.reset()
        after = self._board.identify()
        if (after.bootloader_version, after.bootloader_slot) == self._known:
            again = self._board.reset()
            return BootReport((*report.messages, *again.messages), report.duration_s + again.duration_s)
        return report

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """Counter and slot must both be new."""
        now = (after.bootloader_version, after.bootloader_slot)
        if now == self._known:
            raise VerificationError(
                f"rejected: MCUboot still has counter {now[0]} and runs from s{now[1]}",
                reason="rejected-by-bootloader",
                hint="The board is usable. Are both signatures of the image made with keys that the board knows?",
            )
        if self.version_of(after) != wanted.version or after.bootloader_slot == self._before.bootloader_slot:
            raise VerificationError(
                f"MCUboot now has counter {now[0]} and runs from s{now[1]}; counter {wanted.version} was expected",
                reason="unexpected-version",
            )

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The counter is the image's, and was another one earlier."""
        return wanted.version is not None and self.version_of(now) == wanted.version != earlier

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Nobody can tell over AT."""
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Nothing to do: the immutable bootloader never goes back."""
        return iter(())

    @property
    def _known(self) -> tuple[int | None, int | None]:
        return self._before.bootloader_version, self._before.bootloader_slot
