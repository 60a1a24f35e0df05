"""What a process and its files take: measured now and then, and judged whether it grows."""

import gc
import os
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_WARM_UP = 0.2
_MEMORY_SLACK_BYTES = 1536 * 1024
"""The board's state is written now and then, with a copy of its flash, which has 1 MB."""
_MEMORY_PER_UPDATE_BYTES = 2048
_RESIDENT_SLACK_BYTES = 6 * 1024 * 1024
_RESIDENT_PER_UPDATE_BYTES = 8 * 1024
_DISK_SLACK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        updates: How many updates there have been.
        resident_bytes: Physical memory of the process (RSS).
        private_bytes: The part of it that is shared with nobody (USS).
        objects_bytes: What Python's objects take, by tracemalloc; 0 when it is off.
        threads: Threads of the process, as the kernel counts them.
        descriptors: Open file descriptors.
        disk_bytes: Files in the directories of the agent, the cloud and the board.
    """

    updates: int
    resident_bytes: int
    private_bytes: int
    objects_bytes: int
    threads: int
    descriptors: int
    disk_bytes: int

    def __str__(self) -> str:
        mega = 1024 * 1024
        return (
            f"{self.updates:4} updates: RSS {self.resident_bytes / mega:.1f} MB, USS {self.private_bytes / mega:.1f} MB,"
            f" objects {self.objects_bytes / mega:.2f} MB, threads {self.threads}, descriptors {self.descriptors},"
            f" disk {self.disk_bytes / 1024:.0f} KB"
        )


def measure(updates: int, directory: Path) -> Sample:
    """Measure this process, after what is garbage was collected."""
    gc.collect()
    return Sample(
        updates,
        _resident_bytes(),
        _private_bytes(),
        tracemalloc.get_traced_memory()[0] if tracemalloc.is_tracing() else 0,
        sum(1 for _ in Path("/proc/self/task").iterdir()),
        sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,  # the listing's own
        sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()),
    )


def trends(samples: Sequence[Sample]) -> list[str]:
    """What has grown from the first updates to the last, in sentences; the first fifth is warming up.

    Compared are the first and the last third of what is left. Counts must not grow at all; the least late one is compared
    with the greatest early one, so that a connection that is just being made is no trend. Bytes may grow by some slack, and
    by a little with each update; the least values are compared, so that a buffer that is just in use is no trend.
    """
    steady = samples[int(len(samples) * _WARM_UP) :]
    third = max(1, len(steady) // 3)
    early, late = steady[:third], steady[-third:]
    updates = late[-1].updates - early[0].updates
    found = [
        _growth(
            name, max(getattr(each, name) for each in early), min(getattr(each, name) for each in late), 0
        )
        for name in ("threads", "descriptors")
    ]
    for name, slack, each_update in (
        ("disk_bytes", _DISK_SLACK_BYTES, 0),
        ("objects_bytes", _MEMORY_SLACK_BYTES, _MEMORY_PER_UPDATE_BYTES),
        ("private_bytes", _RESIDENT_SLACK_BYTES, _RESIDENT_PER_UPDATE_BYTES),
        ("resident_bytes", _RESIDENT_SLACK_BYTES, _RESIDENT_PER_UPDATE_BYTES),
    ):
        allowed = slack + each_update * updates
        found.append(
            _growth(
                name,
                min(getattr(each, name) for each in early),
                min(getattr(each, name) for each in late),
                allowed,
            )
        )
    return [text for text in found if text]


def _growth(name: str, before: int, after: int, allowed: int) -> str:
    what = name.replace("_", " ")
    return f"{what} grew from {before} to {after}, more than {allowed}" if after - before > allowed else ""


def names_of_threads() -> list[str]:
    """Names of Python's threads, for people who look for one too many."""
    return sorted(thread.name for thread in threading.enumerate())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _private_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
