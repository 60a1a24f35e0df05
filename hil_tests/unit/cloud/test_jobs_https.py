"""The Jobs client over HTTPS against the local cloud, and against servers that misbehave."""

import itertools
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from bridge.cloud import (
    Backoff,
    Endpoint,
    JobExecution,
    JobGoneError,
    JobsClient,
    JobsLink,
    JobsOver,
    JobStatus,
    JobsTiming,
)
from bridge.cloud.connection import Connection
from bridge.cloud.jobs_https import HttpsChannel
from bridge.cloud.jobs_https_auto import AutoChannel
from bridge.errors import CloudError, UsageError
from bridge.lab.broker import Broker
from bridge.lab.https_server import HttpsServer
from bridge.lab.jobs_service import BrokerFront, JobsService
from bridge.lab.local_cloud import Credentials, LocalCloud
from hil_tests.lab_rig import Certificates
from hil_tests.unit.cloud.evil_broker import EvilBroker

LONG_S = 30.0
SOON_S = 0.02
NEVER_S = 3600.0
_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture(scope="module")
def cloud(state_dir: Path) -> Iterator[LocalCloud]:
    with LocalCloud(state_dir) as running:
        yield running


@pytest.fixture
def thing(cloud: LocalCloud) -> Credentials:
    return cloud.add_thing(f"thing-{next(_NUMBERS)}")


def endpoint_of(cloud: LocalCloud, thing: Credentials) -> Endpoint:
    """The HTTPS port, with the thing's certificate."""
    port = int(cloud.https_url.rpartition(":")[2])
    return Endpoint(
        "localhost", port, thing.ca_file, thing.cert_file, thing.key_file, client_id=thing.thing_name
    )


@contextmanager
def over_https(
    cloud: LocalCloud, thing: Credentials, name: str | None = None, *, poll_s: float = NEVER_S
) -> Iterator[JobsClient]:
    channel = HttpsChannel(endpoint_of(cloud, thing), poll_s=poll_s, backoff=Backoff(0.01, 0.02))
    with channel, JobsClient(channel, name or thing.thing_name) as jobs:
        yield jobs


# --- against the local cloud -------------------------------------------------------------------------------------------


def test_given_a_job_when_worked_over_https_then_it_goes_from_queued_to_succeeded(
    cloud: LocalCloud, thing: Credentials
) -> None:
    with over_https(cloud, thing) as jobs:
        assert jobs.next_job() is None
        cloud.jobs.create_job("over-https", thing.thing_name, {"operation": "app_fw_update"})
        found = jobs.next_job()
        assert found is not None
        assert found.document == {"operation": "app_fw_update"}
        working = jobs.update(found, JobStatus.IN_PROGRESS, {"stage": "FETCH"}, step_timeout_minutes=60)
        seen = jobs.describe("over-https")
        assert (seen.version_number, seen.status_details) == (working.version_number, {"stage": "FETCH"})
        ended = jobs.update(working, JobStatus.SUCCEEDED, {"stage": "DONE"})
        assert jobs.next_job() is None

    assert ended.status is JobStatus.SUCCEEDED
    assert cloud.jobs.describe_execution("over-https", thing.thing_name).status == "SUCCEEDED"


def test_given_a_version_that_is_old_when_updating_then_the_new_one_is_taken(
    cloud: LocalCloud, thing: Credentials
) -> None:
    cloud.jobs.create_job("conflict", thing.thing_name, {})
    with over_https(cloud, thing) as jobs, over_https(cloud, thing) as other:
        old = jobs.next_job()
        assert old is not None
        other.update(old, JobStatus.IN_PROGRESS, {"who": "other"})
        assert jobs.update(old, JobStatus.IN_PROGRESS, {"who": "we"}).version_number == 3
        with pytest.raises(JobGoneError) as caught:
            other.update(old, JobStatus.IN_PROGRESS, {"who": "other"}, exclusive=True)

    assert caught.value.reason == "taken-over"


