"""The virtual port behaves like a POSIX serial port."""

import threading
from collections.abc import Iterator

import pytest
import serial

from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.cable import Cable
from bridge.virtual.faults import ByteFault, ByteFaults
from bridge.virtual.protocol_virtual import Serial


@pytest.fixture
def port(samples: SampleImages) -> Iterator[Serial]:
    image = samples.application("1.0.0").read_bytes()
    board = VirtualBoard(keys=[samples.public_key_pem], factory_image=image)
    registry.register("port", board)
    with Serial("virtual://port", 115_200, timeout=5, rtscts=True) as opened:
        board.start()
        opened.read_until(b"Ready\r\n")
        yield opened
    registry.unregister("port")
    board.stop()


def test_a_second_program_finds_the_port_in_use(port: Serial) -> None:
    with pytest.raises(serial.SerialException, match="in use"):
        Serial("virtual://port")
    with pytest.raises(serial.SerialException, match="already open"):
        port.open()


def test_a_port_without_a_name_cannot_be_opened() -> None:
    unopened = Serial()
    with pytest.raises(serial.SerialException, match="configured"):
        unopened.open()
    with pytest.raises(serial.SerialException):
        unopened.read()


def test_a_blocked_read_can_be_cancelled(port: Serial) -> None:
    port.timeout = None
    reader = threading.Thread(target=port.read, args=(1,))
    reader.start()
    while reader.is_alive():
        port.cancel_read()
        reader.join(0.01)


def test_queues_can_be_looked_at_and_emptied(port: Serial) -> None:
    port.write(b"AT\r")
    port.flush()
    assert port.read(1) == b"\r"
    port.board.call(lambda: None)
    port.cancel_write()
    port.reset_output_buffer()
    assert port.out_waiting == 0
    port.write(b"AT\r")
    port.read_until(b"OK\r\n")
    port.reset_input_buffer()
    assert port.in_waiting == 0
    port.rts = port.break_condition = True
    assert (port.cts, port.dsr, port.cd, port.ri) == (True, True, True, False)


def test_a_board_that_stops_takes_the_port_away(port: Serial) -> None:
    port.board.stop()
    with pytest.raises(serial.SerialException, match="gone away"):
        port.read(1)


def test_a_full_queue_makes_a_write_time_out() -> None:
    cable = Cable(8)
    assert cable.plug()
    cable.set_host_end(dtr=True)
    assert cable.write(bytes(20), 0.01) == 8
    assert (cable.unsent(), cable.writable(), cable.pending()) == (8, 0, 8)
    assert not cable.wait_sent(0.01)
    cable.drop_output()
    assert cable.wait_sent(0.01)


def test_byte_faults_hit_the_bytes_that_they_name() -> None:
    faults = ByteFaults({1: ByteFault.DROP, 4: ByteFault.DUPLICATE, 5: ByteFault.FLIP}, seed=1)
    assert faults.apply(b"ab") == b"a"
    assert faults.apply(b"cd") == b"cd"
    assert faults.apply(b"e") == b"ee"
    assert (faults.apply(b"f")[0] ^ ord("f")).bit_count() == 1
    assert faults.apply(b"g") == b"g"


def test_a_board_that_comes_back_under_another_name_is_lost_to_who_has_it_open(port: Serial) -> None:
    board = port.board
    registry.re_enumerate("port", None)
    with pytest.raises(serial.SerialException, match="gone away"):
        port.read(1)
    with pytest.raises(serial.SerialException, match="gone away"):
        port.write(b"AT\r")
    port.close()
    registry.register("port", board)
    registry.re_enumerate("port", "port-1")
    with Serial("virtual://port-1", 115_200, timeout=5, rtscts=True) as again:
        again.write(b"AT\r")
        assert again.read_until(b"OK\r\n").endswith(b"OK\r\n")
    registry.unregister("port-1")
