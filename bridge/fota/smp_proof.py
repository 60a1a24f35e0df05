"""Proof over SMP: the digest of the image that runs, and that it is confirmed.

Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt_state.c`` (active, confirmed); MCUboot ``docs/design.md`` (an
image on trial that is not confirmed goes away with the next reset).
"""

from collections.abc import Iterator
from typing import Final

from bridge import clock
from bridge.board import BoardIdentity, BootReport
from bridge.board.smp_board import SmpBoard
from bridge.errors import BoardRefusedError, VerificationError
from bridge.fota.proof import WantedImage
from bridge.fota.versions import same_version

_ASK_AGAIN_S: Final = 1.0
_WAITING_HINT: Final = (
    "The board is usable. At its next reset it tries the image; `nrf91-bridge smp confirm` then keeps it, else the reset after"
    " that takes it away."
)


def check_application(before: BoardIdentity, after: BoardIdentity, wanted: WantedImage) -> None:
    """Raise ``VerificationError`` unless the wanted application runs: by digest where the board tells it, else by version."""
    if after.firmware == "mcuboot-recovery":
        raise VerificationError(
            "the board is still in its bootloader's recovery: MCUboot lists the image as valid, but nobody has seen it run",
            reason="still-in-recovery",
            hint="Is the recovery button held down? Release it and reset the board.",
        )
    if _runs(after, wanted):
        return
    if after.pending_version is not None and same_version(after.pending_version, wanted.version):
        raise VerificationError(
            "the board did not restart when it was asked to; the new image still waits for that",
            reason="not-restarted",
            hint=_WAITING_HINT,
        )
    running = f"{after.application_version} ({(after.application_digest or 'no digest')[:16]})"
    if (after.application_version, after.application_digest) == (
        before.application_version,
        before.application_digest,
    ):
        raise VerificationError(
            f"rejected by the bootloader: after the reboot the board still runs {running} (an image that crashes before it"
            " answers looks the same)",
            reason="rejected-by-bootloader",
            hint="The board is usable. Check that the image is signed with the key that the board's MCUboot knows.",
        )
    raise VerificationError(
        f"after the reboot the board runs {running}, not the new {wanted.version}",
        reason="unexpected-version",
    )


def _runs(identity: BoardIdentity, wanted: WantedImage) -> bool:
    return _is_wanted(identity.application_version, identity.application_digest, wanted)


def _is_wanted(version: str | None, digest: str | None, wanted: WantedImage) -> bool:
    if wanted.digest is not None and digest is not None:
        return digest == wanted.digest
    return same_version(version, wanted.version)


def _reverted(wanted: WantedImage, running: str | None) -> VerificationError:
    return VerificationError(
        f"reverted: {wanted.version} booted but was never confirmed, and MCUboot went back to {running}",
        reason="reverted",
        hint="The board is usable. The new application must confirm its image after a test swap.",
    )


def confirm_over_smp(board: SmpBoard, wanted: WantedImage, timeout_s: float, *, by_us: bool) -> Iterator[str]:
    """See to it that the running image stays.

    Args:
        board: The board, with the application's server.
        wanted: What must run.
        timeout_s: How long an application that confirms itself may take.
        by_us: Confirm it; otherwise the application must, and one that does not is seen to go back.

    Yields:
        Remarks for people.

    Raises:
        VerificationError: It is not confirmed (``not-confirmed``) or went back (``reverted``).
    """
    if _is_confirmed(board, wanted, timeout_s if not by_us else 0.0):
        return
    if by_us:
        try:
            board.confirm()
        except BoardRefusedError as error:
            raise VerificationError(
                f"the new image runs on trial, but the board does not confirm it: {error.message}",
                reason="not-confirmed",
                hint="It goes away with the next reset; the board is usable.",
            ) from error
        if _is_confirmed(board, wanted, 0.0):
            return
        raise VerificationError(
            "the new image runs, but the board does not show it as confirmed", reason="not-confirmed"
        )
    yield "the new image did not confirm itself; resetting once more to see whether it stays"
    board.reset()
    after = board.identify()
    if not _runs(after, wanted):
        raise _reverted(wanted, after.application_version)


def _is_confirmed(board: SmpBoard, wanted: WantedImage, timeout_s: float) -> bool:
    """Whether the wanted image is confirmed; one that MCUboot went back to meanwhile is, and is another one."""
    deadline = clock.monotonic() + timeout_s
    while True:
        running = board.running_image()
        if running is not None and running.confirmed:
            if not _is_wanted(running.version, running.digest, wanted):
                raise _reverted(wanted, running.version)
            return True
        left_s = deadline - clock.monotonic()
        if left_s <= 0:
            return False
        board.client.wait_text(min(_ASK_AGAIN_S, left_s))  # an application that confirms itself often says so


class SmpApplicationProof:
    """An application with Zephyr's SMP server: test swap, the image's own digest runs, and it is confirmed.

    Args:
        board: The board.
        before: What it said before.
        confirms: Whether the bridge confirms the image, or waits for the application to do it.
    """

    success = "the board runs the new image, by its digest, and it is confirmed"

    def __init__(self, board: SmpBoard, before: BoardIdentity, *, confirms: bool = True) -> None:
        self._board = board
        self._before = before
        self._confirms = confirms

    def version_of(self, identity: BoardIdentity) -> str | None:
        """Version of the running application."""
        return identity.application_version

    def apply(self) -> BootReport:
        """Reset the board; MCUboot swaps."""
        try:
            return self._board.reset()
        except BoardRefusedError as error:
            raise VerificationError(
                f"the new image waits for a restart, which the application refuses: {error.message}",
                reason="not-restarted",
                hint=_WAITING_HINT,
            ) from error

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """The digest of the running image must be the new image's."""
        check_application(self._before, after, wanted)

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The image's digest runs, if both are known; else its version, and it was another one earlier."""
        if wanted.digest is not None and now.application_digest is not None:
            return now.application_digest == wanted.digest
        return same_version(now.application_version, wanted.version) and not same_version(
            earlier, wanted.version
        )

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The image list shows an image of that version as pending."""
        return same_version(now.pending_version, wanted.version)

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Confirm over SMP, or see the application do it."""
        return confirm_over_smp(self._board, wanted, timeout_s, by_us=self._confirms)
