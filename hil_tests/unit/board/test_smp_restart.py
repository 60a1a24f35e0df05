"""Restarts over SMP of which a part is lost or late: once is enough, and once it must be."""

import time
from collections.abc import Callable, Iterator

import pytest

from bridge.board.link import Link
from bridge.board.smp_answers import ImageState
from bridge.board.smp_board import SmpBoard
from bridge.board.smp_restart import restart_once
from bridge.errors import LinkError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import running_version
from bridge.virtual.smp_options import SmpOptions
from bridge.wire.smp_frame import SmpFrameDecoder
from bridge.wire.smp_message import OsCommand, SmpGroup, SmpMessage

NAME = "smp-restart"


@pytest.fixture
def virtual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    samples = SampleImages(tmp_path_factory.mktemp("images"))
    board = VirtualBoard(
        firmware="smp",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
        smp=SmpOptions(boot_mode=True),
    )
    new = samples.application("1.1.0").read_bytes()
    board.flash.program(board.layout.secondary.address, new)
    registry.register(NAME, board)
    with board:
        board.wait_for_event("ready")
        yield board
    registry.unregister(NAME)


@pytest.fixture
def board(virtual: VirtualBoard) -> Iterator[SmpBoard]:
    with SmpBoard(Link(f"virtual://{NAME}")) as smp:
        smp.link.open()
        yield smp


def without_first_reset() -> Callable[[bytes], bytes]:
    """Loses the first frame of a reset, request or answer."""
    lost = False

    def carry(data: bytes) -> bytes:
        nonlocal lost
        messages = [SmpMessage.decode(each) for each in SmpFrameDecoder().feed(data)]
        if not lost and any(
            (each.group, each.command) == (SmpGroup.OS, OsCommand.RESET) for each in messages
        ):
            lost = True
            return b""
        return data

    return carry


def mark(board: SmpBoard) -> None:
    new = next(state for state in board.image_states() if state.slot == 1)
    assert new.digest is not None
    board.client.test(new.digest)


def restarts(virtual: VirtualBoard) -> int:
    return len([event for event in virtual.events if event.kind == "reset"])


@pytest.mark.parametrize("hook", ["outgoing_hook", "incoming_hook"])
def test_given_a_lost_request_or_answer_then_a_waiting_image_is_started_once(
    virtual: VirtualBoard, board: SmpBoard, hook: str
) -> None:
    mark(board)
    setattr(board.link, hook, without_first_reset())
    board.reset(60.0)
    assert restarts(virtual) == 1
    assert running_version(virtual.flash, virtual.layout) == "1.1.0"


def test_given_a_lost_request_then_a_trial_is_still_ended(virtual: VirtualBoard, board: SmpBoard) -> None:
    mark(board)
    board.reset(60.0)
    board.link.outgoing_hook = without_first_reset()
    board.reset(60.0)
    assert restarts(virtual) == 2
    assert running_version(virtual.flash, virtual.layout) == "1.0.0"


def test_given_a_lost_request_and_nothing_that_would_show_then_it_is_repeated(
    virtual: VirtualBoard, board: SmpBoard
) -> None:
    board.link.outgoing_hook = without_first_reset()
    board.reset(60.0)
    assert restarts(virtual) == 1


class SlowBoard:
    """A server that takes its time between the promise and the restart, or never restarts."""

    in_recovery = False

    def __init__(self, questions_before_restart: int, *, fails: bool = False) -> None:
        self.asked = 0
        self._left = questions_before_restart
        self._fails = fails

    def image_states(self) -> tuple[ImageState, ...]:
        if self.asked:
            self._left -= 1
        if self.asked and self._left == 0 and self._fails:
            raise LinkError("it goes down", reason="no-answer")
        waits = self._left > 0 or not self.asked
        return (ImageState(1, "2.0.0", pending=True),) if waits else (ImageState(0, "2.0.0", active=True),)

    def send_reset(self) -> bool:
        self.asked += 1
        return True

    def wait_back(self, deadline: float, pause_s: float) -> list[str]:
        return ["text"]


@pytest.mark.parametrize("fails", [False, True])
def test_given_a_restart_that_is_late_then_it_is_waited_for_and_not_asked_for_again(fails: bool) -> None:
    slow = SlowBoard(4, fails=fails)
    assert len(restart_once(slow, time.monotonic() + 60.0, 1.0)) >= 4
    assert slow.asked == 1


def test_given_a_board_that_never_restarts_then_the_end_of_patience_ends_it() -> None:
    slow = SlowBoard(1 << 40)
    restart_once(slow, time.monotonic() + 0.01, 1.0)
    assert slow.asked == 3
