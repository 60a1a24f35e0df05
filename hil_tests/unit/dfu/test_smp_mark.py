"""A test mark that the board refuses: the image list tells what the next reset starts, and nobody is told anything else."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from bridge.board.link import Link
from bridge.board.smp_board import SmpBoard
from bridge.dfu import TransferImage
from bridge.dfu.smp import SmpTarget
from bridge.errors import BoardRefusedError
from bridge.image import ImageKind
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.unit.dfu.smp_peer import Answer, SmpPeer

NEW: Final = "ab" * 32
OLD: Final = "01" * 32
ALREADY_PENDING: Final = {"err": {"group": 1, "rc": 28}}
BAD_STATE: Final = {"rc": 6}
REFUSALS: Final = pytest.mark.parametrize("refusal", [ALREADY_PENDING, BAD_STATE], ids=["28", "6"])

Entry = Mapping[str, Any]


def entry(slot: int, digest: str, *flags: str, image: int = 0, version: str = "") -> Entry:
    named = {"image": image} if image else {}
    return {
        **named,
        "slot": slot,
        "version": version or ("2.0.0" if digest == NEW else "1.0.0"),
        "hash": bytes.fromhex(digest),
        **dict.fromkeys(("bootable", *flags), True),
    }


RUNNING: Final = entry(0, OLD, "active", "confirmed")
ON_TRIAL: Final = entry(0, OLD, "active")
OTHER_IMAGE: Final = (
    entry(0, "03" * 32, "confirmed", image=1, version="7.0.0"),
    entry(1, "04" * 32, "pending", image=1, version="8.0.0"),
)


class Server:
    """Lists what it is told to, before and after it is asked for a mark, which it refuses.

    Attributes:
        marks: How often it was asked.
        uploads: How often it was asked to take bytes.
        recovery: It is MCUboot's.
    """

    def __init__(
        self, *lists: list[Entry], refusal: Mapping[str, Any] = ALREADY_PENDING, recovery: bool = False
    ) -> None:
        self.marks = self.uploads = 0
        self.recovery = recovery
        self._lists = lists
        self._refusal = refusal

    def __call__(self, request: SmpMessage) -> Answer:
        match request.group, request.command:
            case SmpGroup.OS, OsCommand.ECHO_CONTROL:
                return {"rc": 0 if self.recovery else 8}
            case SmpGroup.IMAGE, ImageCommand.STATE if request.op == SmpOp.READ:
                return {"images": self._lists[min(self.marks, len(self._lists) - 1)]}
            case SmpGroup.IMAGE, ImageCommand.STATE:
                self.marks += 1
                return self._refusal
            case SmpGroup.IMAGE, ImageCommand.SLOT_INFO if self.recovery:
                slots = [{"slot": slot, "size": 500_000, "upload_image_id": slot + 1} for slot in (0, 1)]
                return {"images": [{"image": 0, "slots": slots}]}
            case SmpGroup.IMAGE, ImageCommand.ERASE:
                return {"err": {"group": 1, "rc": 9}}
            case SmpGroup.IMAGE, ImageCommand.UPLOAD:
                self.uploads += 1
                return {"err": {"group": 1, "rc": 9}}
        return {"rc": 8}


def schedule(server: Server) -> None:
    with SmpPeer(server) as peer, SmpBoard(Link(peer.path, flow_control=False)) as board:
        board.link.open()
        SmpTarget(board).schedule(NEW)


def write(server: Server) -> BoardRefusedError:
    """Begin to write an image, which must be refused."""
    with SmpPeer(server) as peer, SmpBoard(Link(peer.path, flow_control=False)) as board:
        board.link.open()
        assert board.probe(5.0)
        target = SmpTarget(board)
        with pytest.raises(BoardRefusedError) as caught:
            target.begin(TransferImage(ImageKind.APPLICATION, 4096))
            target.write(bytes(4096))
            target.finish()
    return caught.value


@REFUSALS
def test_given_our_image_pending_after_all_then_it_is_scheduled(refusal: Mapping[str, Any]) -> None:
    server = Server([RUNNING, entry(1, NEW)], [RUNNING, entry(1, NEW, "pending")], refusal=refusal)
    schedule(server)
    assert server.marks == 1


def test_given_our_image_pending_before_then_nothing_is_asked_for() -> None:
    server = Server([RUNNING, entry(1, NEW, "pending", "permanent")])
    schedule(server)
    assert server.marks == 0


@REFUSALS
def test_given_our_image_in_the_place_of_the_one_to_go_back_to_then_it_is_scheduled_and_that_is_said(
    refusal: Mapping[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server([RUNNING, entry(1, NEW)], [ON_TRIAL, entry(1, NEW, "confirmed")], refusal=refusal)
    schedule(server)
    assert server.marks == 1
    assert "without a trial" in caplog.text


@REFUSALS
def test_given_another_image_that_waits_then_ours_is_said_not_to_be_marked(
    refusal: Mapping[str, Any],
) -> None:
    server = Server([RUNNING, entry(1, NEW), *OTHER_IMAGE], refusal=refusal)
    with pytest.raises(BoardRefusedError) as caught:
        schedule(server)
    assert caught.value.reason == "schedule-refused"
    assert "8.0.0 of its image 1 waits" in caught.value.message


@REFUSALS
def test_given_a_list_that_shows_no_reason_then_the_next_reset_is_not_promised(
    refusal: Mapping[str, Any],
) -> None:
    with pytest.raises(BoardRefusedError) as caught:
        schedule(Server([RUNNING, entry(1, NEW)], refusal=refusal))
    assert caught.value.reason == "schedule-refused"


def test_given_an_image_that_is_gone_after_the_refusal_then_that_is_said() -> None:
    """MCUboot erases a slot whose trailer is damaged when it is asked to mark it."""
    with pytest.raises(BoardRefusedError) as caught:
        schedule(Server([RUNNING, entry(1, NEW)], [RUNNING], refusal={"rc": 3}))
    assert caught.value.reason == "not-listed"


# --- before anything is written ---------------------------------------------------------------------------------


def test_given_a_running_image_on_trial_then_a_server_that_refuses_the_upload_is_explained() -> None:
    error = write(Server([ON_TRIAL, entry(1, "02" * 32, "confirmed", version="0.9.0")]))
    assert error.reason == "slot-in-use"
    assert "0.9.0 is there to go back to" in error.message


def test_given_an_image_that_waits_then_a_server_that_refuses_the_upload_is_explained() -> None:
    error = write(Server([RUNNING, entry(1, "02" * 32, "pending", version="0.9.0")]))
    assert error.reason == "slot-in-use"
    assert "0.9.0 waits there" in error.message


@pytest.mark.parametrize("running", [ON_TRIAL, entry(0, OLD)], ids=["MCUboot 2", "MCUboot of 2026"])
def test_given_a_running_image_on_trial_then_recovery_is_not_made_to_overwrite_the_one_to_go_back_to(
    running: Entry,
) -> None:
    server = Server([running, entry(1, "02" * 32, "confirmed", version="0.9.0")], recovery=True)
    error = write(server)
    assert error.reason == "slot-in-use"
    assert "0.9.0" in error.message
    assert server.uploads == 0


def test_given_another_image_on_trial_then_it_is_not_reset_away() -> None:
    other = (
        entry(0, "03" * 32, image=1, version="7.0.0"),
        entry(1, "04" * 32, "confirmed", image=1, version="6.0.0"),
    )
    server = Server([RUNNING, *other])
    error = write(server)
    assert error.reason == "on-trial"
    assert "6.0.0" in error.message
    assert server.uploads == 0


# --- what the next reset starts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "hint"),
    [
        ([ON_TRIAL, entry(1, NEW, "confirmed")], "for good"),
        ([RUNNING, entry(1, NEW, "pending", "permanent")], "for good"),
        ([RUNNING, entry(1, NEW, "pending")], "tried once"),
    ],
    ids=["gone back to", "permanent", "on trial"],
)
def test_given_an_image_that_the_board_does_not_give_up_then_what_becomes_of_it_is_told(
    states: list[Entry], hint: str
) -> None:
    with SmpPeer(Server(states)) as peer, SmpBoard(Link(peer.path, flow_control=False)) as board:
        board.link.open()
        with pytest.raises(BoardRefusedError) as caught:
            SmpTarget(board).discard(TransferImage(ImageKind.APPLICATION, 4096))
        identity = board.identify()
    assert caught.value.reason == "not-invalidated"
    assert hint in (caught.value.hint or "")
    assert identity.pending_version == "2.0.0"
    assert identity.on_trial == (states[0] is ON_TRIAL)
