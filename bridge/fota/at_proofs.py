"""Proofs over AT: the application's own version and word, the modem's version, build and result.

Sources: ncs-serial-modem ``app/src/sm_at_fota.c`` and ``app/src/main.c`` (the application confirms itself after a test swap
and says ``#XFOTA: 5,0``; a rejected image is met with silence); nrfxlib ``nrf_modem.h`` (results of a modem delta).
"""

import re
from collections.abc import Iterator
from typing import Final

from bridge.board import Board, BoardIdentity, BootReport
from bridge.errors import LinkError, VerificationError
from bridge.fota.proof import STILL_SCHEDULED, WantedImage
from bridge.fota.versions import modem_release, same_version

_UPDATE_RESULT: Final = re.compile(r"#XFOTA: ?[45],(\d+)(?:,(\d+))?")
_CONFIRMED: Final = "#XFOTA: 5,0"
_DELTA_RESULTS: Final = {
    0x4400001: ("modem-internal-error", "internal error; the modem must be reprogrammed with a full package"),
    0x4400002: ("modem-hardware-error", "hardware error; the modem must be reprogrammed with a full package"),
    0x4400003: (
        "modem-auth-error",
        "the modem could not authenticate the delta; the old firmware keeps running",
    ),
    0x4400004: (
        "wrong-delta-base",
        "the delta is for another modem firmware; the old firmware keeps running",
    ),
    0x4400005: (STILL_SCHEDULED, "the supply voltage is too low for a modem update"),
}


class ApplicationProof:
    """MCUboot test swap: the new version answers, and it confirmed itself."""

    success = "the board runs the new image and has confirmed it"

    def __init__(self, board: Board, before: BoardIdentity) -> None:
        self._board = board
        self._before = before

    def version_of(self, identity: BoardIdentity) -> str | None:
        """Version of the running application, without the ``v`` that firmware likes to print."""
        return (identity.application_version or "").removeprefix("v") or None

    def apply(self) -> BootReport:
        """Reset the board; MCUboot swaps."""
        return self._board.reset()

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """The running version must be the image's, and must be new unless the boot itself told of a swap."""
        running, old = after.application_version, self._before.application_version
        swapped = _CONFIRMED in report.messages
        if same_version(running, wanted.version) and (swapped or not same_version(running, old)):
            return
        if same_version(running, old):
            raise VerificationError(
                f"rejected by the bootloader: after the reboot the board still runs {running} (an image that"
                " crashes before it answers looks the same)",
                reason="rejected-by-bootloader",
                hint="The board is usable. Check that the image is signed with the key that the board's MCUboot knows.",
            )
        raise VerificationError(
            f"after the reboot the board runs {running}, neither the old {old} nor the new {wanted.version}",
            reason="unexpected-version",
        )

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The running version is the image's, and it was another one earlier."""
        return same_version(now.application_version, wanted.version) and not same_version(
            earlier, wanted.version
        )

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Nobody can tell over AT."""
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Accept the board's word, or reset it once more: an image that was not confirmed is then gone."""
        if _CONFIRMED in report.messages or self._says_so(timeout_s):
            return
        yield "the new image did not say that it confirmed itself; resetting once more to see whether it stays"
        if not self._board.reset().messages:
            # The request may have got lost; then the image was not put to the test.
            yield "nothing shows that the board has restarted; resetting once more"
            self._board.reset()
        running = self._board.identify().application_version
        if not same_version(running, wanted.version):
            raise VerificationError(
                f"reverted: {wanted.version} booted but was never confirmed, and MCUboot went back to {running}",
                reason="reverted",
                hint="The board is usable. The new application must confirm its image after a test swap.",
            )

    def _says_so(self, timeout_s: float) -> bool:
        try:
            self._board.at.wait_urc(_CONFIRMED, timeout_s)
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            return False
        return True


class ModemDeltaProof:
    """Modem delta: the modem reports success, and its version (or at least its build UUID) is the new one."""

    success = "the modem runs the new firmware"

    def __init__(self, board: Board, before: BoardIdentity) -> None:
        self._board = board
        self._before = before

    def version_of(self, identity: BoardIdentity) -> str | None:
        """Release of the running modem firmware, such as ``2.0.2``."""
        return modem_release(identity.modem_version) or identity.modem_version

    def apply(self) -> BootReport:
        """Restart the modem, which applies the delta; this may take minutes."""
        return self._board.reset_modem()

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """The modem's own result must not be a failure, and its firmware must have changed to the target."""
        _check_modem_result(report)
        running, old = after.modem_version, self._before.modem_version
        if wanted.version is not None and modem_release(running) != modem_release(wanted.version):
            raise VerificationError(
                f"the modem runs {running}, not {wanted.version}",
                reason="modem-not-updated" if running == old else "unexpected-version",
                hint="The board is usable.",
            )
        if (running, after.modem_uuid) == (old, self._before.modem_uuid):
            raise VerificationError(
                f"the modem still runs {running} with the same build UUID",
                reason="modem-not-updated",
                hint="The board is usable.",
            )

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """The modem runs the delta's target, and ran something else earlier."""
        target = modem_release(wanted.version)
        return target is not None and modem_release(now.modem_version) == target != modem_release(earlier)

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Nobody can tell over AT."""
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Nothing to do: a modem update is final once the modem runs it."""
        return iter(())


def _check_modem_result(report: BootReport) -> None:
    for message in report.messages:
        match = _UPDATE_RESULT.fullmatch(message)
        if match is None or match[1] == "0":
            continue
        code = int(match[2] or 0)
        reason, text = _DELTA_RESULTS.get(code, ("modem-refused", f"modem result {code}"))
        hint = "Raise the supply voltage and reset the board; the modem does not start before."
        raise VerificationError(
            f"the modem did not apply the delta: {text} ({message})",
            reason=reason,
            hint=hint if reason == STILL_SCHEDULED else "The board is usable.",
        )
