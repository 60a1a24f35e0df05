"""A server, downloads from it, and a clock that costs no time."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.clock import Event
from bridge.fetch import THIS_HOST, Download, DownloadOptions
from hil_tests.unit.fetch.origin import Origin

CONTENT = random.Random(91).randbytes(100_000)
OPTIONS = DownloadOptions(fragment_bytes=32_768, connect_timeout_s=5.0, read_timeout_s=5.0)
Fetch = Callable[..., Download]


class FakeClock:
    """Waits cost no time and are written down."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None

    def now_s(self) -> float:
        return self.time_s

    def wait(self, interrupted: Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self.time_s += seconds
        self.on_wait()
        return interrupted.is_set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(CONTENT) as server:
        yield server


@pytest.fixture
def fetch(
    origin: Origin, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fetch]:
    """Start a download; keywords as for Download."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    running: list[Download] = []

    def start(url: str | None = None, **wanted: Any) -> Download:
        settings: dict[str, Any] = {
            "cache_dir": tmp_path / "cache",
            "rules": THIS_HOST,
            "options": OPTIONS,
            "clock": clock,
        } | wanted
        download = Download(url or origin.url(), **settings)
        running.append(download)
        download.start()
        return download

    yield start
    for download in running:
        download.close()


def everything(download: Download) -> bytes:
    """The whole image, when it is complete."""
    download.wait_complete()
    return download.read(0, 10_000_000)
