"""Many boards against one: how much longer fifty jobs take than one, and what they cost this machine.

As on a bench, three things run beside each other: the boards (processes of their own), the cloud (this process), and
``nrf91-bridge run --bench``, whose processor time and memory are what is asked about.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bridge.image import inspect_file
from bridge.lab.benchmark.fleet_boards import NEW_VERSION, BoardsSetup
from bridge.lab.benchmark.fleet_processes import BoardProcesses
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages

_TIMEOUT_S: Final = 900.0


@dataclass(frozen=True)
class FleetSetup:
    """What is measured.

    Attributes:
        boards: How many boards are compared to one.
        baud: Line speed of all of them; transfers stay at it.
        size_bytes: Size of the image.
    """

    boards: int = 50
    baud: int = 115_200
    size_bytes: int = 128 * 1024


@dataclass(frozen=True)
class FleetRun:
    """One run of ``run --bench --once``.

    Attributes:
        boards: How many boards.
        succeeded: How many jobs the cloud says succeeded, on boards that run the new version.
        seconds: From the moment when the bridge was ready until the last board had ended.
        cpu_s: Processor time of the bridge, its start included.
        rss_mib: Most memory that the bridge had, in MiB.
        boards_cpu_s: Processor time of the virtual boards, which a real bench does not spend.
        cloud_cpu_s: The same for the local cloud.
        late_events: What happened on a board more than 5 ms after its time, because this machine was busy.
        downloads: How many requests the image server answered.
        exit_code: The bridge's.
    """

    boards: int
    succeeded: int
    seconds: float
    cpu_s: float
    rss_mib: float
    boards_cpu_s: float
    cloud_cpu_s: float
    late_events: int
    downloads: int
    exit_code: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_fleet(setup: FleetSetup) -> Iterator[FleetRun]:
    """Measure one board, and then all of them.

    Raises:
        BenchError: The boards or the bridge do not start, or do not end.
    """
    for boards in (1, setup.boards):
        with tempfile.TemporaryDirectory(prefix="nrf91-bridge-fleet-") as directory:
            yield _measure(setup, boards, Path(directory))


def _measure(setup: FleetSetup, count: int, directory: Path) -> FleetRun:
    samples = SampleImages(directory / "samples")
    image = samples.application(NEW_VERSION, size_bytes=setup.size_bytes)
    boards = BoardProcesses(BoardsSetup(count, setup.baud, setup.size_bytes))
    with LocalCloud(directory / "cloud") as cloud, boards:
        bench_file = _write_bench(directory, cloud, boards.ports, setup.baud)
        document = _document(cloud, image)
        for number in range(count):
            cloud.jobs.create_job(f"job-{number}", f"board-{number}", document)
        before = time.process_time()
        ended = _run_bridge(bench_file, directory)
        cloud_cpu_s = time.process_time() - before
        told = [cloud.jobs.describe_execution(f"job-{number}", f"board-{number}") for number in range(count)]
        found = boards.end()
        good = [
            execution.status == "SUCCEEDED" and version.startswith(NEW_VERSION)
            for execution, version in zip(told, found.versions, strict=True)
        ]
        return FleetRun(
            boards=count,
            succeeded=sum(good),
            seconds=ended.seconds,
            cpu_s=ended.cpu_s,
            rss_mib=ended.rss_mib,
            boards_cpu_s=found.cpu_s,
            cloud_cpu_s=cloud_cpu_s,
            late_events=found.late_events,
            downloads=len(cloud.images.requests),
            exit_code=ended.exit_code,
        )


def _write_bench(directory: Path, cloud: LocalCloud, ports: Sequence[str], baud: int) -> Path:
    host, broker_port = cloud.mqtt_endpoint
    lines = [
        f'name = "fleet"\n[cloud]\nendpoint = "{host}:{broker_port}"\nca = "{cloud.ca_file}"',
        f'download_ca = "{cloud.ca_file}"\n[defaults]\nbaud = {baud}\ntransfer_baud = 0',
    ]
    for number, port in enumerate(ports):
        thing = cloud.add_thing(f"board-{number}")
        lines.append(
            f'[boards.{number}]\nname = "{thing.thing_name}"\nthing = "{thing.thing_name}"\nport = "{port}"\n'
            f'cert = "{thing.cert_file}"\nkey = "{thing.key_file}"'
        )
    file = directory / "bench.toml"
    file.write_text("\n".join(lines))
    return file


def _document(cloud: LocalCloud, image: Path) -> dict[str, object]:
    inspected = inspect_file(image)
    return {
        "operation": "app_fw_update",
        "fwversion": inspected.version,
        "size": inspected.size_bytes,
        "sha256": inspected.sha256,
        "location": {"url": cloud.publish_image(image)},
    }


@dataclass(frozen=True)
class _Ended:
    seconds: float
    cpu_s: float
    rss_mib: float
    exit_code: int


def _run_bridge(bench_file: Path, directory: Path) -> _Ended:
    """``run --bench --once`` in a process of its own, timed between its own events."""
    command = [
        *(sys.executable, "-m", "bridge", "run", "--bench", str(bench_file), "--once", "--json"),
        *("--allow-network", "loopback", "--cache-dir", str(directory / "cache")),
    ]
    environment = {**os.environ, "XDG_STATE_HOME": str(directory / "state")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - ourselves
        assert process.stdout is not None
        with _killed_after(process, _TIMEOUT_S):
            began_s = ended_s = time.monotonic()
            for line in process.stdout:
                event = json.loads(line)["event"]
                if event == "ready":
                    began_s = time.monotonic()
                elif event == "board-ended":
                    ended_s = time.monotonic()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return _Ended(
        ended_s - began_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, process.returncode
    )


@contextmanager
def _killed_after(process: "subprocess.Popen[str]", timeout_s: float) -> Iterator[None]:
    watchdog = threading.Timer(timeout_s, process.kill)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
