"""Opening, losing and finding ports again; every failure as one of our errors."""

import contextlib
import errno
import os
import queue
import socket
import subprocess
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from bridge.board import link as link_module
from bridge.board.link import Link
from bridge.board.port_errors import find_holder, lost_error, open_error
from bridge.board.ports import PortInfo, ports_from
from bridge.errors import BenchError, BoardNotFoundError, BridgeError, LinkError, UsageError

HOLD_THE_PORT = """
import fcntl, os, sys
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


class Sink:
    """Takes what a link delivers."""

    def __init__(self) -> None:
        self.data: queue.Queue[bytes] = queue.Queue()
        self.lost: queue.Queue[LinkError] = queue.Queue()

    def on_data(self, data: bytes) -> None:
        self.data.put(data)

    def on_lost(self, error: LinkError) -> None:
        self.lost.put(error)

    def take(self, size: int) -> bytes:
        received = b""
        while len(received) < size:
            received += self.data.get(timeout=10)
        return received


class Pty:
    """A pty whose other end is in the test's hands."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)

    def hang_up(self) -> None:
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.master = self.slave = -1


@pytest.fixture
def pty() -> Iterator[Pty]:
    pair = Pty()
    yield pair
    pair.hang_up()


@contextlib.contextmanager
def opened(url: str, **options: bool) -> Iterator[tuple[Link, Sink]]:
    link, sink = Link(url, **options), Sink()
    link.attach(sink)
    link.open()
    try:
        yield link, sink
    finally:
        link.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("link-")]


# --- opening -----------------------------------------------------------------------------------------------


def test_given_no_such_device_opening_says_the_port_is_missing() -> None:
    with pytest.raises(BoardNotFoundError, match="there is no port /dev/ttyNoSuch") as caught:
        Link("/dev/ttyNoSuch").open()
    assert caught.value.reason == "port-missing"
    assert caught.value.exit_code == 3


def test_given_a_file_that_is_no_terminal_opening_fails_as_unusable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(BoardNotFoundError) as caught:
        Link(str(file)).open()
    assert caught.value.reason == "port-unusable"


@pytest.mark.parametrize("url", ["nosuch://thing", "socket://", "loop://?bad=1"])
def test_given_a_url_without_sense_opening_is_refused(url: str) -> None:
    with pytest.raises((UsageError, BoardNotFoundError)):
        Link(url).open()


def test_given_nobody_listening_opening_a_socket_names_the_cause_but_no_query() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"socket://127.0.0.1:{unused.getsockname()[1]}?token=secret"
        with pytest.raises(BoardNotFoundError) as caught:
            Link(url).open()
    assert caught.value.reason == "port-unusable"
    assert "secret" not in caught.value.message


def test_given_a_port_locked_by_another_process_opening_names_it(pty: Pty) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_THE_PORT, pty.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BenchError, match=rf"process {holder.pid}\)") as caught:
            Link(pty.path).open()
        holder.communicate()
    assert caught.value.reason == "port-held"
    assert caught.value.exit_code == 9


def test_given_a_port_that_this_process_has_open_opening_it_again_is_refused(pty: Pty) -> None:
    with opened(pty.path), pytest.raises(BenchError, match="held by this process"):
        Link(pty.path).open()


def test_given_a_device_that_forbids_a_second_opener_it_counts_as_held() -> None:
    error = open_error("/dev/ttyX", serial.SerialException(errno.EBUSY, "busy"))
    assert (type(error), error.reason) == (BenchError, "port-held")


def test_given_no_permission_the_hint_tells_about_the_group() -> None:
    error = open_error("/dev/ttyX", serial.SerialException(errno.EACCES, "no"))
    assert (type(error), error.reason) == (BenchError, "port-denied")
    assert "group" in str(error.hint)


def test_an_error_that_is_ours_already_is_passed_on() -> None:
    ours = UsageError("bad option in the URL")
    assert open_error("virtual://x", ours) is ours


