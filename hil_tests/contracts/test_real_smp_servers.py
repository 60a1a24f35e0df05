"""Our SMP client against real Zephyr 4 and real MCUboot recovery, in an emulator."""

import hashlib
from collections.abc import Iterator
from contextlib import closing

import pytest

from bridge.board.answering import open_answering
from bridge.board.link import Link
from bridge.board.smp_board import SmpBoard
from bridge.dfu import TransferImage
from bridge.dfu.smp import SmpTarget
from bridge.dfu.upload_notes import UploadNotes
from bridge.errors import BoardRefusedError
from bridge.image import ImageKind, inspect_bytes
from hil_tests.contracts.real_smp_server import RealServer, other_image, real_smp_server

pytestmark = pytest.mark.contract

CONFIG = "serial_recovery"


@pytest.fixture
def server() -> Iterator[RealServer]:
    with real_smp_server(CONFIG) as running:
        yield running


def opened(server: RealServer) -> SmpBoard:
    board = SmpBoard(Link(server.url, flow_control=False))
    board.link.reopen(10.0)  # the emulator needs a moment before it listens
    assert board.probe(10.0)
    return board


def described(data: bytes) -> TransferImage:
    return TransferImage(ImageKind.APPLICATION, len(data), hashlib.sha256(data).hexdigest())


def digest_of(data: bytes) -> str:
    info = inspect_bytes(data).mcuboot
    assert info is not None
    return info.digest


def send(target: SmpTarget, data: bytes, start: int, end: int) -> None:
    for offset in range(start, end, 4096):
        target.write(data[offset : min(offset + 4096, end)])


def test_given_zephyr_then_it_is_identified_and_an_upload_lands_with_a_window_and_without_loss(
    server: RealServer,
) -> None:
    with closing(opened(server)):
        pass
    board = open_answering(server.url, flow_control=False)
    assert isinstance(board, SmpBoard)
    new = other_image("serial_recovery_buf1024")
    with board:
        assert not board.in_recovery
        assert board.identify().application_digest == digest_of(server.image)
        parameters = board.client.parameters()
        assert (parameters.buffer_bytes, parameters.buffer_count) == (384, 4)
        target = SmpTarget(board)
        assert (target.begin(described(new)), target.in_place) == (0, False)
        send(target, new, 0, len(new))
        target.finish()
        assert {state.digest for state in board.image_states()} == {digest_of(server.image), digest_of(new)}
        with pytest.raises(BoardRefusedError):
            target.schedule(digest_of(new))  # this build has one slot to run from, and says so
        target.abort()
        assert [state.slot for state in board.image_states()] == [0]


def test_given_half_an_upload_to_zephyr_when_another_client_goes_on_then_only_the_rest_is_sent(
    server: RealServer,
) -> None:
    new = other_image("serial_recovery_buf1024")[: 40 * 1024]
    with closing(opened(server)) as board:
        target = SmpTarget(board)
        target.begin(described(new))
        send(target, new, 0, len(new) // 2)
    with closing(opened(server)) as board:
        target = SmpTarget(board)
        target.begin(described(new))
        send(target, new, 0, len(new))
        target.finish()
        assert target.sent_bytes <= 0.55 * len(new)


def test_given_zephyr_then_it_restarts_into_mcuboot_which_goes_on_with_an_upload_of_another_process(
    server: RealServer,
) -> None:
    notes = UploadNotes(None)
    new = other_image("serial_recovery_buf1024")[: 40 * 1024]
    with closing(opened(server)) as board:
        board.enter_recovery(30.0)
        assert board.identify().firmware == "mcuboot-recovery"
        target = SmpTarget(board, notes=notes)
        assert (target.begin(described(new)), target.in_place) == (0, True)
        send(target, new, 0, len(new) // 2)
    with closing(opened(server)) as board:
        assert board.in_recovery
        target = SmpTarget(board, notes=notes)
        start = target.begin(described(new))
        assert start >= 0.45 * len(new)
        send(target, new, start, len(new))
        target.finish()
        assert target.sent_bytes <= 0.55 * len(new)
        with pytest.raises(BoardRefusedError) as caught:
            target.schedule("00" * 32)  # a piece of an image is none
        assert caught.value.reason == "rejected-by-bootloader"
        assert not board.reset(60.0).messages
        assert not board.in_recovery
