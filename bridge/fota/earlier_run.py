"""What an earlier run of the same update left behind, and where the board stands now because of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bridge import clock
from bridge.board import BoardIdentity
from bridge.board.board import MODEM_RESET_TIMEOUT_S, RESET_TIMEOUT_S
from bridge.errors import BoardNotFoundError, VerificationError
from bridge.fota.events import Stage
from bridge.fota.proof import Proof, WantedImage
from bridge.fota.route import Route, RouteOpener
from bridge.image import ImageHead, ImageKind

EFFECT_STAGES: Final = frozenset({Stage.TRANSFER, Stage.SCHEDULE, Stage.REBOOT, Stage.VERIFY, Stage.CONFIRM})
"""Stages in which the board is changed."""

SCHEDULED_STAGES: Final = EFFECT_STAGES - {Stage.TRANSFER}
"""Stages in which the image may be scheduled."""

_REBOOTED: Final = frozenset({Stage.VERIFY, Stage.CONFIRM})
_MODEM_KINDS: Final = frozenset({ImageKind.MODEM_DELTA, ImageKind.MODEM_FULL, ImageKind.MODEM_PACKAGE})
_KNOCK_AGAIN_S: Final = 0.5


@dataclass(frozen=True)
class EarlierRun:
    """How far an earlier run of an update got before it was cut off.

    Attributes:
        stage: The furthest stage that it may have begun; its effect may have happened or not.
        from_version: What the board ran before it.
        digest: Image digest (hex) of what was written, if it was an MCUboot image and all of it was seen.
        board_id: IMEI of the board, if it told one; another board owes nothing to that run.
        left_at: Epoch second at which it was heard of last; None if nobody knows.
    """

    stage: Stage
    from_version: str | None
    digest: str | None = None
    board_id: str | None = None
    left_at: float | None = None

    @classmethod
    def from_details(cls, details: Mapping[str, str]) -> "EarlierRun | None":
        """What ``statusDetails`` of a job still tell when there is no journal of it; None if it did not get that far."""
        stage = next((stage for stage in EFFECT_STAGES if stage == details.get("stage")), None)
        return None if stage is None else cls(stage, details.get("from_version"))


class Position(Enum):
    """Where a board stands in an update that an earlier run began."""

    UNKNOWN = auto()
    """Nothing tells that it was changed: the update is done from its transfer on."""
    WAITING = auto()
    """The image is scheduled; only the reboot is missing."""
    RUNNING = auto()
    """The board runs the image."""
    NOT_TAKEN = auto()
    """The board was rebooted and runs what it ran before: refused, or gone back."""


def find_position(
    earlier: EarlierRun | None, proof: Proof, now: BoardIdentity, version: str | None
) -> Position:
    """Compare what an earlier run was about to do with what the board says.

    Args:
        earlier: The earlier run.
        proof: How this kind of update is proven.
        now: What the board says.
        version: Version of the image.
    """
    if earlier is None or earlier.from_version is None or _is_other_board(earlier, now):
        return Position.UNKNOWN
    wanted = WantedImage(version, earlier.digest)
    if proof.changed_since(earlier.from_version, now, wanted):
        return Position.RUNNING
    if proof.is_waiting(now, wanted):
        return Position.WAITING
    if earlier.stage in _REBOOTED and earlier.from_version == proof.version_of(now) != version:
        return Position.NOT_TAKEN
    return Position.UNKNOWN


def not_taken_error(earlier: EarlierRun, kind: ImageKind) -> VerificationError:
    """Say what it means that a board was rebooted with a new image and runs the old one."""
    running = f"an earlier run was cut off after the reboot, and the board runs {earlier.from_version}"
    hint = "The board is usable."
    if kind in _MODEM_KINDS:
        return VerificationError(
            f"the modem was not updated: {running}", reason="modem-not-updated", hint=hint
        )
    if earlier.stage is Stage.CONFIRM:
        return VerificationError(f"reverted: {running} again", reason="reverted", hint=hint)
    return VerificationError(
        f"rejected by the bootloader: {running} as before", reason="rejected-by-bootloader", hint=hint
    )


def patient(
    open_route: RouteOpener, earlier: EarlierRun | None, stopped: Callable[[], bool] = lambda: False
) -> RouteOpener:
    """A route opener that waits for a board which an earlier run may have left busy.

    MCUboot needs a minute to swap two large slots, a modem about as long to erase its update area and several to apply a
    delta; they answer nothing meanwhile.

    Args:
        open_route: Opens the board.
        earlier: The earlier run; without one there is nothing to wait for.
        stopped: Ends the wait.
    """
    if earlier is None:
        return open_route

    @contextmanager
    def open_patiently(head: ImageHead) -> Iterator[Route]:
        timeout_s = MODEM_RESET_TIMEOUT_S if head.kind in _MODEM_KINDS else RESET_TIMEOUT_S
        since_s = 0.0 if earlier.left_at is None else max(0.0, time.time() - earlier.left_at)
        deadline_s = clock.monotonic() + timeout_s - since_s
        with ExitStack() as stack:
            while True:
                try:
                    route = stack.enter_context(open_route(head))
                    break
                except BoardNotFoundError:
                    if stopped() or clock.monotonic() > deadline_s:
                        raise
                # Nothing announces that a port or a board is back.
                clock.event().wait(_KNOCK_AGAIN_S)
            yield route

    return open_patiently


def _is_other_board(earlier: EarlierRun, now: BoardIdentity) -> bool:
    return None not in (earlier.board_id, now.imei) and earlier.board_id != now.imei
