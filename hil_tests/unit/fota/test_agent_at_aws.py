"""The agent where networks block, URLs expire and ids clash: over real sockets, against the local cloud."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cloud import (
    Backoff,
    Connection,
    JobDocument,
    JobsClient,
    JobsLink,
    JobsOver,
    connection,
    job_requests,
)
from bridge.errors import CloudError
from bridge.fetch import THIS_HOST
from bridge.fota import Outcome, Stage, UpdateEvent, job_queue, over_at
from bridge.fota.agent import Agent
from bridge.fota.journal import Journal
from bridge.fota.service import DownloadSettings, ThingOnBoard, running_agents, source_maker
from bridge.image import ImageSource
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer
from hil_tests.unit.cloud.evil_broker import EvilBroker
from hil_tests.unit.fota.conftest import Clock
from hil_tests.unit.fota.job_bench import NEW, JobBench

LONG_S = 60.0
LATER_S = 300.0
"""After the URL has expired, and before the job times out without a report."""


def downloads_of(bench: JobBench) -> DownloadSettings:
    return DownloadSettings(bench.directory / "cache", ca_file=bench.cloud.ca_file, rules=THIS_HOST)


def https_of(cloud: LocalCloud) -> tuple[str, int]:
    return "localhost", int(cloud.https_url.rpartition(":")[2])


@contextmanager
def nobody() -> Iterator[int]:
    """A port at which nobody listens."""
    with EvilBroker(None) as broker:
        port = broker.port
    yield port


@pytest.mark.parametrize("over", [JobsOver.HTTPS, JobsOver.AUTO])
def test_given_a_network_without_mqtt_when_a_job_comes_then_it_is_worked_over_https(
    jobs: JobBench, over: JobsOver
) -> None:
    image = jobs.samples.application(NEW)
    with nobody() as port:
        endpoint = replace(jobs.endpoint(jobs.thing.thing_name), port=port)
        link = JobsLink(endpoint, over, https=https_of(jobs.cloud), poll_s=0.05, patience_s=0.05)
        thing = ThingOnBoard(jobs.thing.thing_name, jobs.route)
        with (
            running_agents(link, [thing], downloads_of(jobs), options=jobs.options) as (agent,),
            ThreadPoolExecutor(1) as worker,
        ):
            working = worker.submit(agent.run, once=True)
            job_id = jobs.create_job(image)  # nobody calls: it is found by looking
            result = working.result(LONG_S)

    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["running_version"]) == ("SUCCEEDED", NEW)
    assert jobs.version == NEW


def test_given_a_presigned_url_that_expired_when_downloading_then_the_job_is_described_again(
    jobs: JobBench, job_clock: Clock
) -> None:
    """The server checks signature and time; the clock of all of the cloud stands still unless told."""
    image = jobs.samples.application(NEW)
    jobs.cloud.images.publish(image, presigned_only=True)
    bucket = "https://s3.eu-west-1.amazonaws.com/bucket"
    document = {
        "operation": "app_fw_update",
        "location": {"url": f"${{aws:iot:s3-presigned-url:{bucket}/{image.name}}}"},
    }
    jobs.cloud.jobs.create_job("expiring", jobs.thing.thing_name, document, presigned_expires_in_s=60)
    start = source_maker(downloads_of(jobs))
    urls: list[str] = []

    def late(described: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        urls.append(described.url)
        job_clock.now_s += LATER_S

        def refreshed() -> str:
            urls.append(fresh_url())
            return urls[-1]

        return start(described, refreshed)

    asked = len(jobs.cloud.images.requests)
    thing = ThingOnBoard(jobs.thing.thing_name, jobs.route)
    endpoint = jobs.endpoint(jobs.thing.thing_name)
    with running_agents(endpoint, [thing], late, options=jobs.options) as (agent,):
        result = agent.run(once=True)

    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    statuses = [request.status for request in jobs.cloud.images.requests[asked:]]
    assert statuses[0] == 403
    assert set(statuses[1:]) <= {200, 206}
    assert len(urls) == 2
    assert urls[0] != urls[1]


@pytest.fixture
def hasty(jobs: JobBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts are short."""
    monkeypatch.setattr(connection, "Backoff", lambda: Backoff(0.05, 0.1))
    monkeypatch.setattr(job_queue, "WATCH_S", 2.0)


