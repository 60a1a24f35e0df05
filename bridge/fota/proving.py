"""From the reboot to the proof: stages ``REBOOT``, ``VERIFY`` and ``CONFIRM`` of an update."""

from collections.abc import Callable, Iterator

from bridge.board import BootReport
from bridge.dfu import DfuTarget
from bridge.errors import VerificationError
from bridge.fota.events import Notice, Stage, StageStarted, UpdateEvent
from bridge.fota.leftovers import invalidate
from bridge.fota.proof import STILL_SCHEDULED, Proof, WantedImage
from bridge.fota.route import Route


class Proving:
    """Has the board run the new image, and finds out whether it does, for good.

    Args:
        route: The opened board.
        proof: How this kind of update is applied and proven.
        wanted: What must run in the end.
        saw: Told each time which version the board runs.
    """

    def __init__(
        self, route: Route, proof: Proof, wanted: WantedImage, saw: Callable[[str | None], None]
    ) -> None:
        self._route = route
        self._proof = proof
        self._wanted = wanted
        self._saw = saw

    def reboot(self, target: DfuTarget, confirm_timeout_s: float) -> Iterator[UpdateEvent]:
        """Reboot into the scheduled image, and prove it.

        Raises:
            VerificationError: The board does not run it, or will not for long.
            LinkError: The board did not come back.
        """
        yield StageStarted(Stage.REBOOT)
        report = self._proof.apply()
        yield StageStarted(Stage.VERIFY)
        try:
            try:
                self._check(report)
            except VerificationError:
                if not self._may_not_have_restarted(report):
                    raise
                yield Notice(
                    Stage.VERIFY, "nothing shows that the board has restarted; restarting it once more"
                )
                report = self._proof.apply()
                self._check(report)
        except VerificationError as error:
            if error.reason == STILL_SCHEDULED:
                # Else it would be installed some day after its job was said to have failed.
                invalidate(target)
            raise
        yield from self.confirm(report, confirm_timeout_s)

    def _may_not_have_restarted(self, report: BootReport) -> bool:
        """A request for a restart can get lost like any other, and the board then answers as if it were back."""
        return not report.messages or self._proof.is_waiting(self._route.identify(), self._wanted)

    def _check(self, report: BootReport) -> None:
        """Compare what the board says with what is wanted; before it is condemned it is asked a second time.

        Answers over AT bear no number: one that came late or twice may stand for another one.
        """
        after = self._route.identify()
        self._saw(self._proof.version_of(after))
        try:
            self._proof.check_running(report, after, self._wanted)
        except VerificationError as error:
            again = self._route.identify()
            if error.reason == STILL_SCHEDULED or again == after:
                raise
            self._saw(self._proof.version_of(again))
            self._proof.check_running(report, again, self._wanted)

    def confirm(self, report: BootReport, timeout_s: float) -> Iterator[UpdateEvent]:
        """See that the running image is there to stay.

        Args:
            report: What the board said when it booted, if anybody heard it.
            timeout_s: How long it may take to confirm itself.

        Raises:
            VerificationError: It is not, and the board went back.
        """
        yield StageStarted(Stage.CONFIRM)
        try:
            for text in self._proof.confirm(report, self._wanted, timeout_s):
                yield Notice(Stage.CONFIRM, text)
        finally:
            self._look()

    def _look(self) -> None:
        """See what runs in the end; noise in what was proven is not told as a version."""
        running = self._proof.version_of(self._route.identify())
        if running != self._wanted.version:
            running = self._proof.version_of(self._route.identify())
        self._saw(running)
