"""Several things on one connection: each job worked on its own board, and told truthfully."""

import itertools
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cli.app import run
from bridge.cloud import Endpoint
from bridge.cloud.thing_policy import policy_name
from bridge.errors import CloudError
from bridge.fetch import THIS_HOST
from bridge.fota import Outcome, UpdateOptions, over_at
from bridge.fota.gateway import Gateway
from bridge.fota.journal import Journal
from bridge.fota.journal_rows import read_history
from bridge.fota.route import RouteOpener
from bridge.fota.service import DownloadSettings, ThingOnBoard, running_agents
from bridge.lab.jobs_model import Execution
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import running_version
from bridge.virtual.pty_server import PtyServer

GATEWAY = "bench-7"
THINGS = ("gateway-a", "gateway-b")
LONG_S = 30.0
_NUMBERS = itertools.count(1)


@dataclass
class Floor:
    """A cloud, two things, and a board for each."""

    cloud: LocalCloud
    samples: SampleImages
    boards: Mapping[str, VirtualBoard]
    ports: Mapping[str, str]
    directory: Path

    def endpoint(self, identity: str = GATEWAY) -> Endpoint:
        own = self.cloud.add_thing(identity)
        return Endpoint(
            *self.cloud.mqtt_endpoint, own.ca_file, own.cert_file, own.key_file, client_id=identity
        )

    def route(self, thing: str) -> RouteOpener:
        return over_at(lambda: Board.open(self.ports[thing]))

    def create_job(self, thing: str, image: Path) -> str:
        job_id = f"gateway-job-{next(_NUMBERS)}"
        document = {
            "operation": "app_fw_update",
            "location": {"url": self.cloud.publish_image(image)},
        }
        self.cloud.jobs.create_job(job_id, thing, document)
        return job_id

    def execution(self, thing: str, job_id: str) -> Execution:
        return self.cloud.jobs.describe_execution(job_id, thing)

    def version(self, thing: str) -> str:
        board = self.boards[thing]
        return board.call(lambda: running_version(board.flash, board.layout))


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud() as running:
        running.add_thing(GATEWAY)
        (certificate,) = running.registry.principals_of(GATEWAY)
        for thing in THINGS:
            running.add_thing(thing)
            running.registry.attach_policy(policy_name(thing), certificate)
        yield running


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def floor(cloud: LocalCloud, samples: SampleImages, tmp_path: Path) -> Iterator[Floor]:
    with ExitStack() as stack:
        boards, ports = {}, {}
        for thing in THINGS:
            boards[thing] = stack.enter_context(
                VirtualBoard(
                    factory_image=samples.application("1.0.0").read_bytes(), keys=[samples.public_key_pem]
                )
            )
            ports[thing] = stack.enter_context(PtyServer(boards[thing])).path
        yield Floor(cloud, samples, boards, ports, tmp_path)


def test_given_a_job_for_each_thing_when_worked_on_one_connection_then_each_ends_on_its_own_board(
    floor: Floor,
) -> None:
    """One update succeeds, the other is refused by its board's bootloader: neither outcome colours the other."""
    good = floor.create_job("gateway-a", floor.samples.application("2.0.0"))
    bad = floor.create_job("gateway-b", floor.samples.wrong_key("3.0.0"))
    with ExitStack() as stack:
        journals = {thing: stack.enter_context(Journal(floor.directory / f"{thing}.db")) for thing in THINGS}
        things = [ThingOnBoard(thing, floor.route(thing), journals[thing], thing) for thing in THINGS]
        seen: list[tuple[str, str]] = []
        agents = stack.enter_context(
            running_agents(
                floor.endpoint(),
                things,
                DownloadSettings(floor.directory / "cache", ca_file=floor.cloud.ca_file, rules=THIS_HOST),
                options=UpdateOptions(confirm_timeout_s=0.1),
                on_event=lambda thing, execution, _: seen.append((thing, execution.job_id)),
            )
        )
        results = Gateway(dict(zip(THINGS, agents, strict=True))).run(once=True)
        connected = floor.cloud.broker.connected & {GATEWAY, *THINGS}

    assert connected == {GATEWAY}
    first, second = results["gateway-a"], results["gateway-b"]
    assert first is not None
    assert second is not None
    assert (first.finished.outcome, second.finished.outcome) == (Outcome.SUCCEEDED, Outcome.FAILED)
    assert floor.execution("gateway-a", good).status == "SUCCEEDED"
    assert floor.execution("gateway-b", bad).status == "FAILED"
    assert floor.execution("gateway-b", bad).status_details["reason"] == "rejected-by-bootloader"
    assert (floor.version("gateway-a"), floor.version("gateway-b")) == ("2.0.0", "1.0.0")
    assert set(seen) == {("gateway-a", good), ("gateway-b", bad)}
    for thing, job in (("gateway-a", good), ("gateway-b", bad)):
        assert [entry.order.job_id for entry, _ in read_history(floor.directory / f"{thing}.db", 9)] == [job]


def test_given_a_certificate_of_one_thing_when_it_works_for_two_then_the_other_is_said_to_be_refused(
    floor: Floor,
) -> None:
    """A policy for one thing: the other's subscription is refused, and only that."""
    job = floor.create_job("gateway-a", floor.samples.application("2.0.0"))
    floor.create_job("gateway-b", floor.samples.application("2.0.0"))
    things = [ThingOnBoard(thing, floor.route(thing)) for thing in THINGS]
    own = floor.cloud.add_thing("gateway-a")
    endpoint = Endpoint(
        *floor.cloud.mqtt_endpoint, own.ca_file, own.cert_file, own.key_file, client_id="gateway-a"
    )
    downloads = DownloadSettings(floor.directory / "cache", ca_file=floor.cloud.ca_file, rules=THIS_HOST)
    with running_agents(endpoint, things, downloads, options=UpdateOptions(confirm_timeout_s=0.1)) as agents:
        result = agents[0].run(once=True)
        with pytest.raises(CloudError) as caught:
            agents[1]._jobs.next_job()

    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    assert caught.value.reason == "subscription-refused"
    assert floor.execution("gateway-a", job).status == "SUCCEEDED"
    assert floor.version("gateway-b") == "1.0.0"
    for execution in floor.cloud.jobs.device.pending("gateway-b"):
        assert execution.status == "QUEUED"
        floor.cloud.jobs.cancel_execution(execution.job_id, "gateway-b")


def test_given_the_command_when_it_works_two_things_then_their_events_are_told_apart(
    floor: Floor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = {thing: floor.create_job(thing, floor.samples.application("2.0.0")) for thing in THINGS}
    own = floor.cloud.add_thing(GATEWAY)
    host, port = floor.cloud.mqtt_endpoint
    arguments = ["run", "--once", "--client-id", GATEWAY, "--endpoint", f"{host}:{port}"]
    arguments += ["--cert", str(own.cert_file), "--key", str(own.key_file), "--ca", str(own.ca_file)]
    arguments += ["--download-ca", str(own.ca_file), "--allow-network", "loopback"]
    arguments += ["--cache-dir", str(floor.directory / "cache"), "--journal", str(floor.directory / "j.db")]
    for thing in THINGS:
        arguments += ["--gateway", f"{thing}={floor.ports[thing]}"]
    monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])

    assert run() == 0
    lines = capsys.readouterr().err.splitlines()
    for thing, job in jobs.items():
        assert f"{thing}  job {job}, execution 1" in lines
        assert any(line.startswith(f"{thing}  SUCCEEDED") for line in lines)
        assert floor.execution(thing, job).status == "SUCCEEDED"
        assert (floor.directory / f"j-{thing}.db").exists()
