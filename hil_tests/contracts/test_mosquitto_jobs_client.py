"""Our Jobs client on mosquitto, with our Jobs service behind it, or one that loses and repeats replies."""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from bridge.cloud import (
    Backoff,
    Connection,
    Endpoint,
    JobGoneError,
    JobsClient,
    JobStatus,
    JobsTiming,
    parse_document,
)
from bridge.errors import CloudError
from bridge.lab.jobs_mqtt_front import SERVICE_NAME
from bridge.lab.mosquitto import Mosquitto, ServerFiles
from hil_tests.lab_rig import HOST, Certificates, mosquitto_jobs
from hil_tests.unit.cloud.scripted import execution_body, queued, state

pytestmark = pytest.mark.contract

THING = "thing-a"
LONG_S = 30.0
HASTY = JobsTiming(request_s=LONG_S, reply_s=0.3)
DOCUMENT = {"operation": "app_fw_update", "location": {"url": "https://images.example/app.bin"}}
DETAILS = {"stage": "FETCH"}


@dataclass
class Bench:
    """A mosquitto that can be stopped and started again on its port, and certificates for it."""

    certificates: Certificates
    mosquitto: Mosquitto

    def endpoint(self, client_id: str = "bench-7") -> Endpoint:
        cert_file, key_file = self.certificates.thing(THING)
        return Endpoint(
            "localhost", self.mosquitto.port, self.certificates.ca_file, cert_file, key_file, client_id
        )

    def connection(self, client_id: str = "bench-7") -> Connection:
        return Connection(self.endpoint(client_id), backoff=Backoff(0.02, 0.1))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    certificates = Certificates(tmp_path)
    files = ServerFiles(certificates.ca_file, *certificates.server)
    with Mosquitto(tmp_path / "mosquitto", files, service_name=SERVICE_NAME) as mosquitto:
        yield Bench(certificates, mosquitto)


Script = Callable[["Responder", str, dict[str, Any]], None]