def test_given_a_report_that_ended_the_job_when_repeated_then_the_service_tells_that_it_was_taken(
    cloud: LocalCloud, thing: Credentials
) -> None:
    """The rejection of an update carries the state, over HTTPS too."""
    cloud.jobs.create_job("twice", thing.thing_name, {})
    with over_https(cloud, thing) as jobs:
        taken = jobs.next_job()
        assert taken is not None
        jobs.update(taken, JobStatus.FAILED, {"reason": "reverted"})

        assert jobs.has_taken("twice", 1, JobStatus.FAILED, {"reason": "reverted"})
        assert not jobs.has_taken("twice", 1, JobStatus.SUCCEEDED, {"reason": "reverted"})
        with pytest.raises(JobGoneError):
            jobs.describe("twice")


def test_given_a_new_job_when_the_queue_is_looked_at_then_the_agent_is_woken(
    cloud: LocalCloud, thing: Credentials
) -> None:
    with over_https(cloud, thing, poll_s=SOON_S) as jobs:
        while jobs.wait_for_job_change(0.5):
            pass  # the first look at the queue
        cloud.jobs.create_job("polled", thing.thing_name, {})

        assert jobs.wait_for_job_change(LONG_S)
        cloud.jobs.cancel_execution("polled", thing.thing_name)
        assert jobs.wait_for_job_change(LONG_S)


def test_given_another_things_certificate_when_asking_then_it_ends_after_three_refusals(
    cloud: LocalCloud, thing: Credentials
) -> None:
    cloud.add_thing("somebody-else")
    with over_https(cloud, thing, "somebody-else") as jobs:
        reasons = []
        for _ in range(4):
            with pytest.raises(CloudError) as caught:
                jobs.next_job()
            reasons.append(caught.value.reason)

    assert set(reasons[:2]) <= {"service-refused", "connection-refused-by-broker"}
    assert reasons[-1] == "connection-refused-by-broker"
    assert "iotjobsdata:" in (caught.value.hint or "")


def test_given_two_things_when_one_is_refused_then_the_other_is_served(
    cloud: LocalCloud, thing: Credentials
) -> None:
    cloud.add_thing("not-ours")
    channel = HttpsChannel(endpoint_of(cloud, thing), poll_s=NEVER_S)
    with channel, JobsClient(channel, thing.thing_name) as ours, JobsClient(channel, "not-ours") as other:
        assert ours.next_job() is None
        for _ in range(5):
            with pytest.raises(CloudError) as caught:
                other.next_job()
        assert ours.next_job() is None

    assert caught.value.reason == "service-refused"


def test_given_no_certificate_when_asking_then_it_is_refused(cloud: LocalCloud, thing: Credentials) -> None:
    anonymous = replace(endpoint_of(cloud, thing), cert_file=None, key_file=None)
    with (
        HttpsChannel(anonymous, poll_s=NEVER_S) as channel,
        JobsClient(channel, thing.thing_name) as jobs,
        pytest.raises(CloudError) as caught,
    ):
        cloud.jobs.create_job(f"job-{next(_NUMBERS)}", thing.thing_name, {})
        execution = cloud.jobs.device.pending(thing.thing_name)[0]
        jobs.update(JobExecution(execution.job_id, 1, 1, JobStatus.QUEUED), JobStatus.IN_PROGRESS, {})

    assert caught.value.reason in {"service-refused", "connection-refused-by-broker"}


def test_given_a_certificate_of_another_authority_when_asking_then_tls_is_to_blame(
    cloud: LocalCloud, thing: Credentials, tmp_path: Path
) -> None:
    cert_file, key_file = Certificates(tmp_path).thing(thing.thing_name)
    stranger = replace(endpoint_of(cloud, thing), cert_file=cert_file, key_file=key_file)
    distrustful = replace(endpoint_of(cloud, thing), ca_file=tmp_path / "ca.pem")
    for endpoint in (stranger, distrustful):
        with (
            HttpsChannel(endpoint, poll_s=NEVER_S, backoff=Backoff(0.01, 0.02)) as channel,
            JobsClient(channel, thing.thing_name, timing=JobsTiming(request_s=LONG_S)) as jobs,
            pytest.raises(CloudError) as caught,
        ):
            jobs.next_job()
        assert caught.value.reason in {"tls", "connection-refused-by-broker"}
        assert "certificate" in f"{caught.value.message} {caught.value.hint}"


# --- against servers that misbehave -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("pki"))


