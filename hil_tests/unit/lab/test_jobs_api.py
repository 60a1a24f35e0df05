"""The device API on the wire: topics, members, tokens, codes; and the service's thread around it."""

import json
import queue
from typing import Any

import pytest

from bridge.errors import CloudError
from bridge.lab.jobs_api import JobsApi
from bridge.lab.jobs_model import JobsRejectedError
from bridge.lab.jobs_service import JobsService
from bridge.lab.jobs_store import JobsStore
from bridge.lab.jobs_tables import JobsTables
from hil_tests.unit.lab.clock import FakeClock

JOBS = "$aws/things/thing-a/jobs"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> JobsStore:
    store = JobsStore(clock=clock)
    store.add_thing("thing-a")
    return store


@pytest.fixture
def api(store: JobsStore, clock: FakeClock) -> JobsApi:
    return JobsApi(store, clock)


def ask(api: JobsApi, call: str, body: object = None) -> tuple[str, dict[str, Any]]:
    payload = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    reply = api.handle(f"{JOBS}/{call}", payload)
    assert reply is not None
    verdict = reply.topic.removeprefix(f"{JOBS}/{call}/")
    return verdict, json.loads(reply.payload)


def test_given_an_empty_queue_then_replies_without_an_execution(api: JobsApi) -> None:
    assert ask(api, "get", {"clientToken": "t"}) == (
        "accepted",
        {"inProgressJobs": [], "queuedJobs": [], "timestamp": 1_700_000_000, "clientToken": "t"},
    )
    assert ask(api, "start-next") == ("accepted", {"timestamp": 1_700_000_000})
    assert ask(api, "$next/get", b"") == ("accepted", {"timestamp": 1_700_000_000})


def test_given_a_job_then_described_as_aws_does(api: JobsApi, store: JobsStore) -> None:
    store.create_job("j", "thing-a", {"operation": "x"})
    expected = {
        "jobId": "j",
        "thingName": "thing-a",
        "status": "QUEUED",
        "queuedAt": 1_700_000_000,
        "lastUpdatedAt": 1_700_000_000,
        "executionNumber": 1,
        "versionNumber": 1,
    }
    assert ask(api, "$next/get")[1]["execution"] == expected | {"jobDocument": {"operation": "x"}}
    assert ask(api, "j/get", {"includeJobDocument": False})[1]["execution"] == expected


