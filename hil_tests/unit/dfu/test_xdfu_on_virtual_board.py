"""``#XDFU`` on the virtual board: what is in flash decides what boots, whatever happened on the line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.board import Board, Link
from bridge.dfu import TransferImage, XdfuTarget, XdfuTiming
from bridge.dfu.transfer import transfer
from bridge.image import FileSource, ImageKind
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan
from bridge.virtual.pty_server import PtyServer

APPLICATION, DELTA = ImageKind.APPLICATION, ImageKind.MODEM_DELTA
TIMING = XdfuTiming(margin_s=0.4, flash_bytes_per_s=1_000_000, recovery_s=30)
URL = "virtual://under-test"
BAUD = 1_000_000  # only for the host's own deadlines; the board's time is simulated


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("images"))


@contextmanager
def virtual_board(
    images: SampleImages, faults: FaultPlan | None = None, *, flow_control: bool = True
) -> Iterator[str]:
    with VirtualBoard(
        factory_image=images.application("1.0.0").read_bytes(),
        keys=[images.public_key_pem],
        faults=faults,
        flow_control=flow_control,
        baud=BAUD,
    ) as board:
        registry.register(registry.key_of(URL), board)
        try:
            yield URL
        finally:
            registry.unregister(registry.key_of(URL))


def write(board: Board, image: Path, kind: ImageKind, *, schedule: bool = True) -> XdfuTarget:
    target = XdfuTarget(board, timing=TIMING)
    source = FileSource(image)
    for _ in transfer(target, source, TransferImage(kind, image.stat().st_size)):
        pass
    source.close()
    if schedule:
        target.schedule()
    return target


def application_version(board: Board) -> str | None:
    return board.identify().application_version


# --- applications ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served_on_pty", [False, True])
def test_given_a_new_application_the_board_runs_and_confirms_it_after_the_reset(
    images: SampleImages, served_on_pty: bool
) -> None:
    factory = images.application("1.0.0").read_bytes()
    with VirtualBoard(factory_image=factory, keys=[images.public_key_pem]) as virtual:
        registry.register(registry.key_of(URL), virtual)
        server = PtyServer(virtual).start() if served_on_pty else None
        with Board.open(server.path if server else URL) as board:
            with board.at_baud(BAUD) as rate:
                assert rate == BAUD
                write(board, images.application("1.1.0"), APPLICATION)
            assert board.reset(timeout_s=60).messages == ("Ready", "#XFOTA: 5,0")
            assert application_version(board) == "v1.1.0"
        if server:
            server.stop()
        registry.unregister(registry.key_of(URL))


def test_given_bytes_lost_on_the_line_the_image_still_arrives_whole(images: SampleImages) -> None:
    faults = FaultPlan(rx=dict.fromkeys((20000, 20001, 33000), ByteFault.DROP))
    with virtual_board(images, faults) as url, Board.open(url, baud=BAUD) as board:
        write(board, images.application("1.1.0"), APPLICATION)
        assert "#XFOTA: 5,0" in board.reset(timeout_s=60).messages
        assert application_version(board) == "v1.1.0"


def test_given_a_failed_write_the_image_still_arrives_whole(images: SampleImages) -> None:
    with (
        virtual_board(images, FaultPlan(failing_writes=frozenset({1}))) as url,
        Board.open(url, baud=BAUD) as board,
    ):
        write(board, images.application("1.1.0"), APPLICATION)
        assert "#XFOTA: 5,0" in board.reset(timeout_s=60).messages


def test_given_no_flow_control_nothing_is_lost_while_flash_is_erased(images: SampleImages) -> None:
    with (
        virtual_board(images, flow_control=False) as url,
        Board.open(url, baud=BAUD, flow_control=False) as board,
    ):
        target = XdfuTarget(board, timing=TIMING)
        image = images.application("1.1.0")
        source = FileSource(image)
        assert {
            step.attempt
            for step in transfer(target, source, TransferImage(APPLICATION, image.stat().st_size))
        } == {1}
        source.close()


@pytest.mark.parametrize("schedule", [False, True])
def test_given_an_abort_the_board_keeps_its_application(images: SampleImages, schedule: bool) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        write(board, images.application("1.1.0"), APPLICATION, schedule=schedule).abort()
        assert board.reset(timeout_s=60).messages == ("Ready",)
        assert application_version(board) == "v1.0.0"


def test_given_an_abort_after_an_earlier_session_was_scheduled_neither_image_is_installed(
    images: SampleImages,
) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        write(board, images.application("1.1.0"), APPLICATION)
        write(board, images.application("1.2.0"), APPLICATION, schedule=False).abort()
        board.reset(timeout_s=60)
        assert application_version(board) == "v1.0.0"


def test_given_an_abort_the_next_transfer_works(images: SampleImages) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        write(board, images.application("1.1.0"), APPLICATION).abort()
        write(board, images.application("1.2.0"), APPLICATION)
        board.reset(timeout_s=60)
        assert application_version(board) == "v1.2.0"


# --- boards that an interrupted host left behind -----------------------------------------------------------


@pytest.mark.parametrize("transfer_baud", [BAUD, 115_200])
def test_given_a_host_that_died_in_the_middle_of_a_chunk_the_board_is_found_again(
    images: SampleImages, transfer_baud: int
) -> None:
    with virtual_board(images) as url:
        link = Link(url, baud=BAUD)
        board = Board(link)
        link.open()
        board.at.command("AT#XDFUINIT=0,100000")
        board.at.command(f"AT+IPR={transfer_baud}")
        link.set_baud(transfer_baud)
        board.at.command("AT#XDFUWRITE=0,0,32768")
        link.write(b"\x00" * 32_000, 10)
        link.close()
        with Board.open(url, baud=BAUD, timeout_s=60) as again:
            assert application_version(again) == "v1.0.0"
            assert again.link.baud == BAUD


# --- modem deltas ------------------------------------------------------------------------------------------


def modem_version(board: Board) -> str | None:
    return board.identify().modem_version


def delta(images: SampleImages, base: str = "2.0.2", target: str = "2.0.3") -> Path:
    return images.modem_delta(base, target, size_bytes=100_000)


def test_given_a_delta_the_modem_runs_the_new_firmware_after_its_reset(images: SampleImages) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        write(board, delta(images), DELTA)
        assert "#XFOTA: 5,0" in board.reset_modem(60).messages
        assert modem_version(board) == "mfw_nrf91x1_2.0.3"


def test_given_an_area_that_an_earlier_update_left_dirty_the_next_delta_works(images: SampleImages) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        for base, target in (("2.0.2", "2.0.3"), ("2.0.3", "2.0.4")):
            write(board, delta(images, base, target), DELTA)
            board.reset_modem(60)
        assert modem_version(board) == "mfw_nrf91x1_2.0.4"


def test_given_bytes_lost_on_the_line_the_delta_still_arrives_whole(images: SampleImages) -> None:
    faults = FaultPlan(rx={50_000: ByteFault.DROP})
    with virtual_board(images, faults) as url, Board.open(url, baud=BAUD) as board:
        write(board, delta(images), DELTA)
        assert "#XFOTA: 5,0" in board.reset_modem(60).messages
        assert modem_version(board) == "mfw_nrf91x1_2.0.3"


def test_given_a_host_that_died_in_the_middle_of_a_delta_the_next_one_works(images: SampleImages) -> None:
    with virtual_board(images) as url:
        with Board.open(url, baud=BAUD) as board:
            target = XdfuTarget(board, timing=TIMING, streams=False)
            target.begin(TransferImage(DELTA, 100_000))
            target.write(delta(images).read_bytes()[:32_768])
        with Board.open(url, baud=BAUD, timeout_s=60) as board:
            write(board, delta(images), DELTA)
            assert "#XFOTA: 5,0" in board.reset_modem(60).messages
            assert modem_version(board) == "mfw_nrf91x1_2.0.3"


@pytest.mark.parametrize("schedule", [False, True])
def test_given_an_abort_the_modem_keeps_its_firmware(images: SampleImages, schedule: bool) -> None:
    with virtual_board(images) as url, Board.open(url, baud=BAUD) as board:
        write(board, delta(images), DELTA, schedule=schedule).abort()
        board.reset_modem(60)
        assert modem_version(board) == "mfw_nrf91x1_2.0.2"
