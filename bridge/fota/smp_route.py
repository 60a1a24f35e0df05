"""The route over SMP: an application with Zephyr's SMP server, or MCUboot's serial recovery.

After a recovery anything may answer on the port: the new application may speak SMP, AT, or be silent.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from bridge import clock
from bridge.board import Board, BoardIdentity, BootReport
from bridge.board.answering import find_answering
from bridge.board.smp_board import RESET_TIMEOUT_S, SmpBoard
from bridge.dfu import DfuTarget
from bridge.dfu.smp import SmpTarget
from bridge.dfu.upload_notes import UploadNotes
from bridge.errors import LinkError, VerificationError
from bridge.fota.at_proofs import ApplicationProof
from bridge.fota.proof import Proof, WantedImage
from bridge.fota.smp_proof import SmpApplicationProof, check_application, confirm_over_smp
from bridge.fota.versions import same_version
from bridge.image import ImageKind

_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 16.0
_RECOVERIES_SEEN: Final = 3


class SmpRoute:
    """See :class:`~bridge.fota.route.Route`.

    Args:
        board: The opened board; this route closes it, because after a recovery another one may have taken its place.
        why: Why this route was taken.
        notes: What is remembered of uploads to MCUboot's recovery.
        upload_image: Number to upload to, instead of the one that is found out.
        confirms: Whether the bridge confirms a new image; otherwise the application must do it.
        image_index: Number of the MCUboot image that is updated, on boards with several.

    Attributes:
        board: Whoever answers now.
    """

    name: Final = "smp"
    kinds: Final = frozenset({ImageKind.APPLICATION})

    def __init__(
        self,
        board: SmpBoard,
        why: str = "",
        *,
        notes: UploadNotes | None = None,
        upload_image: int | None = None,
        confirms: bool = True,
        image_index: int = 0,
    ) -> None:
        board.image_index = image_index
        self.why = why
        self.board: Board | SmpBoard = board
        self._smp = board
        self._notes = notes
        self._upload_image = upload_image
        self._confirms = confirms

    def close(self) -> None:
        """Close whichever board is open."""
        self.board.close()

    def identify(self) -> BoardIdentity:
        """Ask whoever answers now."""
        return self.board.identify()

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """SMP has no way to change the rate."""
        return nullcontext()

    def supply_mv(self) -> int | None:
        """Not told over SMP."""
        return None

    def target(self, kind: ImageKind) -> DfuTarget:
        """The server's slot."""
        return SmpTarget(self._smp, notes=self._notes, upload_image=self._upload_image)

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """By digest, over SMP if the application answers it."""
        if self._smp.in_recovery:
            return _RecoveryProof(self, before, confirms=self._confirms)
        return SmpApplicationProof(self._smp, before, confirms=self._confirms)

    def leave_recovery(self, timeout_s: float) -> BootReport:
        """Reset a board in recovery and wait for whatever its application answers, AT or SMP.

        Raises:
            LinkError: Nothing answers in time (reason ``not-back``).
        """
        started = clock.monotonic()
        self._smp.send_reset()
        pause_s, recoveries = _FIRST_PAUSE_S, 0
        text: list[str] = []
        while clock.monotonic() - started < timeout_s:
            text += self._listen(pause_s)
            found = self._meet()
            if isinstance(found, SmpBoard) and found.in_recovery:
                recoveries += 1
                if recoveries == _RECOVERIES_SEEN:
                    break
                found.send_reset()  # it may have stayed because it was asked while it booted: wait longer this time
            elif found is not None:
                return BootReport(tuple(text), clock.monotonic() - started)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        if recoveries:
            return BootReport(tuple(text), clock.monotonic() - started)
        raise LinkError(
            "nothing answers AT or SMP after the reset, at this bit rate",
            reason="not-back",
            hint="MCUboot found the image valid. An application that is silent on this port cannot be verified here.",
        )

    def _listen(self, timeout_s: float) -> list[str]:
        try:
            return self._smp.client.wait_text(timeout_s) if self.board is self._smp else []
        except LinkError:
            return []  # the port went away with the board; it is opened again below

    def _meet(self) -> Board | SmpBoard | None:
        link = self._smp.link
        self.board.close()
        link.reopen(RESET_TIMEOUT_S)  # where it comes back may be another name
        link.close()
        found = find_answering(
            link.url, baud=link.baud, flow_control=link.flow_control, line_bytes=self._smp.client.line_bytes
        )
        if found is None:
            link.open()
            self._smp.client.restart()
            self.board = self._smp
        else:
            self.board = found
            if isinstance(found, SmpBoard):
                found.image_index = self._smp.image_index
                self._smp = found
        return found


class _RecoveryProof:
    """An image that MCUboot's recovery took: it must run, and stay, whatever language it speaks."""

    success = "the board left its bootloader's recovery and runs the new image"

    def __init__(self, route: SmpRoute, before: BoardIdentity, *, confirms: bool) -> None:
        self._route = route
        self._before = before
        self._confirms = confirms

    def version_of(self, identity: BoardIdentity) -> str | None:
        return (identity.application_version or "").removeprefix("v") or None

    def apply(self) -> BootReport:
        return self._route.leave_recovery(RESET_TIMEOUT_S)

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        if after.application_version is None and after.firmware not in ("mcuboot-recovery", "smp-server"):
            raise VerificationError(
                f"after the reboot {after.firmware} answers, which tells no version of the application",
                reason="version-unknown",
                hint="The image was written and MCUboot boots it, but nothing proves which one runs.",
            )
        check_application(self._before, after, wanted)

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        return same_version(now.application_version, wanted.version) and not same_version(
            earlier, wanted.version
        )

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Written in place, it is what recovery shows; written into the secondary slot, it is pending."""
        return any(
            same_version(each, wanted.version) for each in (now.application_version, now.pending_version)
        )

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        if isinstance(self._route.board, SmpBoard) and self._route.board.in_recovery:
            yield "the board is in its bootloader's recovery; restarting it to see that the image runs"
            self._route.leave_recovery(RESET_TIMEOUT_S)
            check_application(self._before, self._route.identify(), wanted)
        board = self._route.board
        if isinstance(board, SmpBoard):
            yield from confirm_over_smp(board, wanted, timeout_s, by_us=self._confirms)
            return
        # An image that was written in place is no trial; Serial Modem confirms one that is.
        yield from ApplicationProof(board, self._before).confirm(report, wanted, timeout_s)
