"""Where jobs come from: the local cloud with its own broker or mosquitto, or AWS IoT; tests see one interface."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from bridge.cloud import Endpoint
from bridge.fota.bench_file import BenchBoard
from bridge.lab.local_cloud import BrokerKind, LocalCloud

CloudKind = Literal["local", "mosquitto", "aws"]
_THINGS: Final = itertools.count(1)


@dataclass(frozen=True)
class Thing:
    """Whose jobs a board works.

    Attributes:
        name: Name of the thing.
        endpoint: Broker and certificates.
        download_ca_file: CA of the image server; None for the system's.
    """

    name: str
    endpoint: Endpoint
    download_ca_file: Path | None = None


@dataclass(frozen=True)
class CloudView:
    """What the cloud says about a job on a thing.

    Attributes:
        status: Such as ``SUCCEEDED``.
        details: ``statusDetails``.
        version: Version number of the execution.
    """

    status: str
    details: Mapping[str, str]
    version: int = 0


class CloudUnderTest(Protocol):
    """A cloud as tests need it; every method raises ``CloudError`` when it cannot."""

    @property
    def kind(self) -> CloudKind:
        """Which cloud."""
        ...

    @property
    def on_this_host(self) -> bool:
        """Images are fetched from loopback addresses."""
        ...

    def thing_of(self, board: BenchBoard) -> Thing:
        """The thing whose jobs a board works."""
        ...

    def publish(self, image: Path, name: str | None = None) -> str:
        """Put an image where the bridge can fetch it; gives the URL for a job document."""
        ...

    def create_job(self, job_id: str, thing: str, document: object, **options: Any) -> None:
        """Create a job for one thing."""
        ...

    def view(self, job_id: str, thing: str) -> CloudView:
        """What the cloud says about a job."""
        ...

    def cancel(self, job_id: str, *, force: bool = False) -> None:
        """Cancel a job."""
        ...

    def remove(self, job_id: str) -> None:
        """Delete a job, whatever its state."""
        ...

    def open_jobs(self, thing: str) -> list[str]:
        """Jobs of a thing that have not ended, oldest first."""
        ...

    def downloads(self, image: str) -> int | None:
        """How often a file was fetched from its start; None where nobody counts."""
        ...


class LabCloud:
    """The local cloud under test.

    Args:
        local: The running cloud.
        kind: Which broker it has.

    Attributes:
        local: The cloud from the inside: faults, requests, certificates.
    """

    def __init__(self, local: LocalCloud, kind: CloudKind = "local") -> None:
        self.local = local
        self._kind = kind

    @property
    def kind(self) -> CloudKind:
        """Which cloud."""
        return self._kind

    @property
    def on_this_host(self) -> bool:
        """Always."""
        return True

    def add_thing(self, name: str) -> Thing:
        """Register a thing, with a certificate of its own."""
        credentials = self.local.add_thing(name)
        host, port = self.local.mqtt_endpoint
        endpoint = Endpoint(
            host, port, credentials.ca_file, credentials.cert_file, credentials.key_file, client_id=name
        )
        return Thing(name, endpoint, self.local.ca_file)

    def thing_of(self, board: BenchBoard) -> Thing:
        """The board's own thing, if the bench names one; else a new one each time."""
        return self.add_thing(board.thing or f"nrf91-test-{next(_THINGS)}")

    def publish(self, image: Path, name: str | None = None) -> str:
        """Serve a copy."""
        return self.local.images.publish(image, name)

    def create_job(self, job_id: str, thing: str, document: object, **options: Any) -> None:
        """Create a job."""
        self.local.jobs.create_job(job_id, thing, document, **options)

    def view(self, job_id: str, thing: str) -> CloudView:
        """Read it back from the store."""
        execution = self.local.jobs.describe_execution(job_id, thing)
        return CloudView(str(execution.status), dict(execution.status_details), execution.version_number)

    def cancel(self, job_id: str, *, force: bool = False) -> None:
        """Cancel it."""
        self.local.jobs.cancel_job(job_id, force=force)

    def remove(self, job_id: str) -> None:
        """Delete it."""
        self.local.jobs.delete_job(job_id, force=True)

    def open_jobs(self, thing: str) -> list[str]:
        """Those in the queue, and the one in progress."""
        executions = self.local.jobs.list_thing_executions(thing)
        return [each.job_id for each in executions if not each.status.terminal]

    def downloads(self, image: str) -> int | None:
        """Requests for the whole file, or for its first bytes."""
        return sum(
            request.name == image and (request.range is None or request.range.startswith("bytes=0-"))
            for request in list(self.local.images.requests)
        )


def broker_kind(kind: str) -> BrokerKind:
    """Which broker the local cloud needs for a cloud of that name."""
    return "mosquitto" if kind == "mosquitto" else "builtin"