def test_given_a_running_job_then_its_times_are_told(
    api: JobsApi, store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", "thing-a", {})
    ask(api, "start-next", {"statusDetails": {"stage": "x"}, "stepTimeoutInMinutes": 2})
    clock.pass_minutes(0.5)
    verdict, body = ask(api, "j/get", {"executionNumber": 1})
    assert verdict == "accepted"
    assert body["execution"]["approximateSecondsBeforeTimedOut"] == 90
    assert body["execution"]["startedAt"] == 1_700_000_000
    assert body["execution"]["statusDetails"] == {"stage": "x"}


def test_given_many_jobs_then_at_most_ten_are_listed(api: JobsApi, store: JobsStore) -> None:
    for number in range(12):
        store.create_job(f"j{number}", "thing-a", {})
    ask(api, "start-next")
    _, body = ask(api, "get")
    assert [one["jobId"] for one in body["inProgressJobs"]] == ["j0"]
    assert [one["jobId"] for one in body["queuedJobs"]] == [f"j{number}" for number in range(1, 11)]


def test_given_an_update_then_state_and_document_only_when_asked(api: JobsApi, store: JobsStore) -> None:
    store.create_job("j", "thing-a", {"d": 1})
    assert ask(api, "j/update", {"status": "IN_PROGRESS", "clientToken": ""}) == (
        "accepted",
        {"timestamp": 1_700_000_000, "clientToken": ""},
    )
    _, body = ask(
        api,
        "j/update",
        {"status": "IN_PROGRESS", "includeJobExecutionState": True, "includeJobDocument": True},
    )
    assert body["executionState"] == {"status": "IN_PROGRESS", "statusDetails": {}, "versionNumber": 3}
    assert body["jobDocument"] == {"d": 1}


def test_given_an_update_as_nordics_library_sends_it_then_accepted(api: JobsApi, store: JobsStore) -> None:
    store.create_job("j", "thing-a", {})
    body = {"status": "IN_PROGRESS", "statusDetails": None, "expectedVersion": "1", "clientToken": ""}
    assert ask(api, "j/update", body)[0] == "accepted"


@pytest.mark.parametrize(
    ("call", "body", "code"),
    [
        ("get", b"\xff", "InvalidJson"),
        ("get", b"{", "InvalidJson"),
        ("get", b"[]", "InvalidJson"),
        ("get", {"clientToken": 3}, "InvalidRequest"),
        ("get", {"clientToken": "x" * 65}, "InvalidRequest"),
        ("j/get", {"includeJobDocument": "yes"}, "InvalidRequest"),
        ("j/get", {"executionNumber": "one"}, "InvalidRequest"),
        ("j/get", {"executionNumber": 2}, "ResourceNotFound"),
        ("nope/get", {}, "ResourceNotFound"),
        ("j.1/get", {}, "InvalidRequest"),
        ("j/update", {}, "InvalidRequest"),
        ("j/update", {"status": "CANCELED"}, "InvalidRequest"),
        ("j/update", {"status": "IN_PROGRESS", "expectedVersion": 9}, "VersionMismatch"),
        ("j/what", {}, "InvalidTopic"),
        ("stop", {}, "InvalidTopic"),
        ("j/get/more", {}, "InvalidTopic"),
    ],
)
def test_given_a_request_that_cannot_be_then_rejected_with_its_code(
    api: JobsApi, store: JobsStore, call: str, body: object, code: str
) -> None:
    store.create_job("j", "thing-a", {})
    verdict, answer = ask(api, call, body)
    assert (verdict, answer["code"]) == ("rejected", code)
    assert ("executionState" in answer) is (code == "VersionMismatch")
    assert answer["message"]
    assert answer["timestamp"] == 1_700_000_000


def test_given_a_rejection_then_token_and_state_are_in_it(api: JobsApi, store: JobsStore) -> None:
    store.create_job("j", "thing-a", {})
    ask(api, "j/update", {"status": "FAILED", "statusDetails": {"reason": "x"}})
    _, body = ask(api, "j/update", {"status": "SUCCEEDED", "clientToken": "t"})
    assert body["code"] == "InvalidStateTransition"
    assert body["clientToken"] == "t"
    assert body["executionState"] == {
        "status": "FAILED",
        "statusDetails": {"reason": "x"},
        "versionNumber": 2,
    }
    assert ask(api, "j/get")[1]["code"] == "TerminalStateReached"


@pytest.mark.parametrize("topic", ["notify", "notify-next", "get/accepted", "j/update/rejected"])
def test_given_a_topic_of_the_service_itself_then_no_reply(api: JobsApi, topic: str) -> None:
    assert api.handle(f"{JOBS}/{topic}", b"{}") is None


def test_given_a_bug_in_the_store_then_the_device_still_hears_internal_error(
    api: JobsApi, store: JobsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(store.device, "_state")
    assert ask(api, "get", {"clientToken": "t"})[1]["code"] == "InternalError"


class RecordingFront:
    """A front without a broker."""

    def __init__(self) -> None:
        self.published: queue.SimpleQueue[tuple[str, dict[str, Any]]] = queue.SimpleQueue()
        self.closed = False

    def start(self, api: JobsApi) -> None:
        self.api = api

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.put((topic.removeprefix(f"{JOBS}/"), json.loads(payload)))

    def close(self) -> None:
        self.closed = True


def test_given_a_running_service_then_changes_are_notified_in_order(
    store: JobsStore, clock: FakeClock
) -> None:
    front = RecordingFront()
    with JobsService(store, front, clock=clock):
        store.create_job("j", "thing-a", {"d": 1})
        topic, body = front.published.get(timeout=5)
        assert (topic, list(body["jobs"])) == ("notify", ["QUEUED"])
        topic, body = front.published.get(timeout=5)
        assert (topic, body["execution"]["jobDocument"]) == ("notify-next", {"d": 1})
        store.cancel_job("j")
        assert front.published.get(timeout=5) == ("notify", {"jobs": {}, "timestamp": 1_700_000_000})
        assert front.published.get(timeout=5) == ("notify-next", {"timestamp": 1_700_000_000})
    assert front.closed


def test_given_a_timer_that_runs_out_then_the_service_notices_by_itself(
    store: JobsStore, clock: FakeClock
) -> None:
    front = RecordingFront()
    with JobsService(store, front, clock=clock) as service:
        store.create_job("j", "thing-a", {}, in_progress_timeout_minutes=1)
        store.device.start_next("thing-a")
        seen = [front.published.get(timeout=5)[0] for _ in range(3)]
        clock.pass_minutes(2)
        service.wake()
        seen.append(front.published.get(timeout=5)[0])
        assert store.describe_execution("j", "thing-a").status == "TIMED_OUT"
    assert seen == ["notify", "notify-next", "notify", "notify"]


def test_given_a_service_that_never_started_then_it_closes_all_the_same(store: JobsStore) -> None:
    front = RecordingFront()
    JobsService(store, front).close()
    assert front.closed


def test_given_notifications_that_cannot_be_built_then_the_service_lives_on(clock: FakeClock) -> None:
    def broken_presigner(url: str, expires_in_s: int) -> str:
        raise RuntimeError(url)

    store, front = JobsStore(clock=clock, presigner=broken_presigner), RecordingFront()
    store.add_thing("thing-a")
    store.create_job("deleted", "thing-a", {})
    _, head_of_deleted = store.take_notifications()
    store.delete_job("deleted", force=True)
    store.take_notifications()
    service = JobsService(store, front, clock=clock)
    with pytest.raises(JobsRejectedError, match="deleted"):
        JobsApi(store, clock).notification(head_of_deleted)
    with service:
        service._announce(head_of_deleted)
        store.create_job("j", "thing-a", {"url": "${aws:iot:s3-presigned-url:https://x/y}"})
        store.cancel_job("j")
        assert front.published.get(timeout=5)[0] == "notify"
        assert front.published.get(timeout=5) == ("notify", {"jobs": {}, "timestamp": 1_700_000_000})


def test_given_a_throttled_service_then_the_device_reads_so_and_nothing_changes(
    api: JobsApi, store: JobsStore
) -> None:
    store.create_job("j", "thing-a", {})
    store.faults.throttle(2, call="update")
    for _ in range(2):
        verdict, body = ask(api, "j/update", {"status": "IN_PROGRESS", "clientToken": "t"})
        assert (verdict, body["code"], body["clientToken"]) == ("rejected", "RequestThrottled", "t")
    assert ask(api, "get")[0] == "accepted"
    assert ask(api, "j/update", {"status": "IN_PROGRESS"})[0] == "accepted"
    assert store.describe_execution("j", "thing-a").version_number == 2
    store.faults.throttle()
    assert ask(api, "get")[1]["code"] == ask(api, "start-next")[1]["code"] == "RequestThrottled"
    store.faults.clear()
    assert ask(api, "get")[0] == "accepted"
    assert store.faults.throttled == 4


class FullDisk:
    """A ledger that cannot write."""

    def save(self, tables: JobsTables) -> None:
        raise CloudError("no room", reason="jobs-database")


def test_given_a_full_disk_then_requests_fail_but_timers_and_notifications_go_on(clock: FakeClock) -> None:
    store, front = JobsStore(clock=clock), RecordingFront()
    store.add_thing("thing-a")
    store.create_job("j", "thing-a", {}, in_progress_timeout_minutes=1)
    store.device.start_next("thing-a")
    store.take_notifications()
    with JobsService(store, front, clock=clock) as service:
        store._state.ledger = FullDisk()
        api = JobsApi(store, clock)
        assert ask(api, "j/update", {"status": "IN_PROGRESS"})[1]["code"] == "InternalError"
        clock.pass_minutes(1)
        service.wake()
        assert front.published.get(timeout=5) == ("notify", {"jobs": {}, "timestamp": 1_700_000_060})
        assert front.published.get(timeout=5)[0] == "notify-next"