def test_holders_of_urls_are_not_looked_for() -> None:
    assert find_holder("socket://127.0.0.1:1") is None
    assert find_holder("/dev/ttyNoSuch") is None


def test_opening_twice_and_closing_twice_is_harmless(pty: Pty) -> None:
    with opened(pty.path) as (link, _):
        link.open()
        assert link.is_open
        link.close()
        assert not link.is_open


# --- bytes -------------------------------------------------------------------------------------------------


def test_bytes_pass_both_ways(pty: Pty) -> None:
    with opened(pty.path) as (link, sink):
        link.write(b"AT\r", 5)
        assert os.read(pty.master, 100) == b"AT\r"
        os.write(pty.master, b"\r\nOK\r\n")
        assert sink.take(6) == b"\r\nOK\r\n"


@pytest.mark.parametrize("flow_control", [True, False])
def test_flow_control_and_rate_are_what_was_asked_for(pty: Pty, flow_control: bool) -> None:
    with opened(pty.path, flow_control=flow_control) as (link, _):
        settings = termios.tcgetattr(pty.slave)
        assert bool(settings[2] & termios.CRTSCTS) is flow_control
        assert settings[5] == termios.B115200
        link.set_baud(1_000_000)
        assert termios.tcgetattr(pty.slave)[5] == termios.B1000000
        assert link.baud == 1_000_000


def test_a_rate_that_makes_no_sense_is_refused(pty: Pty) -> None:
    with opened(pty.path) as (link, _), pytest.raises(UsageError):
        link.set_baud(-1)


def test_a_large_write_arrives_whole_while_the_other_end_reads_slowly(pty: Pty) -> None:
    data = bytes(range(256)) * 400
    received = bytearray()

    def read_all() -> None:
        while len(received) < len(data):
            received.extend(os.read(pty.master, 777))

    with opened(pty.path) as (link, _):
        reader = threading.Thread(target=read_all)
        reader.start()
        link.write(data, 10)
        reader.join()
    assert bytes(received) == data


def test_given_a_board_that_takes_nothing_the_write_ends_and_says_how_much_left(pty: Pty) -> None:
    with opened(pty.path) as (link, _), pytest.raises(LinkError) as caught:
        link.write(b"x" * 200_000, 0.05)
    assert caught.value.reason == "write-timeout"
    assert caught.value.offset is not None
    assert 0 < caught.value.offset < 200_000


def test_hooks_can_change_and_drop_bytes_in_each_direction(pty: Pty) -> None:
    with opened(pty.path) as (link, sink):
        link.outgoing_hook = lambda data: data.replace(b"b", b"")
        link.incoming_hook = lambda data: data.upper()
        link.write(b"abc", 5)
        assert os.read(pty.master, 100) == b"ac"
        os.write(pty.master, b"xyz")
        assert sink.take(3) == b"XYZ"


def test_a_port_without_descriptor_works_too() -> None:
    with opened("loop://") as (link, sink):
        link.write(b"x" * 1000, 5)
        assert sink.take(1000) == b"x" * 1000


def test_given_no_time_at_all_a_port_without_descriptor_takes_nothing() -> None:
    with opened("loop://") as (link, _), pytest.raises(LinkError, match="took only 0 of 3"):
        link.write(b"abc", 0)


def test_a_write_to_a_closed_link_fails(pty: Pty) -> None:
    with pytest.raises(LinkError) as caught:
        Link(pty.path).write(b"x", 1)
    assert caught.value.reason == "link-lost"


def test_the_rate_of_a_closed_link_counts_when_it_is_opened(pty: Pty) -> None:
    link = Link(pty.path)
    link.set_baud(460_800)
    link.open()
    assert termios.tcgetattr(pty.slave)[5] == termios.B460800
    link.close()


# --- losing the port ---------------------------------------------------------------------------------------


