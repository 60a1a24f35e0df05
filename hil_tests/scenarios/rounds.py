"""What several scenarios need: patience that fits a test, versions, images of a wanted size."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from bridge.fetch import DownloadOptions
from bridge.fota import Progress, Stage, StageStarted, UpdateEvent
from bridge.image import inspect_file
from bridge.lab.sample_images import SampleImages
from bridge.pytest_plugin.updates import EventHook

FAST: Final = DownloadOptions(first_backoff_s=0.01, max_backoff_s=0.02, retries=3, read_timeout_s=10.0)
"""A download that is not patient: its server is on this host."""


def once(when: Callable[[UpdateEvent], bool], do: Callable[[], object]) -> EventHook:
    """Does something with the first event that fits."""
    done: list[UpdateEvent] = []

    def hook(event: UpdateEvent) -> None:
        if not done and when(event):
            done.append(event)
            do()

    return hook


def bytes_written(event: UpdateEvent) -> bool:
    """The transfer is on its way."""
    return isinstance(event, Progress) and 0 < event.done_bytes < event.total_bytes


def started(stage: Stage) -> Callable[[UpdateEvent], bool]:
    """A stage has begun."""
    return lambda event: isinstance(event, StageStarted) and event.stage is stage


def version_of(image: Path) -> str:
    """Version that an image carries."""
    return inspect_file(image).version or ""


def image_of_size(samples: SampleImages, size_bytes: int, version: str = "2.0.0") -> Path:
    """A signed image whose file has exactly that size; signatures of one key differ in length, so it is tried until it fits."""
    draft = size_bytes - 150
    for _ in range(40):
        path = samples.application(version, size_bytes=draft)
        missing = size_bytes - path.stat().st_size
        if missing == 0:
            return path
        draft += missing
    raise AssertionError(f"no image of {size_bytes} bytes came out")