class Responder:
    """A Jobs service of one function: it sees each request and answers it, often, once or never."""

    def __init__(self, bench: Bench, script: Script) -> None:
        self.requests: list[dict[str, Any]] = []
        self._script = script
        self._ready = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=SERVICE_NAME)
        cert_file, key_file = bench.certificates.thing(SERVICE_NAME)
        self._client.tls_set(str(bench.certificates.ca_file), str(cert_file), str(key_file))
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        self._client.connect(HOST, bench.mosquitto.port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        self._client.subscribe([(f"$aws/things/{THING}/jobs/+/{call}", 1) for call in ("get", "update")])
        assert self._ready.wait(LONG_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def reply(self, topic: str, request: dict[str, Any], verdict: str = "accepted", **body: object) -> None:
        payload = json.dumps({**body, "clientToken": request["clientToken"]})
        self._client.publish(f"{topic}/{verdict}", payload, qos=1)

    def notify(self) -> None:
        self._client.publish(f"$aws/things/{THING}/jobs/notify-next", "{}", qos=1)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        request = json.loads(message.payload)
        self.requests.append(request)
        self._script(self, message.topic, request)


def nothing_to_do(responder: Responder, topic: str, request: dict[str, Any]) -> None:
    responder.reply(topic, request)


class Recorder:
    """A listener that keeps what it hears."""

    def __init__(self, *filters: str) -> None:
        self.filters: Sequence[str] = filters
        self.heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.ready: queue.Queue[None] = queue.Queue()

    def on_message(self, topic: str, payload: bytes) -> None:
        self.heard.put((topic, payload))

    def on_ready(self) -> None:
        self.ready.put(None)

    def on_lost(self) -> None:
        pass


@contextmanager
def jobs_client(bench: Bench, timing: JobsTiming = HASTY) -> Iterator[JobsClient]:
    with bench.connection() as connection, JobsClient(connection, THING, timing=timing) as jobs:
        yield jobs


def test_given_our_jobs_service_when_jobs_are_worked_then_each_ends_as_reported(tmp_path: Path) -> None:
    with ExitStack() as stack:
        rig = stack.enter_context(mosquitto_jobs(tmp_path))
        rig.store.add_thing(THING)
        cert_file, key_file = rig.certificates.thing(THING)
        endpoint = Endpoint(
            "localhost", rig.port, rig.certificates.ca_file, cert_file, key_file, "not-the-thing"
        )
        connection = stack.enter_context(Connection(endpoint))
        jobs = stack.enter_context(JobsClient(connection, THING))
        assert jobs.next_job() is None

        rig.store.create_job("first", [THING], DOCUMENT)
        rig.store.create_job("second", [THING], DOCUMENT)
        rig.store.create_job("third", [THING], DOCUMENT)
        assert jobs.wait_for_job_change(LONG_S)
        first = jobs.next_job()
        assert first is not None
        assert (first.job_id, first.status, first.version_number) == ("first", JobStatus.QUEUED, 1)
        assert parse_document(first.document).url == "https://images.example/app.bin"
        first = jobs.update(first, JobStatus.IN_PROGRESS, DETAILS, step_timeout_minutes=60)
        assert jobs.describe("first").status_details == DETAILS
        first = jobs.update(first, JobStatus.SUCCEEDED, {"stage": "DONE", "note": "x" * 2000 + "\n"})
        assert first.version_number == 3

        second = jobs.next_job()
        assert second is not None
        second = jobs.update(second, JobStatus.IN_PROGRESS, DETAILS)
        rig.store.cancel_job("second", force=True)
        with pytest.raises(JobGoneError) as caught:
            jobs.update(second, JobStatus.SUCCEEDED, {"stage": "DONE"})
        assert caught.value.execution is not None
        assert caught.value.execution.status is JobStatus.CANCELED
        with pytest.raises(JobGoneError):
            jobs.describe("second")

        third = jobs.next_job()
        assert third is not None
        rig.store.delete_job("third", force=True)
        with pytest.raises(JobGoneError):
            jobs.update(third, JobStatus.IN_PROGRESS, DETAILS)
        assert jobs.next_job() is None
        with pytest.raises(CloudError) as refused:
            jobs.update(replace(third, job_id="first"), JobStatus.FAILED, DETAILS)
        assert refused.value.reason == "job-gone"

        assert rig.store.describe_execution("first", THING).status == "SUCCEEDED"
        assert rig.store.describe_execution("second", THING).status == "CANCELED"


def test_given_a_first_reply_that_is_lost_when_updated_then_the_repetition_counts_once(bench: Bench) -> None:
    def forgetful(responder: Responder, topic: str, request: dict[str, Any]) -> None:
        if len(responder.requests) == 2:
            taken = state("IN_PROGRESS", 2, **DETAILS)
            responder.reply(
                topic, request, "rejected", code="VersionMismatch", message="", executionState=taken
            )
        elif len(responder.requests) == 3:
            responder.reply(topic, request, execution=execution_body())

    with Responder(bench, forgetful) as responder, jobs_client(bench) as jobs:
        execution = jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS)
        assert execution.version_number == 2
        assert jobs.next_job() is not None

    tokens = [request["clientToken"] for request in responder.requests]
    assert len(tokens) == len(set(tokens)) == 3
    assert [request.get("expectedVersion") for request in responder.requests] == [1, 1, None]


def test_given_replies_that_come_twice_and_late_when_asked_again_then_each_question_has_its_answer(
    bench: Bench,
) -> None:
    earlier: list[tuple[str, dict[str, Any]]] = []

    def repetitive(responder: Responder, topic: str, request: dict[str, Any]) -> None:
        for old_topic, old_request in earlier:
            responder.reply(old_topic, old_request, execution=execution_body(jobId="stale"))
        earlier.append((topic, request))
        for _ in range(2):
            responder.reply(topic, request, execution=execution_body(jobId=f"job-{len(earlier)}"))

    with Responder(bench, repetitive), jobs_client(bench, JobsTiming()) as jobs:
        seen = [jobs.next_job() for _ in range(5)]

    assert [execution and execution.job_id for execution in seen] == [
        f"job-{number}" for number in range(1, 6)
    ]


def test_given_a_broker_that_is_killed_and_comes_back_when_a_job_is_notified_then_it_is_heard(
    bench: Bench,
) -> None:
    with jobs_client(bench) as jobs:
        with Responder(bench, nothing_to_do):
            assert jobs.next_job() is None
        bench.mosquitto.close()
        bench.mosquitto.start()
        assert jobs.wait_for_job_change(LONG_S)  # the reconnect: the queue must be read again
        with Responder(bench, nothing_to_do) as responder:
            assert jobs.next_job() is None
            responder.notify()  # heard only if the subscriptions were renewed
            assert jobs.wait_for_job_change(LONG_S)


def test_given_a_broker_that_is_killed_before_it_answers_when_it_comes_back_then_the_report_goes_in_once(
    bench: Bench,
) -> None:
    asked = threading.Event()
    with jobs_client(bench, JobsTiming(request_s=LONG_S, reply_s=LONG_S)) as jobs:
        outcome: list[int] = []
        report = threading.Thread(
            target=lambda: outcome.append(
                jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS).version_number
            )
        )
        with Responder(bench, lambda *_: asked.set()):
            report.start()
            assert asked.wait(LONG_S)
        bench.mosquitto.close()
        service = OneExecution()
        bench.mosquitto.start()
        with Responder(bench, service.answer):
            report.join(LONG_S)

    assert outcome == [2]
    assert service.version == 2


