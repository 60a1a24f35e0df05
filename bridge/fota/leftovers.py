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


def hint_in_place(failure: BridgeError, left_behind: BridgeError | None) -> str | None:
    """What to do when writing in place failed: the target says what is left, where it knows."""
    if isinstance(left_behind, BoardRefusedError):
        return f"{left_behind.message}. {left_behind.hint or ''}".rstrip()
    if isinstance(failure, LinkError):
        return f"What ran is partly overwritten; run this again to finish it. {failure.hint or ''}".rstrip()
    return failure.hint
