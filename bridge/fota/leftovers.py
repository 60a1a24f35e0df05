"""What a stopped update leaves on the board: made harmless where that is possible, and told where it is not."""

import logging

from bridge.dfu import DfuTarget, TransferImage
from bridge.errors import BoardRefusedError, BridgeError, InterruptedUpdateError, LinkError

_log = logging.getLogger(__name__)


def invalidate(target: DfuTarget) -> BridgeError | None:
    """Make sure that what was written is never installed, whatever stopped us; returns why that did not work."""
    try:
        target.abort()
    except BridgeError as error:
        _log.warning("could not invalidate what was written: %s", error.message)
        return error
    return None


def discard(target: DfuTarget, image: TransferImage) -> BridgeError | None:
    """The same for what another process wrote before it died."""
    try:
        target.discard(image)
    except BridgeError as error:
        _log.warning("could not invalidate what an earlier run wrote: %s", error.message)
        return error
    return None


def tell_leftover(failure: BridgeError, left_behind: BridgeError | None, *, in_place: bool) -> None:
    """Add to why an update failed what is left of it on the board, and what to do about that.

    Args:
        failure: Why it failed.
        left_behind: Why what was written could not be made harmless, if it could not.
        in_place: Whether what ran before was overwritten.
    """
    if in_place:
        failure.hint = _hint_in_place(failure, left_behind)
    elif isinstance(left_behind, BoardRefusedError):
        failure.args = (f"{failure.message}; what was written is still there: {left_behind.message}",)
        own = failure.hint if isinstance(failure, InterruptedUpdateError) else None
        failure.hint = " ".join(filter(None, (left_behind.hint, own))) or None


def tell_interrupted(
    failure: InterruptedUpdateError,
    left_behind: BridgeError | None,
    *,
    written: bool,
    beyond: bool,
    may_be_scheduled: bool,
    running: str | None,
) -> None:
    """Add to why an update was stopped what is left of it on the board.

    Args:
        failure: Why it was stopped; its hint says how it goes on.
        left_behind: Why what was written could not be made harmless, if it could not; a refusal was told already.
        written: Whether it had begun to write.
        beyond: Whether it was beyond the point of no return.
        may_be_scheduled: Whether a reset may install the image, or finish its installation.
        running: Version that runs, if it was told.
    """
    if isinstance(left_behind, BoardRefusedError):
        return
    runs = "the board runs what it ran" if running is None else f"the board runs {running} as before"
    if beyond:
        left = "the board was lost after the point of no return; it may run the old image or the new one, or neither"
    elif left_behind is not None:
        left = "the board was lost, so what was written of the image is still there" + (
            " and may be installed by the next reset" if may_be_scheduled else ", but not scheduled"
        )
    elif written:
        left = f"what was written of the image will not be installed, and {runs}"
    elif may_be_scheduled:
        left = "nothing was written now, but the image of an earlier run may be scheduled"
    else:
        left = f"nothing was written, and {runs}"
    failure.args = (f"{failure.message}; {left}",)


def _hint_in_place(failure: BridgeError, left_behind: BridgeError | None) -> str | None:
    """The target says what is left, where it knows."""
    if isinstance(left_behind, BoardRefusedError):
        return f"{left_behind.message}. {left_behind.hint or ''}".rstrip()
    if isinstance(failure, LinkError):
        return f"What ran is partly overwritten; run this again to finish it. {failure.hint or ''}".rstrip()
    return failure.hint