@contextmanager
def scripted(certificates: Certificates, *answers: Response) -> Iterator[tuple[int, list[str]]]:
    """Answers requests one after the other, the last answer again and again."""
    seen: list[str] = []
    left = list(answers)

    async def answer(request: Request) -> Response:
        seen.append(f"{request.method} {request.url.path}")
        return left.pop(0) if len(left) > 1 else left[0]

    cert_file, key_file = certificates.server
    routes = [Route("/{path:path}", answer, methods=["GET", "POST", "PUT"])]
    with HttpsServer(routes, cert_file=cert_file, key_file=key_file) as server:
        yield server.port, seen


@contextmanager
def asking(certificates: Certificates, port: int, timing: JobsTiming | None = None) -> Iterator[JobsClient]:
    endpoint = Endpoint("localhost", port, certificates.ca_file, client_id="x")
    channel = HttpsChannel(endpoint, poll_s=NEVER_S, backoff=Backoff(0.01, 0.02))
    channel.set_active(False)
    with channel, JobsClient(channel, "thing-a", timing=timing) as jobs:
        yield jobs


def throttled() -> Response:
    return JSONResponse(
        {"message": "Rate exceeded"}, 429, headers={"x-amzn-ErrorType": "ThrottlingException"}
    )


def test_given_a_throttled_request_when_asking_then_it_is_repeated_later_and_said(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    timing = JobsTiming(request_s=LONG_S, busy_min_s=0.01, busy_max_s=0.02)
    answers = (throttled(), throttled(), JSONResponse({}))
    with scripted(certificates, *answers) as (port, seen), asking(certificates, port, timing) as jobs:
        assert jobs.next_job() is None

    assert seen == ["GET /things/thing-a/jobs/$next"] * 3
    assert "throttles us" in caplog.text


def test_given_a_portal_when_asking_then_it_is_not_taken_for_the_service(certificates: Certificates) -> None:
    with (
        scripted(certificates, PlainTextResponse("<html>log in</html>")) as (port, _),
        asking(certificates, port) as jobs,
        pytest.raises(CloudError) as caught,
    ):
        jobs.next_job()

    assert caught.value.reason == "bad-reply"
    assert "portal" in (caught.value.hint or "")


def test_given_nobody_when_asking_then_it_is_unreachable_until_somebody_is_there(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    with EvilBroker(None) as nobody:
        port = nobody.port
    cert_file, key_file = certificates.server

    async def answer(_: Request) -> Response:
        return JSONResponse({})

    with asking(certificates, port, JobsTiming(request_s=0.2)) as jobs, pytest.raises(CloudError) as caught:
        jobs.next_job()
    with asking(certificates, port, JobsTiming(request_s=LONG_S)) as jobs, ThreadPoolExecutor(1) as asker:
        waiting = asker.submit(jobs.next_job)
        with HttpsServer([Route("/{_:path}", answer)], cert_file=cert_file, key_file=key_file, port=port):
            assert waiting.result(LONG_S) is None

    assert caught.value.reason in {"broker-unreachable", "no-answer"}
    assert "over HTTPS: Connection refused" in caplog.text


def test_given_a_proxy_that_makes_no_sense_when_opened_then_that_is_said(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "gopher://proxy:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    endpoint = Endpoint("aws.invalid", 8443, certificates.ca_file, client_id="x")
    with pytest.raises(UsageError) as caught, HttpsChannel(endpoint):
        pass
    assert caught.value.reason == "bad-proxy"


@contextmanager
def another_broker(cloud: LocalCloud, state_dir: Path, port: int) -> Iterator[None]:
    """The cloud's MQTT at another port, as if a firewall had been opened."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(state_dir / "server.pem", state_dir / "server.key")
    tls.load_verify_locations(cloud.ca_file)
    with Broker(tls, port=port) as broker, JobsService(cloud.jobs, BrokerFront(broker)):
        yield


# --- MQTT if it can be had ------------------------------------------------------------------------------------------------


class Ears:
    """A listener without a thing."""

    filters = ()

    def __init__(self) -> None:
        self.heard: queue.Queue[str] = queue.Queue()

    def on_message(self, topic: str, payload: bytes) -> None:
        pass

    def on_ready(self) -> None:
        self.heard.put("ready")

    def on_lost(self) -> None:
        self.heard.put("lost")


@pytest.fixture
def auto(cloud: LocalCloud, thing: Credentials) -> Callable[..., AutoChannel]:
    def make(mqtt_port: int, *, patience_s: float = 0.05, second_chance_s: float = NEVER_S) -> AutoChannel:
        mqtt = replace(endpoint_of(cloud, thing), port=mqtt_port)
        https = HttpsChannel(endpoint_of(cloud, thing), poll_s=SOON_S, backoff=Backoff(0.01, 0.02))
        return AutoChannel(
            lambda: Connection(mqtt, backoff=Backoff(0.01, 0.02)),
            https,
            patience_s=patience_s,
            second_chance_s=second_chance_s,
        )

    return make


def test_given_mqtt_when_it_can_be_had_then_https_is_not_used(
    cloud: LocalCloud, thing: Credentials, auto: Callable[..., AutoChannel]
) -> None:
    with auto(cloud.mqtt_endpoint[1], patience_s=LONG_S) as channel:
        with JobsClient(channel, thing.thing_name) as jobs:
            assert jobs.next_job() is None
            cloud.jobs.create_job(f"job-{next(_NUMBERS)}", thing.thing_name, {})
            assert jobs.wait_for_job_change(LONG_S)
        assert not channel.over_https


def test_given_mqtt_that_is_blocked_when_patience_ends_then_https_is_used_until_mqtt_is_there_again(
    cloud: LocalCloud,
    state_dir: Path,
    thing: Credentials,
    auto: Callable[..., AutoChannel],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with EvilBroker(None) as nobody:
        port = nobody.port
    with auto(port) as channel, JobsClient(channel, thing.thing_name) as jobs:
        assert jobs.next_job() is None
        used = [channel.over_https]
        job_id = f"job-{next(_NUMBERS)}"
        cloud.jobs.create_job(job_id, thing.thing_name, {})
        found = None
        while found is None:  # the look at the queue tells
            jobs.wait_for_job_change(LONG_S)
            found = jobs.next_job()
        assert found.job_id == job_id

        with another_broker(cloud, state_dir, port):
            ears = Ears()
            channel.add_listener(ears)
            ears.heard.get(timeout=LONG_S)  # over HTTPS, at once
            ears.heard.get(timeout=LONG_S)
            updated = jobs.update(found, JobStatus.IN_PROGRESS, {})
            used.append(channel.over_https)
            assert updated.version_number == 2
            assert channel.failure is None

    assert used == [True, False]
    assert "working over HTTPS" in caplog.text
    assert "MQTT is there again" in caplog.text


def test_given_something_else_on_the_mqtt_port_when_asking_then_https_is_used_and_mqtt_gets_a_second_chance(
    cloud: LocalCloud, thing: Credentials, auto: Callable[..., AutoChannel]
) -> None:
    with EvilBroker(None) as no_tls:
        channel = auto(no_tls.port, patience_s=LONG_S, second_chance_s=0.05)
        with channel, JobsClient(channel, thing.thing_name) as jobs:
            assert jobs.next_job() is None
            assert channel.over_https
            assert channel.failure is None
            first = threading.active_count()
            for _ in range(10):
                assert jobs.next_job() is None
                jobs.wait_for_job_change(0.05)
            assert threading.active_count() <= first + 1


def test_given_a_client_id_in_use_when_asking_then_https_is_no_way_around(
    auto: Callable[..., AutoChannel], cloud: LocalCloud, thing: Credentials
) -> None:
    channel = auto(cloud.mqtt_endpoint[1])
    channel._mqtt._failure = CloudError("another client", reason="client-id-taken")
    with JobsClient(channel, thing.thing_name) as jobs, pytest.raises(CloudError) as caught:
        jobs.next_job()

    assert caught.value.reason == "client-id-taken"


def test_given_a_link_when_opened_then_it_is_the_way_that_was_asked_for(
    cloud: LocalCloud, thing: Credentials
) -> None:
    endpoint = endpoint_of(cloud, thing)
    https = ("localhost", endpoint.port)
    mqtt = replace(endpoint, port=cloud.mqtt_endpoint[1])
    for over in JobsOver:
        with (
            JobsLink(mqtt, over, https=https).open() as channel,
            JobsClient(channel, thing.thing_name) as jobs,
        ):
            assert jobs.next_job() is None
