"""One image onto one board: the update line from the first byte to the confirmed image, usable without any cloud."""

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from bridge.board import Board, BoardIdentity, BootReport
from bridge.dfu import DfuTarget, XdfuTarget
from bridge.dfu.transfer import transfer
from bridge.errors import (
    BoardRefusedError,
    BridgeError,
    ImageRefusedError,
    InterruptedUpdateError,
    VerificationError,
)
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
from bridge.fota.policy import Expectations, Policy, check_head, check_image
from bridge.fota.proof import STILL_SCHEDULED, Proof, proof_for
from bridge.image import ImageHead, ImageKind, ImageSource

_log = logging.getLogger(__name__)

CommitGate = Callable[[Stage], None]
"""Called right before an effect that cannot be taken back (``SCHEDULE``, ``REBOOT``); raises to stop the update."""


@dataclass(frozen=True)
class UpdateOptions:
    """How an update is done.

    Attributes:
        expected: What the order says about the image.
        policy: What this host allows.
        transfer_baud: Line speed for the transfer, or None to stay at the board's.
        confirm_timeout_s: How long a running new image may take to say that it confirmed itself, before the
            bridge resets the board once more to see whether it stays.
        interrupted_from: Version that the board ran when an earlier run of this update was cut off after it may
            have scheduled the image. If the board runs the image now, it is verified instead of written again.
        check_only: Stop after the checks; nothing is written.
    """

    expected: Expectations = field(default_factory=Expectations)
    policy: Policy = field(default_factory=Policy)
    transfer_baud: int | None = 1_000_000
    confirm_timeout_s: float = 5.0
    interrupted_from: str | None = None
    check_only: bool = False


class Update:
    """Iterate over it to run the update; the last event is always ``Finished``.

    Args:
        source: Where the image's bytes come from; may still be downloading. It is closed in the end.
        open_board: Opens the board; its context manager closes it again.
        options: How the update is done.
        commit_gate: Asked before scheduling and again before the reboot.

    Attributes:
        error: Why the update did not succeed; None while it runs and after success.
    """

    def __init__(
        self,
        source: ImageSource,
        open_board: Callable[[], AbstractContextManager[Board]],
        *,
        options: UpdateOptions | None = None,
        commit_gate: CommitGate = lambda _stage: None,
    ) -> None:
        self.error: BridgeError | None = None
        self._source = InspectedSource(source)
        self._open_board = open_board
        self._options = options or UpdateOptions()
        self._gate = commit_gate
        self._stage = Stage.QUEUED
        self._stop_reason: UpdateCanceledError | InterruptedUpdateError | None = None
        self._head: ImageHead | None = None
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
        self._head = head = self._source.read_head()
        size_bytes = self._source.wait_size()
        self._raise_if_stopped()
        yield self._enter(Stage.CHECK)
        with self._open_board() as board:
            before = board.identify()
            proof = proof_for(head.kind, before)
            self._from_version = self._running_version = proof.version_of(before)
            yield BoardIdentified(
                self._stage, before.model, before.imei, before.application_version, before.modem_version
            )
            if self._was_applied(proof, before, head):
                yield from self._finish_interrupted(board, proof, head)
                return
            yield from self._check(head, size_bytes, before)
            if self._options.check_only:
                return
            target: DfuTarget = XdfuTarget(board)
            yield from self._write(board, target, head.kind, size_bytes)
            yield from self._prove(board, target, proof, head)
        yield self._enter(Stage.DONE)

    def _check(self, head: ImageHead, size_bytes: int, before: BoardIdentity) -> Iterator[UpdateEvent]:
        remarks = check_head(head, size_bytes, before, self._options.expected, self._options.policy)
        yield from (Notice(self._stage, remark) for remark in remarks)
        yield ImageAccepted(self._stage, head.kind, head.name, size_bytes, self._from_version, head.version)

    def _write(
        self, board: Board, target: DfuTarget, kind: ImageKind, size_bytes: int
    ) -> Iterator[UpdateEvent]:
        self._raise_if_stopped()
        yield self._enter(Stage.TRANSFER)
        committed = False
        baud = self._options.transfer_baud
        with nullcontext() if baud is None else board.at_baud(baud):
            try:
                for step in transfer(target, self._source, kind, size_bytes):
                    if step.notice is not None:
                        yield Notice(self._stage, step.notice)
                    yield Progress(
                        self._stage, step.done_bytes, size_bytes, step.rate_bytes_per_s, step.attempt
                    )
                    self._raise_if_stopped()
                self._source.wait_complete()
                check_image(self._source.finish_inspection(), self._options.policy)
                self._gate(Stage.SCHEDULE)
                yield self._enter(Stage.SCHEDULE)
                target.schedule()
                self._gate(Stage.REBOOT)
                committed = True
            finally:
                if not committed:
                    _invalidate(target)

    def _prove(self, board: Board, target: DfuTarget, proof: Proof, head: ImageHead) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.REBOOT)
        report = proof.apply(board)
        yield self._enter(Stage.VERIFY)
        after = board.identify()
        self._running_version = proof.version_of(after)
        try:
            proof.check_running(report, after, head)
        except VerificationError as error:
            if error.reason == STILL_SCHEDULED:
                _invalidate(
                    target
                )  # else it would be installed some day after its job was said to have failed
            raise
        yield from self._confirm(board, proof, head, report, self._options.confirm_timeout_s)

    def _confirm(
        self, board: Board, proof: Proof, head: ImageHead, report: BootReport, timeout_s: float
    ) -> Iterator[UpdateEvent]:
        yield self._enter(Stage.CONFIRM)
        try:
            for text in proof.confirm(board, report, head, timeout_s):
                yield Notice(self._stage, text)
        finally:
            self._running_version = proof.version_of(board.identify())
        self._success = proof.success

    def _was_applied(self, proof: Proof, before: BoardIdentity, head: ImageHead) -> bool:
        """Whether an earlier run of this very update got as far as the reboot."""
        earlier = self._options.interrupted_from
        return earlier is not None and proof.changed_since(earlier, before, head)

    def _finish_interrupted(self, board: Board, proof: Proof, head: ImageHead) -> Iterator[UpdateEvent]:
        self._from_version = self._options.interrupted_from
        yield Notice(
            self._stage, "an earlier run was cut off after the image was scheduled; the board runs it already"
        )
        yield from self._confirm(board, proof, head, BootReport((), 0.0), 0.0)
        yield self._enter(Stage.DONE)

    def _finished(self) -> Finished:
        to_version = self._head.version if self._head else None
        versions = (self._from_version, to_version, self._running_version)
        if self.error is not None:
            return Finished(
                self._stage, outcome_of(self.error), self.error.reason, self.error.message, *versions
            )
        return Finished(self._stage, Outcome.SUCCEEDED, None, self._success, *versions)


def _invalidate(target: DfuTarget) -> None:
    """Make sure that what was written is never installed, whatever stopped us."""
    try:
        target.abort()
    except BridgeError as error:
        _log.warning("could not invalidate what was written: %s", error.message)


def outcome_of(error: BridgeError) -> Outcome:
    """REJECTED when trying again cannot help, CANCELED when nobody wants it any more, FAILED otherwise."""
    match error:
        case UpdateCanceledError():
            return Outcome.CANCELED
        case InterruptedUpdateError():
            return Outcome.INTERRUPTED
        case ImageRefusedError() | BoardRefusedError(reason="too-large"):
            return Outcome.REJECTED
        case _:
            return Outcome.FAILED
