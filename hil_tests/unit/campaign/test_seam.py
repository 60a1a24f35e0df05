"""Nothing between the job and the board waits by a clock of its own: a campaign could not simulate it."""

import re
from pathlib import Path

import pytest

import bridge

_ROOT = Path(bridge.__file__).parent
_ROOMS = ("board", "dfu", "fota", "fetch", "cloud")
_WAITING = re.compile(
    r"\btime\.(monotonic|monotonic_ns|sleep)\b|\bthreading\.(Condition|Event|Lock|Thread|Timer)\("
)
_THE_OUTSIDE_WORLD = {
    "board/tap.py",  # one list for the whole process; nobody waits while it is locked
    "board/protocol_replay.py",  # a recorded board in place of a port
    "board/transcript.py",  # a recording: nobody waits while it is locked
    "cloud/deploy_trial.py",  # the operator's side
    "cloud/deploy_watch.py",
    "cloud/connection.py",  # paho-mqtt's threads; campaigns have a channel instead
    "fetch/cutter.py",  # sockets; campaigns have a web instead
}


@pytest.mark.parametrize("room", _ROOMS)
def test_only_the_edges_ask_the_operating_system_for_time_locks_and_threads(room: str) -> None:
    found = [
        f"{path.relative_to(_ROOT)}: {line.strip()}"
        for path in sorted((_ROOT / room).rglob("*.py"))
        if str(path.relative_to(_ROOT)) not in _THE_OUTSIDE_WORLD and "probe" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if _WAITING.search(line)
    ]
    assert not found, f"use bridge.clock: {found}"