@pytest.mark.usefixtures("hasty")
def test_given_two_agents_with_one_client_id_when_the_second_comes_then_it_ends_and_the_first_finishes_its_job(
    jobs: JobBench, job_samples: SampleImages, tmp_path: Path
) -> None:
    """Another host, another board, the same thing and id: a copied configuration."""
    job_id = jobs.create_job(jobs.samples.application(NEW))
    name = jobs.thing.thing_name
    in_transfer, go_on = threading.Event(), threading.Event()

    def hold(event: UpdateEvent) -> None:
        if event.stage is Stage.TRANSFER and not go_on.is_set():
            in_transfer.set()
            assert go_on.wait(LONG_S)

    with ExitStack() as stack:
        first = stack.enter_context(jobs.agent(hold))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        working = pool.submit(first.run, once=True)
        assert in_transfer.wait(LONG_S)
        has_been_connected_for_an_hour(first)
        board = stack.enter_context(VirtualBoard(factory_image=job_samples.application("1.0.0").read_bytes()))
        pty = stack.enter_context(PtyServer(board))
        before = board.call(lambda: board.flash.operations)
        second = stack.enter_context(another_host(jobs, pty.path, tmp_path / "second.db"))
        try:
            with pytest.raises(CloudError) as caught:
                second.run(once=True)
        finally:
            go_on.set()
        result = working.result(LONG_S)
        assert board.call(lambda: board.flash.operations) == before

    assert (caught.value.reason, caught.value.exit_code) == ("client-id-taken", 8)
    assert repr(name) in caught.value.message
    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert jobs.execution(job_id).status_details["running_version"] == NEW


def has_been_connected_for_an_hour(agent: Agent) -> None:
    """So that to be thrown out once does not count as a short life."""
    jobs = agent._jobs
    assert isinstance(jobs, JobsClient)
    channel = jobs._connection
    assert isinstance(channel, Connection)
    assert channel._doctor._connected_at_s is not None
    channel._doctor._connected_at_s -= 3600.0


@contextmanager
def another_host(bench: JobBench, port: str, journal_file: Path) -> Iterator[Agent]:
    name = bench.thing.thing_name
    with Journal(journal_file) as journal:
        thing = ThingOnBoard(name, over_at(lambda: Board.open(port)), journal, port)
        with running_agents(bench.endpoint(name), [thing], downloads_of(bench)) as (agent,):
            yield agent


def test_given_a_job_that_is_gone_when_its_url_has_expired_then_that_is_a_cancelled_job_and_no_failed_one(
    jobs: JobBench, job_clock: Clock
) -> None:
    image = jobs.samples.application(NEW)
    jobs.cloud.images.publish(image, presigned_only=True)
    job_id = jobs.create_job(image)  # its URL has no signature: refused as an expired one is
    jobs.cloud.images.publish(image, presigned_only=True)
    start = source_maker(downloads_of(jobs))

    def cancelled(described: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        jobs.cloud.jobs.cancel_job(job_id, force=True)
        return start(described, fresh_url)

    thing = ThingOnBoard(jobs.thing.thing_name, jobs.route)
    with running_agents(jobs.endpoint(jobs.thing.thing_name), [thing], cancelled) as (agent,):
        result = agent.run(once=True)

    assert result is not None
    assert result.finished.outcome is Outcome.CANCELED
    assert jobs.execution(job_id).status == "CANCELED"


@pytest.mark.parametrize("over", [JobsOver.MQTT, JobsOver.HTTPS])
def test_given_a_service_that_throttles_when_a_job_is_worked_then_it_is_asked_again_later_and_said(
    jobs: JobBench, over: JobsOver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job_requests, "Backoff", lambda *_: Backoff(0.01, 0.02))
    job_id = jobs.create_job(jobs.samples.application(NEW))
    faults = jobs.cloud.jobs.faults
    before = faults.throttled
    link = JobsLink(jobs.endpoint(jobs.thing.thing_name), over, https=https_of(jobs.cloud))
    thing = ThingOnBoard(jobs.thing.thing_name, jobs.route)
    with running_agents(link, [thing], downloads_of(jobs), options=jobs.options) as (agent,):
        faults.throttle(5)
        result = agent.run(once=True)
        faults.clear()

    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert faults.throttled - before == 5
    assert "the Jobs service throttles us" in caplog.text
