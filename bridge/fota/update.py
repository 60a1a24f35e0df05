"""One image onto one board: the update line from the first byte to the confirmed image, usable without any cloud."""

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Final

from bridge.board import BoardIdentity, BootReport
from bridge.dfu import DfuTarget, TransferImage
from bridge.dfu.transfer import transfer
from bridge.errors import BenchError, BoardRefusedError, BridgeError, CloudError, InterruptedUpdateError
from bridge.fota.base_choice import open_rebuilt, remember_image
from bridge.fota.earlier_run import (
    SCHEDULED_STAGES,
    EarlierRun,
    Position,
    find_position,
    not_taken_error,
    patient,
)
from bridge.fota.events import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    ImageJudged,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    UpdateCanceledError,
    UpdateEvent,
)
from bridge.fota.inspection import InspectedSource
from bridge.fota.leftovers import discard, invalidate, tell_interrupted, tell_leftover
from bridge.fota.outcome import outcome_of
from bridge.fota.policy import MODEM_KINDS, check_head, check_image, check_order, check_route
from bridge.fota.proof import Proof, WantedImage
from bridge.fota.proving import Proving
from bridge.fota.route import Route, RouteOpener
from bridge.fota.second_look import LOST, SecondLook
from bridge.fota.supply import await_supply
from bridge.fota.update_options import CommitGate, Recorder, UpdateOptions
from bridge.image import FirmwareImage, ImageHead, ImageKind, ImageSource

_log = logging.getLogger(__name__)

MAX_LOOKS: Final = 3
"""How often a board that gets lost is looked for and, where its firmware was overwritten in place, written once more."""


