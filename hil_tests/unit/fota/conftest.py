"""What tests of jobs with a journal share: one cloud and one set of images a module, a board each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.fota import job_queue
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from hil_tests.unit.fota.job_bench import JobBench, job_bench


class Clock:
    """Epoch seconds of the Jobs service, which a test may advance."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(scope="module")
def job_clock() -> Clock:
    """The Jobs service's clock."""
    return Clock()


@pytest.fixture(scope="module")
def job_cloud(job_clock: Clock) -> Iterator[LocalCloud]:
    """A running local cloud."""
    with LocalCloud(clock=job_clock) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def job_samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    """Sample images, built once."""
    return SampleImages(tmp_path_factory.mktemp("job-samples"))


@pytest.fixture
def jobs(
    job_cloud: LocalCloud, job_samples: SampleImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[JobBench]:
    """A fresh board and a thing of its own, which nobody else works unless a test says so."""
    monkeypatch.setattr(job_queue, "WATCH_S", 0.01)
    with job_bench(job_cloud, job_samples, tmp_path) as bench:
        yield bench
