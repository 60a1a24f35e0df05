"""Where the threads of a simulated world stand, for one that does not get on."""

import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Final

from bridge.lab.campaign.task import Process

_HERE: Final = str(Path(__file__).parent)
_SHOWN_CALLS: Final = 14


def whereabouts(processes: Iterable[Process]) -> list[str]:
    """Where each thread waits, innermost call first; calls of the world itself and of others' code are left out."""
    frames = sys._current_frames()
    return [
        f"{process.name}/{task.name}: {' < '.join(_calls(frames[task.thread_id]))}"
        for process in processes
        for task in process.tasks
        if task.thread_id in frames
    ]


def _calls(frame: FrameType) -> list[str]:
    calls = traceback.extract_stack(frame)
    ours = [each for each in reversed(calls) if _HERE not in each.filename and "bridge" in each.filename]
    return [f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in ours[:_SHOWN_CALLS]]
