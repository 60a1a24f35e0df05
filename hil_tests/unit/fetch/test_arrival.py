"""What readers and the downloading thread share."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import CloudError
from bridge.fetch import DownloadOptions, SourceRestartedError
from bridge.fetch.arrival import Arrival
from bridge.fetch.cache import ImageCache
from bridge.fetch.cutter import Cutter
from bridge.fetch.failure import RetryableError
from bridge.fetch.part_file import PartFacts
from bridge.fetch.patience import Patience
from hil_tests.unit.fetch.conftest import FakeClock


@pytest.fixture
def arrival(tmp_path: Path) -> Iterator[Arrival]:
    """An arrival with 100 confirmed bytes of 200."""
    arrival = Arrival()
    arrival.adopt(ImageCache(tmp_path).open_part(None), 0)
    arrival.confirm(PartFacts(None, 200))
    arrival.write(0, bytes(100))
    yield arrival
    arrival.close()


def test_the_same_bytes_again_change_nothing(arrival: Arrival) -> None:
    arrival.read(0, 100)
    assert arrival.write(0, bytes(50)) == 0
    assert arrival.write(50, bytes(70)) == 20
    assert (arrival.received_bytes, arrival.generation) == (120, 0)


def test_other_bytes_void_what_was_given_out_from_there_on(arrival: Arrival) -> None:
    arrival.read(0, 80)
    assert arrival.write(0, bytes(60) + b"new") == 3
    assert arrival.received_bytes == 63  # the old end is gone
    assert arrival.generation == 1
    with pytest.raises(SourceRestartedError):
        arrival.read(0, 1)
    assert arrival.read(0, 63) == bytes(60) + b"new"


def test_other_bytes_that_nobody_has_seen_are_no_news(arrival: Arrival) -> None:
    assert arrival.read(0, 60) == bytes(60)
    arrival.write(0, bytes(60) + b"new")
    assert arrival.generation == 0
    assert arrival.read(60, 3) == b"new"


def test_another_size_than_was_told_is_news(arrival: Arrival) -> None:
    assert arrival.wait_size() == 200
    arrival.confirm(PartFacts(None, 300))
    with pytest.raises(SourceRestartedError):
        arrival.wait_size()
    assert arrival.wait_size() == 300


def test_every_thread_that_read_is_told(arrival: Arrival) -> None:
    told: list[str] = []
    read, restarted = threading.Barrier(3), threading.Event()

    def reader(name: str) -> None:
        arrival.read(0, 10)
        read.wait(10)
        restarted.wait(10)
        try:
            arrival.read(10, 10)
        except SourceRestartedError:
            told.append(name)

    threads = [threading.Thread(target=reader, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    read.wait(10)
    arrival.restart()
    arrival.confirm(PartFacts(None, 20))
    arrival.write(0, bytes(20))
    restarted.set()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["a", "b"]


def test_a_closed_arrival_wakes_and_refuses_everybody(arrival: Arrival, tmp_path: Path) -> None:
    arrival.close()
    with pytest.raises(CloudError) as caught:
        arrival.read(0, 1)
    assert caught.value.reason == "closed"
    assert arrival.write(100, b"late") == 0
    arrival.adopt(ImageCache(tmp_path).open_part(None), 0)
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.binary(min_size=1, max_size=20)), max_size=20))
def test_what_is_read_is_what_was_written_last(
    tmp_path_factory: pytest.TempPathFactory, writes: list[tuple[int, bytes]]
) -> None:
    arrival, expected = Arrival(), b""
    arrival.adopt(ImageCache(tmp_path_factory.mktemp("cache")).open_part(None), 0)
    arrival.confirm(PartFacts())
    for at, data in writes:
        offset = min(at, len(expected))
        old = expected[offset : offset + len(data)]
        expected = (
            expected[:offset] + data + (expected[offset + len(data) :] if data.startswith(old) else b"")
        )
        arrival.write(offset, data)
    arrival.complete()
    assert arrival.read(0, 1000) == expected
    arrival.close()


def test_a_socket_that_comes_after_the_cut_is_cut_at_once() -> None:
    cutter = Cutter()
    ours, peer = socket.socketpair()
    with ours, peer:
        cutter.cut()
        cutter.hold(ours)
        assert peer.recv(1) == b""


def test_a_cut_of_a_closed_socket_is_no_error() -> None:
    cutter = Cutter()
    ours, peer = socket.socketpair()
    cutter.hold(ours)
    ours.close()
    peer.close()
    cutter.cut()
    assert ours.fileno() < 0


def test_the_deadline_holds_within_a_body(clock: FakeClock) -> None:
    patience = Patience(DownloadOptions(total_timeout_s=10.0), clock, threading.Event())
    patience.begin_body()
    patience.progress(5_000, 5_000)
    clock.time_s += 10.5
    with pytest.raises(CloudError) as caught:
        patience.progress(5_000, 5_000)
    assert caught.value.reason == "timeout"
    with pytest.raises(CloudError):
        patience.timeouts_s()


def test_no_timeout_outlasts_the_deadline_or_uses_up_the_patience(clock: FakeClock) -> None:
    options = DownloadOptions(no_progress_timeout_s=20.0, total_timeout_s=12.0)
    patience = Patience(options, clock, threading.Event())
    assert patience.timeouts_s() == (10.0, 10.0)
    clock.time_s += 9.0
    assert patience.timeouts_s() == (3.0, 3.0)


def test_without_progress_for_long_it_is_given_up_whatever_the_budget(clock: FakeClock) -> None:
    patience = Patience(DownloadOptions(no_progress_timeout_s=5.0, retries=1000), clock, threading.Event())
    with pytest.raises(CloudError) as caught:
        for _ in range(100):
            patience.pause_or_give_up(RetryableError("gone", reason="unreachable"), 7)
    assert (caught.value.reason, caught.value.offset) == ("unreachable", 7)
    assert sum(clock.waits) < 5.0


def test_pauses_that_the_server_asked_for_are_no_lack_of_progress(clock: FakeClock) -> None:
    patience = Patience(DownloadOptions(no_progress_timeout_s=5.0), clock, threading.Event())
    for _ in range(5):
        patience.pause_or_give_up(RetryableError("busy", reason="http-503", pause_s=60.0), 0)
    assert clock.waits == [60.0] * 5
