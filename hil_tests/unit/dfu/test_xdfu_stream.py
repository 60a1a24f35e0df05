"""``#XDFUWRITE`` streamed: several pieces under way, safe to send before they were accepted, and found out when one is lost."""

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.board import Board
from bridge.dfu import TransferImage, XdfuTarget, XdfuTiming
from bridge.dfu.transfer import transfer
from bridge.dfu.xdfu_stream import cut, is_harmless
from bridge.dfu.xdfu_tuning import STREAM_WINDOW_BYTES, piece_end
from bridge.errors import BridgeError
from bridge.image import BytesSource, ImageKind
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan
from hil_tests.unit.board.scripted_peer import ERROR
from hil_tests.unit.dfu.fake_serial_modem import FakeSerialModem

QUICK = XdfuTiming(command_s=0.3, erase_s=5, flash_bytes_per_s=1_000_000, margin_s=0.3, schedule_s=0.3)
COMMANDS_INSIDE = b'AT#XRESET\rat+cfun=0\rAt%XPMNG="aT\r' * 1000
IMAGE = random.Random(7).randbytes(20_000) + COMMANDS_INSIDE
NAME = "xdfu-stream"


@contextmanager
def fake() -> Iterator[tuple[FakeSerialModem, Board]]:
    with FakeSerialModem() as modem, Board.open(modem.path, baud=1_000_000) as board:
        modem.commands.clear()
        yield modem, board


def write(board: Board, image: bytes) -> int:
    """Transfer an image; returns the number of attempts."""
    target = XdfuTarget(board, timing=QUICK)
    described = TransferImage(ImageKind.APPLICATION, len(image))
    return max(step.attempt for step in transfer(target, BytesSource(image, "image.bin"), described))


