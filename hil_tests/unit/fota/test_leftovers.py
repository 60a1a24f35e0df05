"""What a stopped update says is left of it on the board."""

from typing import Any

import pytest

from bridge.errors import BoardRefusedError, BridgeError, InterruptedUpdateError, LinkError
from bridge.fota.leftovers import tell_interrupted, tell_leftover

LOST = LinkError("gone")
KEPT = BoardRefusedError("the board keeps it", hint="It is tried once.")
GO_ON = "Run it again."


def stopped() -> InterruptedUpdateError:
    return InterruptedUpdateError("told to stop", hint=GO_ON)


@pytest.mark.parametrize(
    ("facts", "left_behind", "left"),
    [
        ({}, None, "nothing was written, and the board runs 1.0.0 as before"),
        ({"running": None}, None, "nothing was written, and the board runs what it ran"),
        ({"may_be_scheduled": True}, None, "the image of an earlier run may be scheduled"),
        ({"written": True}, None, "will not be installed, and the board runs 1.0.0 as before"),
        ({"written": True}, LOST, "still there, but not scheduled"),
        ({"written": True, "may_be_scheduled": True}, LOST, "may be installed by the next reset"),
        ({"written": True, "beyond": True}, None, "after the point of no return"),
    ],
)
def test_given_a_stopped_update_then_what_is_left_of_it_and_how_it_goes_on_are_told(
    facts: dict[str, Any], left_behind: BridgeError | None, left: str
) -> None:
    failure = stopped()
    known = {"written": False, "beyond": False, "may_be_scheduled": False, "running": "1.0.0", **facts}
    tell_interrupted(failure, left_behind, **known)
    assert failure.message.startswith("told to stop; ")
    assert left in failure.message
    assert failure.hint == GO_ON


def test_given_a_board_that_does_not_give_up_what_was_written_then_both_are_told_once() -> None:
    failure = stopped()
    tell_leftover(failure, KEPT, in_place=False)
    tell_interrupted(failure, KEPT, written=True, beyond=False, may_be_scheduled=True, running="1.0.0")
    assert failure.message == "told to stop; what was written is still there: the board keeps it"
    assert failure.hint == "It is tried once. Run it again."
