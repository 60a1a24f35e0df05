"""One image onto one board: the update line from the first byte to the confirmed image, usable without any cloud."""

import logging
from collections.abc import Generator, Iterator

from bridge.board import BoardIdentity, BootReport
from bridge.dfu import DfuTarget, TransferImage
from bridge.dfu.transfer import transfer
from bridge.errors import (
    BoardRefusedError,
    BridgeError,
    InterruptedUpdateError,
    LinkError,
    VerificationError,
)
from bridge.fota.base_choice import open_rebuilt, remember_image
from bridge.fota.events import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
)
from bridge.fota.inspection import InspectedSource
from bridge.fota.outcome import outcome_of
from bridge.fota.policy import MODEM_KINDS, check_head, check_image, check_order, check_route
from bridge.fota.proof import STILL_SCHEDULED, Proof, WantedImage
from bridge.fota.route import Route, RouteOpener
from bridge.fota.supply import await_supply
from bridge.fota.update_options import CommitGate, UpdateOptions
from bridge.image import FirmwareImage, ImageHead, ImageKind, ImageSource

_log = logging.getLogger(__name__)


class Update:
    """Iterate over it to run the update; the last event is always ``Finished``.

    Args:
        source: Where the image's bytes come from; may still be downloading. It is closed in the end.
        open_route: Opens the board by a route that fits the image; for a board that speaks AT
            ``over_at(lambda: Board.open(port))``.
        options: How the update is done.
        commit_gate: Asked before scheduling and again before the reboot.

    Attributes:
        error: Why the update did not succeed; None while it runs and after success.
    """

    def __init__(
        self,
        source: ImageSource,
        open_route: RouteOpener,
        *,
        options: UpdateOptions | None = None,
        commit_gate: CommitGate = lambda _stage: None,
    ) -> None:
        self.error: BridgeError | None = None
        self._options = options or UpdateOptions()
        self._source = InspectedSource(source, self._options.member, self._options.image_index)
        self._open_route = open_route
        self._gate = commit_gate
        self._stage = Stage.QUEUED
        self._stop_reason: UpdateCanceledError | InterruptedUpdateError | None = None
        self._head: ImageHead | None = None
        self._before: BoardIdentity | None = None
        self._from_version: str | None = None
        self._running_version: str | None = None
        self._success = "the image may be installed"

    def stop(self, reason: UpdateCanceledError | InterruptedUpdateError) -> None:
        """Stop before the image is scheduled, if it is not yet; may be called from any thread."""
        self._stop_reason = reason

    def __iter__(self) -> Generator[UpdateEvent, None, None]:
        """Run the update.

        Yields:
            Typed events, ending with ``Finished``. Errors of the update are in it, not raised.
        """
        try:
            yield from self._line()
        except BridgeError as error:
            error.stage = error.stage or self._stage
            self.error = error
            _log.info("update ended in stage %s: %s", error.stage, error.message)
        finally:
            self._source.close()
        yield self._finished()

    def _enter(self, stage: Stage) -> StageStarted:
        self._stage = stage
        return StageStarted(stage)

    def _raise_if_stopped(self) -> None:
        if self._stop_reason is not None:
            raise self._stop_reason

    def _line(self) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.FETCH)
        check_order(self._source.expected_sha256, self._options.policy)
        self._head = head = self._source.read_head()
        self._source.wait_size()
        self._raise_if_stopped()
        yield self._enter(Stage.CHECK)
        with self._open_route(head) as route:
            self._before = before = route.identify()
            self._head = head = self._source.fit_board(route.kinds, before.bootloader_slot)
            size_bytes = self._source.wait_size()
            proof = route.proof(_written_kind(head), before)
            self._from_version = self._running_version = proof.version_of(before)
            yield _identified(self._stage, route, before)
            if self._was_applied(proof, before, head):
                yield from self._finish_interrupted(route, proof, head)
                return
            if self._is_waiting(proof, before, head):
                yield from self._apply_interrupted(route, proof, head)
                return
            if head.kind is ImageKind.APP_DELTA:
                head, size_bytes = self._rebuild(head, before)
            yield from self._check(head, size_bytes, route, before)
            if self._options.check_only:
                return
            target = route.target(head.kind)
            image = yield from self._write(route, target, head, size_bytes)
            wanted = WantedImage(image.version, image.mcuboot.digest if image.mcuboot else None)
            yield from self._prove(route, target, proof, wanted)
            remember_image(self._source, image, self._options.image_store)
        yield self._enter(Stage.DONE)

    def _rebuild(self, delta: ImageHead, before: BoardIdentity) -> tuple[ImageHead, int]:
        """Go on with the signed image that an application delta leads to, as if that had been the file."""
        self._source = InspectedSource(open_rebuilt(self._source, delta, before, self._options.image_store))
        self._head = self._source.read_head()
        return self._head, self._source.wait_size()

    def _check(
        self, head: ImageHead, size_bytes: int, route: Route, before: BoardIdentity
    ) -> Iterator[UpdateEvent]:
        check_route(head, route.name, route.kinds, self._options.image_index)
        remarks = check_head(head, size_bytes, before, self._options.expected, self._options.policy)
        yield from (Notice(self._stage, remark) for remark in remarks)
        yield ImageAccepted(self._stage, head.kind, head.name, size_bytes, self._from_version, head.version)
        if not self._options.check_only:
            yield from self._await_supply(route, head)

    def _await_supply(self, route: Route, head: ImageHead) -> Iterator[UpdateEvent]:
        """A modem that rewrites its own flash needs enough voltage to the end."""
        if head.kind in MODEM_KINDS:
            for event in await_supply(route.supply_mv, self._options.policy.supply, self._stage):
                yield event
                self._raise_if_stopped()

    def _write(
        self, route: Route, target: DfuTarget, head: ImageHead, size_bytes: int
    ) -> Generator[UpdateEvent, None, FirmwareImage]:
        self._raise_if_stopped()
        image = TransferImage(
            head.kind, size_bytes, self._source.expected_sha256, self._options.image_index, head.modem_full
        )
        committed = False
        failure: BridgeError | None = None
        with route.fast_line(self._options.transfer_baud):
            try:
                if target.in_place:
                    yield from self._pass_point_of_no_return(head)
                yield from self._transfer(target, image)
                found = self._judge()
                self._gate_unless_in_place(target, Stage.SCHEDULE)
                yield self._enter(Stage.SCHEDULE)
                target.schedule(found.mcuboot.digest if found.mcuboot else None)
                if not target.in_place:
                    yield from self._await_supply(route, head)
                self._gate_unless_in_place(target, Stage.REBOOT)
                committed = True
            except BridgeError as error:
                failure = error
                raise
            finally:
                left_behind = None if committed else _invalidate(target)
                if failure is not None and target.in_place:
                    failure.hint = _hint_in_place(failure, left_behind)
        return found

    def _gate_unless_in_place(self, target: DfuTarget, stage: Stage) -> None:
        """Who has passed the point of no return goes on to the end, wanted or not."""
        if not target.in_place:
            self._gate(stage)

    def _pass_point_of_no_return(self, head: ImageHead) -> Iterator[UpdateEvent]:
        """Nothing is written that destroys what runs before all of the image is here, sound, and still wanted."""
        self._judge()
        self._gate(Stage.TRANSFER)
        yield Notice(
            self._stage,
            f"point of no return: writing this {head.kind} image overwrites what runs now; if it is cut off, run it again",
        )

    def _transfer(self, target: DfuTarget, image: TransferImage) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.TRANSFER)
        for step in transfer(target, self._source, image):
            if step.notice is not None:
                yield Notice(self._stage, step.notice)
            yield Progress(
                self._stage, step.done_bytes, image.size_bytes, step.rate_bytes_per_s, step.attempt
            )
            if not target.in_place:
                self._raise_if_stopped()

    def _judge(self) -> FirmwareImage:
        """Wait for the last byte of the image and decide on the whole of it."""
        self._source.wait_complete()
        image = self._source.finish_inspection()
        assert self._before is not None
        check_image(image, self._before, self._options.policy)
        return image

    def _prove(
        self, route: Route, target: DfuTarget, proof: Proof, wanted: WantedImage
    ) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.REBOOT)
        report = proof.apply()
        yield self._enter(Stage.VERIFY)
        after = route.identify()
        self._running_version = proof.version_of(after)
        try:
            proof.check_running(report, after, wanted)
        except VerificationError as error:
            if error.reason == STILL_SCHEDULED:
                # Else it would be installed some day after its job was said to have failed.
                _invalidate(target)
            raise
        yield from self._confirm(route, proof, wanted, report, self._options.confirm_timeout_s)

    def _confirm(
        self, route: Route, proof: Proof, wanted: WantedImage, report: BootReport, timeout_s: float
    ) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.CONFIRM)
        try:
            for text in proof.confirm(report, wanted, timeout_s):
                yield Notice(self._stage, text)
        finally:
            self._running_version = proof.version_of(route.identify())
        self._success = proof.success

    def _was_applied(self, proof: Proof, before: BoardIdentity, head: ImageHead) -> bool:
        """Whether an earlier run of this very update got as far as the reboot."""
        earlier = self._options.interrupted_from
        return earlier is not None and proof.changed_since(earlier, before, WantedImage(head.version))

    def _is_waiting(self, proof: Proof, before: BoardIdentity, head: ImageHead) -> bool:
        """Whether an earlier run of this very update got as far as scheduling."""
        interrupted = self._options.interrupted_from is not None
        return interrupted and proof.is_waiting(before, WantedImage(head.version))

    def _apply_interrupted(self, route: Route, proof: Proof, head: ImageHead) -> Iterator[UpdateEvent]:
        yield Notice(
            self._stage, "an earlier run was cut off after the image was scheduled; it waits for the reboot"
        )
        self._gate(Stage.REBOOT)
        yield from self._prove(route, route.target(head.kind), proof, WantedImage(head.version))
        yield self._enter(Stage.DONE)

    def _finish_interrupted(self, route: Route, proof: Proof, head: ImageHead) -> Iterator[UpdateEvent]:
        self._from_version = self._options.interrupted_from
        yield Notice(
            self._stage, "an earlier run was cut off after the image was scheduled; the board runs it already"
        )
        yield from self._confirm(route, proof, WantedImage(head.version), BootReport((), 0.0), 0.0)
        yield self._enter(Stage.DONE)

    def _finished(self) -> Finished:
        to_version = self._head.version if self._head else None
        versions = (self._from_version, to_version, self._running_version)
        if self.error is not None:
            return Finished(
                self._stage, outcome_of(self.error), self.error.reason, self.error.message, *versions
            )
        return Finished(self._stage, Outcome.SUCCEEDED, None, self._success, *versions)


def _written_kind(head: ImageHead) -> ImageKind:
    """What is written in the end: of an application delta, the application."""
    return ImageKind.APPLICATION if head.kind is ImageKind.APP_DELTA else head.kind


def _identified(stage: Stage, route: Route, identity: BoardIdentity) -> BoardIdentified:
    return BoardIdentified(
        stage,
        identity.model,
        identity.imei,
        identity.application_version,
        identity.modem_version,
        route.name,
        route.why or None,
    )


def _invalidate(target: DfuTarget) -> BridgeError | None:
    """Make sure that what was written is never installed, whatever stopped us; returns why that did not work."""
    try:
        target.abort()
    except BridgeError as error:
        _log.warning("could not invalidate what was written: %s", error.message)
        return error
    return None


def _hint_in_place(failure: BridgeError, left_behind: BridgeError | None) -> str | None:
    """What to do when writing in place failed: the target says what is left, where it knows."""
    if isinstance(left_behind, BoardRefusedError):
        return f"{left_behind.message}. {left_behind.hint or ''}".rstrip()
    if isinstance(failure, LinkError):
        return f"What ran is partly overwritten; run this again to finish it. {failure.hint or ''}".rstrip()
    return failure.hint
