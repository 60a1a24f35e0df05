"""Which ports there are, which board is behind each, and which one is chosen."""

import pytest
from serial.tools.list_ports_common import ListPortInfo

from bridge.board import ports
from bridge.errors import BoardNotFoundError


def usb_port(
    device: str, serial_number: str, vid: int = 0x1366, pid: int = 0x1059, location: str | None = "1-2:1.0"
) -> ListPortInfo:
    port = ListPortInfo(device)
    port.serial_number, port.vid, port.pid, port.location = serial_number, vid, pid, location
    port.description = "J-Link"
    return port


DK = "001051216197"
THINGY = "THINGY91_0123456789AB"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> list[ListPortInfo]:
    found: list[ListPortInfo] = []
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    return found


@pytest.mark.parametrize(
    ("vid", "pid", "serial_number", "board"),
    [
        (0x1366, 0x1059, DK, "nrf9151dk"),
        (0x1366, 0x1059, "1051216197", "nrf9151dk"),
        (0x1366, 0x1051, "000960012345", "nrf9160dk"),
        (0x1366, 0x1051, "001050912345", "nrf9161dk"),
        (0x1366, 0x1051, "000683012345", None),
        (0x1366, 0x1051, None, None),
        (0x1915, 0x9100, THINGY, "thingy91"),
        (0x1915, 0x910A, "THINGY91X_0123456789A", "thingy91x"),
        (0x1915, 0x520F, "x", None),
        (0x0403, 0x6001, DK, None),
        (None, None, None, None),
    ],
)
def test_a_board_is_guessed_by_its_usb_ids(
    vid: int | None, pid: int | None, serial_number: str | None, board: str | None
) -> None:
    assert ports.guess_board(vid, pid, serial_number) == board


def test_ports_are_listed_in_the_order_of_their_numbers(bench: list[ListPortInfo]) -> None:
    bench += [
        usb_port("/dev/ttyACM10", DK, location="1-2:1.4"),
        usb_port("/dev/ttyACM9", DK),
        ListPortInfo("/dev/ttyS0"),
    ]
    listed = ports.list_ports()
    assert [(port.device, port.interface, port.board) for port in listed] == [
        ("/dev/ttyACM9", 0, "nrf9151dk"),
        ("/dev/ttyACM10", 4, "nrf9151dk"),
        ("/dev/ttyS0", None, None),
    ]
    assert listed[0].to_dict()["serial_number"] == DK


def test_given_a_serial_number_the_lowest_interface_is_found(bench: list[ListPortInfo]) -> None:
    bench += [usb_port("/dev/ttyACM0", DK, location="1-2:1.2"), usb_port("/dev/ttyACM1", DK)]
    assert ports.find_port(DK).device == "/dev/ttyACM1"


def test_given_an_interface_exactly_that_one_is_found(bench: list[ListPortInfo]) -> None:
    bench += [usb_port("/dev/ttyACM0", DK), usb_port("/dev/ttyACM1", DK, location="1-2:1.2")]
    assert ports.find_port(DK, 2).device == "/dev/ttyACM1"


def test_given_a_probe_number_without_its_zeros_the_port_is_found(bench: list[ListPortInfo]) -> None:
    bench.append(usb_port("/dev/ttyACM0", DK))
    assert ports.find_port("1051216197").device == "/dev/ttyACM0"


def test_given_an_unknown_serial_number_nothing_is_found(bench: list[ListPortInfo]) -> None:
    bench += [usb_port("/dev/ttyACM0", DK), ListPortInfo("/dev/ttyS0")]
    with pytest.raises(BoardNotFoundError) as caught:
        ports.find_port("42")
    assert caught.value.reason == "port-missing"


def test_a_given_port_is_taken_as_it_is() -> None:
    assert ports.choose_port("rfc2217://host:1", DK) == "rfc2217://host:1"


def test_a_given_serial_number_is_looked_for(bench: list[ListPortInfo]) -> None:
    bench += [usb_port("/dev/ttyACM0", DK), usb_port("/dev/ttyACM1", THINGY, 0x1915, 0x9100)]
    assert ports.choose_port(None, THINGY) == "/dev/ttyACM1"


def test_the_only_board_is_chosen_with_the_port_that_speaks_at(bench: list[ListPortInfo]) -> None:
    bench += [
        usb_port("/dev/ttyACM0", DK, location="1-2:1.2"),
        usb_port("/dev/ttyACM1", DK, location="1-2:1.0"),
        usb_port("/dev/ttyUSB0", "x", 0x0403, 0x6001),
    ]
    assert ports.choose_port(None) == "/dev/ttyACM1"


def test_without_a_board_nothing_is_chosen(bench: list[ListPortInfo]) -> None:
    with pytest.raises(BoardNotFoundError) as caught:
        ports.choose_port(None)
    assert caught.value.reason == "no-board"


def test_of_two_boards_none_is_chosen_and_both_are_named(bench: list[ListPortInfo]) -> None:
    bench += [
        usb_port("/dev/ttyACM0", DK, location=None),
        usb_port("/dev/ttyACM1", THINGY, 0x1915, 0x9100, location=None),
    ]
    with pytest.raises(BoardNotFoundError, match=f"nrf9151dk {DK}, thingy91 {THINGY}") as caught:
        ports.choose_port(None)
    assert caught.value.reason == "several-boards"


def test_the_ports_of_this_host_can_be_listed() -> None:
    assert isinstance(ports.list_ports(), list)