class Update:
    """Iterate over it to run the update; the last event is always ``Finished``.

    Args:
        source: Where the image's bytes come from; may still be downloading. It is closed in the end.
        open_route: Opens the board by a route that fits the image; for a board that speaks AT
            ``over_at(lambda: Board.open(port))``.
        options: How the update is done.
        commit_gate: Asked before scheduling and again before the reboot.
        record: Told about each event before what it announces is done.

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
        record: Recorder = lambda _event: None,
    ) -> None:
        self.error: BridgeError | None = None
        self._options = options or UpdateOptions()
        self._source = InspectedSource(source, self._options.member, self._options.image_index)
        self._open_plainly = open_route
        self._open_route = patient(open_route, self._options.earlier, lambda: self._stop_reason is not None)
        self._gate = commit_gate
        self._record = record
        self._committed = self._written = False
        earlier = self._options.earlier
        self._may_be_scheduled = earlier is not None and earlier.stage in SCHEDULED_STAGES
        self._left_behind: BridgeError | None = None
        self._board_id: str | None = None
        self._digest: str | None = None
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
        if not self._committed:
            self._source.interrupt()  # a server that does not answer would hold us up for a minute

    def __iter__(self) -> Generator[UpdateEvent, None, None]:
        """Run the update.

        Yields:
            Typed events, ending with ``Finished``. Errors of the update are in it, not raised.
        """
        try:
            with closing(self._line()) as line:
                for event in line:
                    self._write_down(event)
                    yield event
        except BridgeError as failure:
            error = self._why_ended(failure)
            error.stage = error.stage or self._stage
            if isinstance(error, InterruptedUpdateError):
                tell_interrupted(
                    error,
                    self._left_behind,
                    written=self._written,
                    beyond=self._committed,
                    may_be_scheduled=self._may_be_scheduled,
                    running=self._running_version,
                )
            self.error = error
            _log.info("update ended in stage %s: %s", error.stage, error.message)
        except Exception as bug:
            if self._may_be_scheduled:
                raise  # how it ends is not known here; the next start asks the board
            # A job that makes us fall over must not be the first one of the queue for ever.
            _log.exception("this is a bug in nrf91-bridge; please report the lines below")
            self.error = BridgeError(f"a bug ended the update: {type(bug).__name__}", stage=self._stage)
        finally:
            self._source.close()
        yield self._finished()

    def _why_ended(self, failure: BridgeError) -> BridgeError:
        """A download that fails after we were told to stop is no failure of the update."""
        if self._stop_reason is None or self._committed or not isinstance(failure, CloudError):
            return failure
        if isinstance(self._left_behind, BoardRefusedError):
            tell_leftover(self._stop_reason, self._left_behind, in_place=False)
        return self._stop_reason

    def _write_down(self, event: UpdateEvent) -> None:
        if isinstance(event, StageStarted):
            self._stage = event.stage
        try:
            self._record(event)
        except BenchError as error:
            if not self._committed:
                raise
            _log.warning("going on to the end without it: %s", error.message)

    def _raise_if_stopped(self) -> None:
        if self._stop_reason is not None:
            raise self._stop_reason

    def _line(self) -> Generator[UpdateEvent, None, None]:
        yield StageStarted(Stage.FETCH)
        check_order(self._source.expected_sha256, self._options.policy)
        self._head = head = self._source.read_head()
        self._source.wait_size()
        self._raise_if_stopped()
        yield StageStarted(Stage.CHECK)
        unfinished, looks = True, 0
        while unfinished:
            try:
                yield from self._on_board(head)
                unfinished = False
            except BridgeError as error:
                if not self._is_open_question(error) or looks == MAX_LOOKS:
                    raise
                looks += 1
                unfinished = yield from self._look_again(error)

    def _on_board(self, head: ImageHead) -> Generator[UpdateEvent, None, None]:
        with self._open_route(head) as route:
            self._before = before = route.identify()
            self._head = head = self._source.fit_board(route.kinds, before.bootloader_slot)
            size_bytes = self._source.wait_size()
            proof = route.proof(_written_kind(head), before)
            self._running_version = proof.version_of(before)
            # A board that waits for firmware in its bootloader does not know what it ran before.
            self._from_version = self._running_version or self._from_version
            self._board_id = before.imei
            yield BoardIdentified.of(self._stage, before, route.name, route.why)
            if (earlier := self._options.earlier) is not None:
                position = find_position(earlier, proof, before, head.version)
                if position is not Position.UNKNOWN:
                    yield from self._take_up(position, earlier, route, proof, head)
                    return
            if head.kind is ImageKind.APP_DELTA:
                head, size_bytes = self._rebuild(head, before)
            yield from self._check(head, size_bytes, route, before)
            if self._options.check_only:
                return
            target = route.target(head.kind)
            image = yield from self._write(route, target, head, size_bytes)
            wanted = WantedImage(image.version, self._digest)
            yield from self._prove(route, proof, wanted).reboot(target, self._options.confirm_timeout_s)
            self._success = proof.success
            remember_image(self._source, image, self._options.image_store)
        yield StageStarted(Stage.DONE)

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
        failure: BridgeError | None = None
        whole = False
        with route.fast_line(self._options.transfer_baud):
            try:
                if target.in_place:
                    yield from self._pass_point_of_no_return(head)
                yield from self._transfer(target, image)
                found = self._judge()
                self._digest = found.mcuboot.digest if found.mcuboot else None
                yield ImageJudged(self._stage, found.sha256, self._digest)
                self._ask_before(Stage.SCHEDULE)
                yield StageStarted(Stage.SCHEDULE)
                self._may_be_scheduled = True
                target.schedule(self._digest)
                if not target.in_place:
                    yield from self._await_supply(route, head)
                self._ask_before(Stage.REBOOT)
                whole = self._committed = True
            except BridgeError as error:
                failure = error
                raise
            finally:
                self._left_behind = None if whole else invalidate(target)
                if failure is not None:
                    tell_leftover(failure, self._left_behind, in_place=target.in_place)
        return found

    def _ask_before(self, stage: Stage) -> None:
        """Who has passed the point of no return goes on to the end, wanted or not."""
        if self._committed:
            return
        if stage is Stage.SCHEDULE:
            self._raise_if_stopped()
        self._gate(stage)

    def _pass_point_of_no_return(self, head: ImageHead) -> Iterator[UpdateEvent]:
        """Nothing is written that destroys what runs before all of the image is here, sound, and still wanted."""
        self._judge()
        if self._committed:
            return  # there is no way back already
        self._raise_if_stopped()
        self._gate(Stage.TRANSFER)
        self._committed = self._may_be_scheduled = True
        yield Notice(
            self._stage,
            f"point of no return: writing this {head.kind} image overwrites what runs now; if it is cut off, run it again",
        )

    def _transfer(self, target: DfuTarget, image: TransferImage) -> Iterator[UpdateEvent]:
        yield StageStarted(Stage.TRANSFER)
        self._written = True
        for step in transfer(target, self._source, image):
            if step.notice is not None:
                yield Notice(self._stage, step.notice)
            yield Progress(
                self._stage, step.done_bytes, image.size_bytes, step.rate_bytes_per_s, step.attempt
            )
            if not self._committed:
                # What an earlier run may have scheduled is gone with the first byte.
                self._may_be_scheduled = self._may_be_scheduled and not step.done_bytes
                self._raise_if_stopped()

    def _judge(self) -> FirmwareImage:
        """Wait for the last byte of the image and decide on the whole of it."""
        self._source.wait_complete()
        image = self._source.finish_inspection()
        assert self._before is not None
        check_image(image, self._before, self._options.policy)
        return image

    def _prove(self, route: Route, proof: Proof, wanted: WantedImage) -> Proving:
        def saw(version: str | None) -> None:
            self._running_version = version

        return Proving(route, proof, wanted, saw)

    def _take_up(
        self, position: Position, earlier: EarlierRun, route: Route, proof: Proof, head: ImageHead
    ) -> Iterator[UpdateEvent]:
        """Bring to its end what an earlier run of this very update began."""
        self._from_version = earlier.from_version
        self._may_be_scheduled = True
        kind, wanted = _written_kind(head), WantedImage(head.version, earlier.digest)
        proving = self._prove(route, proof, wanted)
        if position is Position.WAITING:
            yield self._found("after the image was scheduled; it waits for the reboot")
            target = route.target(kind)
            self._ask_once_more(target, kind)
            self._committed = True
            yield from proving.reboot(target, self._options.confirm_timeout_s)
        elif position is Position.RUNNING:
            self._committed = True
            yield self._found("after the image was scheduled; the board runs it already")
            yield from proving.confirm(BootReport((), 0.0), 0.0)
        else:
            # A modem that was too weak would else install it some day after its job was said to have failed.
            discard(route.target(kind), TransferImage(kind, self._source.wait_size()))
            raise not_taken_error(earlier, kind)
        self._success = proof.success
        yield StageStarted(Stage.DONE)

    def _ask_once_more(self, target: DfuTarget, kind: ImageKind) -> None:
        """Whether what is scheduled already is still wanted; one that the board does not give up is brought to its end."""
        try:
            self._ask_before(Stage.REBOOT)
        except InterruptedUpdateError:
            raise
        except BridgeError:
            left = discard(target, TransferImage(kind, self._source.wait_size()))
            if not isinstance(left, BoardRefusedError):
                raise

    # --- when the board is lost -----------------------------------------------------------------------------

    def _is_open_question(self, error: BridgeError) -> bool:
        """Whether the image may be installed in spite of the failure, now or by a later reset."""
        if not self._may_be_scheduled or isinstance(error, InterruptedUpdateError):
            return False
        not_rebooted = self._stage is Stage.REBOOT and isinstance(error, BoardRefusedError)
        return isinstance(error, LOST) or not_rebooted or self._left_behind is not None

    def _look_again(self, failure: BridgeError) -> Generator[UpdateEvent, None, bool]:
        """Find out what became of a board that was lost, and bring the update to an end that is true.

        Returns:
            Whether the image must be written once more: it is neither there, nor what was there before it.
        """
        assert self._head is not None
        head = self._head

        def take_up(
            position: Position, earlier: EarlierRun, route: Route, proof: Proof
        ) -> Iterator[UpdateEvent]:
            return self._take_up(position, earlier, route, proof, head)

        look = SecondLook(self._open_plainly, head, _written_kind(head), self._source.wait_size(), failure)
        yield Notice(
            self._stage, f"{failure.message}; the image may be scheduled, so the board is looked at again"
        )
        yield from look.run(self._how_far, take_up, self._interruption)
        return look.unfinished

    def _how_far(self) -> EarlierRun:
        """How far this run got; or the one before it, if this one changed nothing."""
        earlier = self._options.earlier
        if earlier is not None and self._stage not in SCHEDULED_STAGES:
            return earlier
        return EarlierRun(self._stage, self._from_version, self._digest, self._board_id)

    def _interruption(self) -> BridgeError | None:
        return self._stop_reason if isinstance(self._stop_reason, InterruptedUpdateError) else None

    def _found(self, what: str) -> Notice:
        return Notice(self._stage, f"an earlier run was cut off {what}")

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
