"""A board on a pty: clients come and go, and their settings count."""

import os
from collections.abc import Iterator

import pytest
import serial

from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer


@pytest.fixture
def server(samples: SampleImages) -> Iterator[PtyServer]:
    image = samples.application("1.0.0").read_bytes()
    with VirtualBoard(keys=[samples.public_key_pem], factory_image=image) as board:
        board.wait_for_event("ready")
        with PtyServer(board) as running:
            yield running


def ask(port: serial.Serial, command: str) -> bytes:
    """Send a command and read its answer."""
    port.write(command.encode() + b"\r")
    return port.read_until(b"OK\r\n")


def test_clients_come_and_go_and_find_the_same_board(server: PtyServer) -> None:
    for expected in (b"+CMEE: 0", b"+CMEE: 1"):
        with serial.Serial(server.path, 115_200, timeout=5, rtscts=True) as port:
            port.reset_input_buffer()
            assert expected in ask(port, "AT+CMEE?")
            assert ask(port, "AT+CMEE=1") == b"\r\nOK\r\n"


def test_the_clients_bit_rate_counts(server: PtyServer) -> None:
    with serial.Serial(server.path, 115_200, timeout=5) as port:
        assert ask(port, "AT+IPR=230400") == b"\r\nOK\r\n"
        port.baudrate = 230_400
        assert b"+IPR: 230400" in ask(port, "AT+IPR?")
        port.timeout = 0.2
        port.baudrate = 57_600
        assert b"OK" not in ask(port, "AT")


def test_more_than_the_drivers_queue_is_taken_and_arrives_whole(server: PtyServer) -> None:
    data = os.urandom(20_000)
    with serial.Serial(server.path, 115_200, timeout=5, rtscts=True) as port:
        assert ask(port, f"AT#XDFUINIT=0,{len(data)}") == b"\r\nOK\r\n"
        assert ask(port, f"AT#XDFUWRITE=0,0,{len(data)}") == b"\r\nOK\r\n"
        port.write(data)
        assert port.read_until(b"#XDFU: 0,1,0\r\n").endswith(b"#XDFU: 0,1,0\r\n")
        assert ask(port, "AT#XDFUAPPLY=0") == b"\r\nOK\r\n"
        port.read_until(b"#XDFU: 0,2,0\r\n")
    board = server._board
    assert board.call(lambda: board.flash.read(board.layout.secondary.address, len(data))) == data


def test_a_stopped_server_gives_the_board_back(server: PtyServer) -> None:
    path = server.path
    server.stop()
    server.stop()
    assert not server._board.cable.host_end.is_open
    assert not os.path.exists(path)  # noqa: PTH110 - a device
    with PtyServer(server._board) as again, serial.Serial(again.path, 115_200, timeout=5) as port:
        assert ask(port, "AT") == b"\r\nOK\r\n"


def test_a_call_of_the_board_that_comes_after_the_end_touches_no_closed_descriptor(
    samples: SampleImages,
) -> None:
    with VirtualBoard(factory_image=samples.application("1.0.0").read_bytes()) as board:
        server = PtyServer(board).start()
        tell, probe = board.cable.on_host_event, board.cable.probe_host
        assert tell is not None
        assert probe is not None
        server.stop()
        tell()
        probe()