def test_when_the_port_goes_away_the_receiver_is_told_and_writes_fail(pty: Pty) -> None:
    with opened(pty.path) as (link, sink):
        pty.hang_up()
        error = sink.lost.get(timeout=10)
        assert (error.reason, error.exit_code) == ("link-lost", 4)
        assert not link.is_open
        with pytest.raises(LinkError) as caught:
            link.write(b"AT\r", 5)
        assert caught.value.reason == "link-lost"


def test_when_a_server_closes_its_socket_the_receiver_is_told() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        opened(f"socket://127.0.0.1:{server.getsockname()[1]}") as (link, sink),
    ):
        peer, _ = server.accept()
        peer.sendall(b"Ready")
        assert sink.take(5) == b"Ready"
        link.write(b"AT\r", 5)
        assert peer.recv(10) == b"AT\r"
        peer.close()
        assert sink.lost.get(timeout=10).reason == "link-lost"


def test_a_lost_error_tells_the_systems_reason() -> None:
    assert "Input/output error" in lost_error("/dev/ttyX", OSError(errno.EIO, "x")).message
    assert lost_error("/dev/ttyX", serial.SerialException("gone")).message.endswith("was lost")


@pytest.mark.parametrize(
    "error", [serial.SerialException("x"), OSError(errno.EIO, "x"), termios.error(5, "x")]
)
def test_failures_while_changing_the_rate_count_as_a_lost_link(
    pty: Pty, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with opened(pty.path) as (link, sink):
        monkeypatch.setattr(serial.Serial, "_reconfigure_port", fail)
        with pytest.raises(LinkError):
            link.set_baud(230_400)
        assert sink.lost.get(timeout=10).reason == "link-lost"


# --- finding it again --------------------------------------------------------------------------------------


def test_given_the_same_name_a_port_that_came_back_is_opened_again(tmp_path: Path, pty: Pty) -> None:
    name = tmp_path / "port"
    name.symlink_to(pty.path)
    with opened(str(name)) as (link, sink):
        pty.hang_up()
        sink.lost.get(timeout=10)
        name.unlink()
        successor = Pty()
        timer = threading.Timer(0.05, lambda: name.symlink_to(successor.path))
        timer.start()
        link.reopen(10)
        timer.join()
        assert link.is_open
        link.write(b"AT\r", 5)
        assert os.read(successor.master, 10) == b"AT\r"
        successor.hang_up()


def test_given_another_name_the_port_is_found_by_its_usb_serial_number(
    monkeypatch: pytest.MonkeyPatch, pty: Pty
) -> None:
    successor = Pty()
    known = [PortInfo(pty.path, serial_number="001051216197", interface=0)]
    wanted: list[tuple[str, int | None]] = []

    def find(serial_number: str, interface: int | None) -> PortInfo:
        wanted.append((serial_number, interface))
        if len(wanted) == 1:
            raise BoardNotFoundError("not yet")
        return PortInfo(successor.path, serial_number=serial_number, interface=interface)

    monkeypatch.setattr(link_module, "find_port", find)
    with ports_from(lambda: known), opened(pty.path) as (link, _):
        link.reopen(10)
        assert link.url == successor.path
        assert wanted == [("001051216197", 0)] * 2
    successor.hang_up()


def test_given_a_port_that_stays_away_reopening_ends_in_time(tmp_path: Path, pty: Pty) -> None:
    name = tmp_path / "port"  # numbers of ptys are given out again, names in here are not
    name.symlink_to(pty.path)
    with opened(str(name)) as (link, _):
        name.unlink()
        with pytest.raises(LinkError) as caught:
            link.reopen(0.05)
        assert caught.value.reason == "not-back"


def test_a_bridge_error_of_a_port_handler_is_the_one_that_is_told() -> None:
    wrapped = serial.SerialException("could not open")
    wrapped.__cause__ = UsageError("unknown option foo in the URL", reason="bad-url")
    error: BridgeError = open_error("virtual://x", wrapped)
    assert error.reason == "bad-url"
