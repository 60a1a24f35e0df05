"""What an error means for an update, and for the job behind it."""

from bridge.errors import BoardRefusedError, BridgeError, ImageRefusedError, InterruptedUpdateError
from bridge.fota.events import Outcome, UpdateCanceledError


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
