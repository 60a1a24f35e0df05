"""A slice of the soak; the whole of it is run by hand, see :mod:`hil_tests.faults.soak`."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.virtual import event_log
from bridge.virtual.event_log import EventLog
from bridge.virtual.events import BoardEvent
from hil_tests.faults.soak import Soak
from hil_tests.faults.soak_measure import Sample, trends

UPDATES = 25
STEADY = Sample(0, 80_000_000, 50_000_000, 3_000_000, 9, 27, 2_000_000)


@pytest.mark.timeout(300)
def test_updates_in_a_row_leave_nothing_behind(tmp_path: Path) -> None:
    result = Soak(tmp_path, UPDATES, every=3, say=print).run()
    assert result.faults == [], "\n".join([*map(str, result.samples), *result.hot])
    assert result.endings == {"SUCCEEDED": UPDATES}
    assert result.urcs > UPDATES, "the line was quiet"


class Leaks:
    """Keeps what should have been given back, until the test is over."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptors: list[int] = []
        self._memory: list[bytes] = []
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def leak(self) -> None:
        """A descriptor, a thread, a file and some memory."""
        self._descriptors.append(os.open(os.devnull, os.O_RDONLY))
        self._threads.append(threading.Thread(target=self._over.wait))
        self._threads[-1].start()
        self._memory.append(bytes(1_000_000))
        (self._directory / f"leaked-{len(self._memory)}").write_bytes(bytes(200_000))

    def __enter__(self) -> "Leaks":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for descriptor in self._descriptors:
            os.close(descriptor)


@pytest.mark.timeout(300)
def test_planted_leaks_are_noticed(tmp_path: Path) -> None:
    with Leaks(tmp_path) as leaks:
        result = Soak(tmp_path, 6, every=1, after_update=leaks.leak).run()
    leaking = {fault.partition(" grew")[0] for fault in result.faults}
    assert {"threads", "descriptors", "disk bytes", "objects bytes"} <= leaking, result.faults


def series(name: str, values: list[int]) -> list[Sample]:
    return [replace(STEADY, updates=10 * number, **{name: value}) for number, value in enumerate(values)]


@pytest.mark.parametrize("name", ["threads", "descriptors"])
def test_one_more_than_before_is_a_trend_and_one_for_a_moment_is_none(name: str) -> None:
    assert trends(series(name, [9, 9, 9, 9, 9, 10, 10, 10, 10, 10]))
    assert trends(series(name, [9, 9, 9, 9, 9, 9, 11, 9, 9, 9])) == []
    assert trends(series(name, [5, 5, 9, 9, 9, 9, 9, 9, 9, 9])) == [], "that was warming up"


@pytest.mark.parametrize("name", ["resident_bytes", "private_bytes", "objects_bytes", "disk_bytes"])
def test_bytes_that_grow_with_each_update_are_a_trend_and_noise_is_none(name: str) -> None:
    assert trends(series(name, [30_000_000 + number * 10 * 100_000 for number in range(50)]))
    assert trends(series(name, [30_000_000 + number % 3 * 50_000 for number in range(50)])) == []
    assert trends(series(name, [10_000_000, 20_000_000] + [30_000_000] * 8)) == []


def test_a_board_keeps_its_latest_events_and_counts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "KEPT_EVENTS", 10)
    log = EventLog()
    for number in range(50):
        log.note(BoardEvent(float(number), "boot" if number % 2 else "ready", {}))
    assert len(log.events) == 10
    assert log.wait_for("boot", 25, 0).time_s == 49
    assert log.wait_for("boot", 24, 0).time_s == 47
    assert log.wait_for("boot", 1, 0).time_s == 41, "the oldest that is kept"
    with pytest.raises(TimeoutError):
        log.wait_for("boot", 26, 0)
