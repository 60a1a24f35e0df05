"""A cloud for all scenarios of a module, and a board for each of them."""

import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.cli.app import run
from bridge.image import inspect_file
from bridge.lab.jobs_model import Execution
from bridge.lab.local_cloud import Credentials, LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.pytest_plugin.cloud import CloudUnderTest, LabCloud
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer
from hil_tests.secret_watch import MARK

OLD_VERSION = "1.0.0"
_NUMBERS = itertools.count(1)


@dataclass
class Bench:
    """Everything between a job document and a status.

    Attributes:
        cloud: The local cloud.
        samples: Builds images.
        board: The virtual board behind ``port``.
        port: What the bridge opens.
    """

    cloud: LocalCloud
    thing: Credentials
    samples: SampleImages
    board: VirtualBoard
    port: str
    cache_dir: Path
    monkeypatch: pytest.MonkeyPatch

    def document(self, image: Path, **members: object) -> dict[str, object]:
        """The job document for an image, published; members replace or add."""
        kind = "modem_fw_update" if image.name.startswith("mfw_") else "app_fw_update"
        size_bytes = image.stat().st_size
        return {
            "operation": kind,
            "size": size_bytes,
            "location": {"url": f"{self.cloud.publish_image(image)}?X-Amz-Security-Token={MARK}"},
            **members,
        }

    def run_job(self, document: object, *options: str, port: str | None = None) -> tuple[int, Execution]:
        """Create a job, let the command line work it, and read it back from the service."""
        job_id = f"job-{next(_NUMBERS)}"
        self.cloud.jobs.create_job(job_id, self.thing.thing_name, document)
        code = self.work_next_job(*options, port=port)
        return code, self.cloud.jobs.describe_execution(job_id, self.thing.thing_name)

    def work_next_job(self, *options: str, port: str | None = None) -> int:
        """``nrf91-bridge run --once``; returns its exit code."""
        return self.command(*self.run_arguments(*options, port=port))

    def run_arguments(self, *options: str, port: str | None = None) -> tuple[str, ...]:
        """Arguments of ``nrf91-bridge`` for working one job, also in a process of its own."""
        host, broker_port = self.cloud.mqtt_endpoint
        return (
            *(
                "run",
                "--once",
                "--json",
                "--thing",
                self.thing.thing_name,
                "--endpoint",
                f"{host}:{broker_port}",
            ),
            *(
                "--cert",
                str(self.thing.cert_file),
                "--key",
                str(self.thing.key_file),
                "--ca",
                str(self.thing.ca_file),
            ),
            *("--download-ca", str(self.cloud.ca_file), "--cache-dir", str(self.cache_dir)),
            *("--download-timeout", "10", "--allow-network", "loopback"),
            *("--port", port or self.port, *options),
        )

    def command(self, *arguments: str) -> int:
        """Run the command line in this process; returns its exit code."""
        self.monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        return run()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    """Sample images, built once."""
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    """A running local cloud."""
    with LocalCloud() as running:
        yield running


@pytest.fixture
def bench(
    cloud: LocalCloud,
    samples: SampleImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Bench]:
    """A fresh board with version 1.0.0, and a thing of its own."""
    thing = cloud.add_thing(f"thing-{next(_NUMBERS)}")
    board = VirtualBoard(
        factory_image=samples.application(OLD_VERSION).read_bytes(), keys=[samples.public_key_pem]
    )
    with board, PtyServer(board) as pty:
        yield Bench(cloud, thing, samples, board, pty.path, tmp_path / "cache", monkeypatch)
    cloud.images.faults.clear()


def story(execution: Execution) -> tuple[str, str | None, Mapping[str, str]]:
    """Status, reason, and all details of an execution."""
    details = execution.status_details
    return execution.status, details.get("reason"), details


def image_facts(image: Path) -> dict[str, object]:
    """Size and digest members for a document."""
    inspected = inspect_file(image)
    return {"size": inspected.size_bytes, "sha256": inspected.sha256, "fwversion": inspected.version}


@pytest.fixture
def lab(nrf91_cloud: CloudUnderTest) -> Iterator[LabCloud]:
    """The local cloud, from the inside: for scenarios in which it goes wrong."""
    assert isinstance(nrf91_cloud, LabCloud), "marked nrf91_lab_cloud?"
    yield nrf91_cloud
    nrf91_cloud.local.images.faults.clear()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, object], None]:
    """Writes a measurement into the junit file."""
    return lambda name, value: request.node.user_properties.append((name, value))