class OneExecution:
    """Keeps the version of one execution."""

    def __init__(self) -> None:
        self.version = 1

    def answer(self, responder: Responder, topic: str, request: dict[str, Any]) -> None:
        fits = request["expectedVersion"] == self.version
        self.version += fits
        verdict, code = ("accepted", None) if fits else ("rejected", "VersionMismatch")
        taken = state("IN_PROGRESS", self.version, **DETAILS)
        responder.reply(topic, request, verdict, code=code, message="", executionState=taken)


def test_given_a_broker_that_starts_late_when_connecting_then_it_is_waited_for(bench: Bench) -> None:
    bench.mosquitto.close()
    with jobs_client(bench) as jobs:
        bench.mosquitto.start()
        with Responder(bench, nothing_to_do):
            assert jobs.next_job() is None


def test_given_messages_under_way_when_closed_then_all_arrive(bench: Bench) -> None:
    recorder = Recorder("lab/drain")
    with bench.connection("listener") as listener:
        listener.add_listener(recorder)
        listener.wait_ready(LONG_S)
        with bench.connection() as connection:
            connection.wait_ready(LONG_S)
            for number in range(90):
                connection.send("lab/drain", str(number).encode())
        heard = [recorder.heard.get(timeout=LONG_S)[1] for _ in range(90)]

    assert heard == [str(number).encode() for number in range(90)]


def test_given_a_broker_of_another_authority_when_connecting_then_it_ends_at_once(
    bench: Bench, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    endpoint = replace(bench.endpoint(), ca_file=Certificates(elsewhere).ca_file)
    with Connection(endpoint) as connection, pytest.raises(CloudError) as caught:
        connection.wait_ready(LONG_S)

    assert caught.value.reason == "tls"
    assert "cannot be trusted" in caught.value.message


@pytest.mark.parametrize("kind", ["none", "foreign"])
def test_given_no_valid_client_certificate_when_connecting_then_it_ends_with_a_reason(
    bench: Bench, tmp_path: Path, kind: str
) -> None:
    endpoint = replace(bench.endpoint(), cert_file=None, key_file=None)
    if kind == "foreign":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        cert_file, key_file = Certificates(elsewhere).thing(THING)
        endpoint = replace(endpoint, cert_file=cert_file, key_file=key_file)
    with Connection(endpoint, backoff=Backoff(0.02, 0.1)) as connection, pytest.raises(CloudError) as caught:
        connection.wait_ready(LONG_S)

    # The alert of TLS 1.3 can be overtaken by the broker's hanging up.
    assert caught.value.reason in {"tls", "connection-refused-by-broker"}
    assert "certificate" in f"{caught.value.message} {caught.value.hint}"


def test_given_two_clients_with_one_client_id_when_they_throw_each_other_out_then_one_ends_with_that_reason(
    bench: Bench,
) -> None:
    ended: queue.Queue[CloudError | None] = queue.Queue()

    class Watcher(Recorder):
        def __init__(self, connection: Connection) -> None:
            super().__init__()
            self._connection = connection

        def on_lost(self) -> None:
            if self._connection.failure is not None:
                ended.put(self._connection.failure)

    with bench.connection("same") as first, bench.connection("same") as second:
        first.add_listener(Watcher(first))
        second.add_listener(Watcher(second))
        failure = ended.get(timeout=LONG_S)

    assert failure is not None
    assert failure.reason == "client-id-taken"
    assert "'same'" in failure.message


def test_given_a_message_the_broker_would_choke_on_when_published_then_the_connection_does_not_suffer(
    bench: Bench,
) -> None:
    with bench.connection() as connection:
        with pytest.raises(CloudError, match="too large"):
            connection.publish("lab/x", bytes(128 * 1024 + 1))
        connection.publish("lab/x", bytes(100 * 1024), timeout_s=LONG_S)
