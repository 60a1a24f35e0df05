"""How programs get at a board: URL handler, registry, state directory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import serial

from bridge.errors import BenchError, BoardNotFoundError, UsageError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.board_url import open_board
from bridge.virtual.bootloader_options import RecoveryEntry
from hil_tests.unit.virtual_board.conftest import Hand


@pytest.fixture
def url(samples: SampleImages, tmp_path: Path) -> Iterator[str]:
    key = tmp_path / "key.pem"
    key.write_bytes(samples.public_key_pem)
    name = tmp_path.name
    yield f"virtual://nrf9151dk?image={samples.application('1.0.0')}&key={key}&name={name}"
    board = registry.find(name)
    if board is not None:
        board.stop()
        registry.unregister(name)


def test_the_same_url_finds_the_same_running_board(url: str) -> None:
    with serial.serial_for_url(url, baudrate=115_200, timeout=5, rtscts=True) as port:
        port.write(b"AT+CMEE=1\r")
        assert b"OK" in port.read_until(b"OK\r\n")
    board = registry.board(url)
    assert board.is_running
    with serial.serial_for_url(url, baudrate=115_200, timeout=5, rtscts=True) as port:
        port.write(b"AT+CMEE?\r")
        assert b"+CMEE: 1" in port.read_until(b"OK\r\n")


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("virtual://nrf9151dk?colour=red", "colour"),
        ("virtual://nrf52840dk", "nrf52840dk"),
        ("virtual://nrf9151dk?baud=fast", "bad value"),
        ("virtual://nrf9151dk?image=missing.bin", "missing.bin"),
        ("virtual://nrf9151dk?firmware=blinky", "blinky"),
        ("virtual://nrf9151dk?recovery=door", "door"),
        ("virtual://nrf9151dk?bootloader=encryption", "encryption"),
        ("virtual://nrf9151dk?bootloader=line-bytes", "line-bytes"),
        ("virtual://nrf9151dk?smp=boot-mode=maybe", "boot-mode"),
    ],
)
def test_a_url_that_makes_no_sense_is_refused(bad: str, complaint: str) -> None:
    with pytest.raises((UsageError, serial.SerialException), match=complaint):
        serial.serial_for_url(bad)


def test_a_url_names_the_builds_of_bootloader_and_application(tmp_path: Path) -> None:
    name = tmp_path.name
    board = open_board(
        f"virtual://thingy91x?name={name}&firmware=smp&recovery=window,boot-mode&button=1"
        "&bootloader=line-buffers=4,image-state=0&bootloader=echo&smp=boot-mode,buffer-bytes=1024"
    )
    try:
        options = board._build.bootloader
        assert options.entries == {RecoveryEntry.WINDOW, RecoveryEntry.BOOT_MODE}
        assert (options.line_buffers, options.image_state, options.echo) == (4, False, True)
        assert options.direct_upload, "as the model ships it"
        assert board._build.button_held
        smp = board._build.application.smp
        assert (smp.boot_mode, smp.buffer_bytes, smp.line_bytes) == (True, 1024, 128)
    finally:
        board.stop()
        registry.unregister(name)


def test_reading_ends_with_its_timeout(hand: Hand) -> None:
    assert hand.port.read(1) == b""


def test_with_dtr_low_the_interface_chip_is_silent(hand: Hand) -> None:
    hand.port.dtr = False
    hand.port.write(b"AT\r")
    assert hand.port.read(10) == b""
    hand.port.dtr = True
    assert hand.ask("AT") == b"\r\nOK\r\n"


def test_a_name_means_one_board(hand: Hand) -> None:
    name = str(hand.port.port).removeprefix("virtual://")
    with pytest.raises(UsageError, match="already"):
        registry.register(name, VirtualBoard())
    with pytest.raises(BoardNotFoundError):
        registry.board("nobody")


def test_a_board_survives_in_its_directory(make_hand: Callable[..., Hand], tmp_path: Path) -> None:
    first = make_hand(state_dir=tmp_path)
    first.ask('AT%CMNG=0,42,4,"identity"')
    listed = first.ask("AT%CMNG=1,42")
    first.board.stop()
    second = make_hand(state_dir=tmp_path)
    assert second.ask("AT%CMNG=1,42") == listed
    assert b"%CMNG: 42,4," in listed


def test_a_directory_is_for_one_board_at_a_time(make_hand: Callable[..., Hand], tmp_path: Path) -> None:
    make_hand(state_dir=tmp_path)
    with pytest.raises(BenchError, match="process"):
        VirtualBoard(state_dir=tmp_path)


def test_a_blank_board_says_nothing() -> None:
    with VirtualBoard() as board:
        board.wait_for_event("no-image")
