"""What a stopped update leaves on the board: made harmless where that is possible, and told where it is not."""

import logging

from bridge.dfu import DfuTarget, TransferImage
from bridge.errors import BoardRefusedError, BridgeError, LinkError

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
        failure.hint = left_behind.hint


def _hint_in_place(failure: BridgeError, left_behind: BridgeError | None) -> str | None:
    """The target says what is left, where it knows."""
    if isinstance(left_behind, BoardRefusedError):
        return f"{left_behind.message}. {left_behind.hint or ''}".rstrip()
    if isinstance(failure, LinkError):
        return f"What ran is partly overwritten; run this again to finish it. {failure.hint or ''}".rstrip()
    return failure.hint