# --- cutting ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.sampled_from([b"A", b"T", b"a", b"t", b"x", b"\r", b"AT", b"\xff"]), max_size=200),
    st.integers(0, 5000),
    st.sampled_from([1, 3, 16, 1024]),
)
def test_pieces_join_to_the_data_and_only_short_ones_may_hold_the_letters_that_begin_a_command(
    parts: list[bytes], offset: int, size: int
) -> None:
    data = b"".join(parts)
    pieces = list(cut(data, offset, lambda at: (at // size + 1) * size))
    assert b"".join(pieces) == data
    for piece in pieces:
        assert piece
        assert is_harmless(piece) == (b"AT" not in piece.upper())
        assert is_harmless(piece) or b"AT" in piece[:257].upper()


@pytest.mark.parametrize(
    ("baud", "line_bound", "ends"),
    [
        (115_200, False, [1024, 1024, 4096, 4096]),
        (1_000_000, False, [1024, 1024, 2048, 3072]),
        (1_000_000, True, [4096, 4096, 4096, 4096]),
    ],
)
def test_pieces_end_where_the_boards_own_buffers_do(baud: int, line_bound: bool, ends: list[int]) -> None:
    found = [piece_end(offset, baud, line_bound=line_bound) for offset in (0, 1, 1024, 2048 + 5)]
    assert found == ends
    assert piece_end(8192 + 1024, baud, line_bound=line_bound) == 8192 + ends[2]


# --- byte by byte, against a scripted peer ----------------------------------------------------------------------


def test_an_image_arrives_whole_and_once_and_nothing_but_xdfu_is_a_command() -> None:
    with fake() as (modem, board):
        assert write(board, IMAGE) == 1
        assert modem.sessions == [IMAGE]
        assert {command.split("=")[0] for command in modem.commands} == {"AT", "AT#XDFUINIT", "AT#XDFUWRITE"}


def test_more_than_one_piece_is_under_way_but_no_more_than_a_window() -> None:
    with fake() as (_, board):
        sizes: list[int] = []

        def note(data: bytes) -> bytes:
            sizes.append(len(data))
            return data

        board.link.outgoing_hook = note
        assert write(board, bytes(30_000)) == 1
        pieces = [size for size in sizes if size > 100]
        assert len(pieces) >= 8
        assert max(pieces) <= STREAM_WINDOW_BYTES


@pytest.mark.parametrize("number", [0, 3, 9])
def test_a_refused_piece_is_noticed_its_bytes_are_no_commands_and_the_image_arrives_all_the_same(
    number: int,
) -> None:
    with fake() as (modem, board):
        real, counter = modem._xdfuwrite, itertools.count()
        modem._xdfuwrite = (  # type: ignore[method-assign]
            lambda *numbers: ERROR if next(counter) == number else real(*numbers)
        )
        assert write(board, IMAGE) == 2
        assert modem.sessions[-1] == IMAGE
        assert not [command for command in modem.commands if not command.startswith(("AT#XDFU", "AT"))]
        assert "AT#XRESET" not in modem.commands
        assert not any("CFUN" in command.upper() for command in modem.commands)


def test_a_lost_answer_is_noticed_and_the_transfer_starts_again_one_by_one() -> None:
    with fake() as (modem, board):
        modem.lose_ok_of_write = {2}
        assert write(board, IMAGE) == 2
        assert modem.sessions[-1] == IMAGE


def test_a_failed_write_among_many_is_found_at_the_end() -> None:
    with fake() as (modem, board):
        modem.failing_writes = {5}
        assert write(board, IMAGE) == 2
        assert len(modem.sessions) == 2


# --- on the virtual board -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@contextmanager
def virtual(samples: SampleImages, faults: FaultPlan) -> Iterator[VirtualBoard]:
    board = VirtualBoard(
        factory_image=samples.application("1.0.0").read_bytes(),
        keys=[samples.public_key_pem],
        baud=1_000_000,
        faults=faults,
    )
    registry.register(NAME, board)
    try:
        with board:
            yield board
    finally:
        registry.unregister(NAME)


def slot(board: VirtualBoard, size: int) -> bytes:
    address = board.layout.secondary.address
    return board.call(lambda: board.flash.read(address, size))


@settings(max_examples=12, deadline=None)
@given(position=st.integers(300, 19_000), count=st.integers(1, 40))
@example(position=6356, count=1)  # makes 1024 bytes 104, and no answer tells
def test_lost_bytes_anywhere_are_noticed_or_make_an_image_that_mcuboot_does_not_start(
    samples: SampleImages, position: int, count: int
) -> None:
    image = samples.application("2.0.0", size_bytes=16 * 1024).read_bytes()
    faults = FaultPlan(rx={position + number: ByteFault.DROP for number in range(count)})
    with virtual(samples, faults) as board, Board.open(f"virtual://{NAME}", baud=1_000_000) as opened:
        try:
            write(opened, image)
        except BridgeError:
            return
        # The last bytes are in the stream buffer until the image is scheduled.
        flushed = len(image) - len(image) % 1024
        whole = slot(board, flushed) == image[:flushed]
        opened.at.command("AT#XDFUAPPLY=0")
        opened.reset(timeout_s=60)
        assert opened.identify().application_version == ("v2.0.0" if whole else "v1.0.0")


def test_a_power_cut_in_mid_stream_lets_the_board_come_up_and_nothing_of_the_image_is_executed(
    samples: SampleImages,
) -> None:
    image = samples.application("2.0.0").read_bytes() + COMMANDS_INSIDE
    with virtual(samples, FaultPlan()) as board, Board.open(f"virtual://{NAME}", baud=1_000_000) as opened:
        target = XdfuTarget(opened, timing=QUICK)
        target.begin(TransferImage(ImageKind.APPLICATION, len(image)))
        target.write(image[:32_768])
        board.power_cut()
        board.power_on()
        with pytest.raises(BridgeError):
            target.write(image[-32_768:])
            target.finish()
        resets = [event for event in board.events if event.kind == "reset"]
        assert not resets, "AT#XRESET in the image must not be executed"
        opened.at.synchronise()
        assert opened.identify().application_version == "v1.0.0"
