"""Parts of the operator's side without a cloud: requests, verdicts, errors of AWS's library, throttling."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore import exceptions
from rich.console import Console

from bridge.cli.job_view import snapshot_view
from bridge.cloud import deploy
from bridge.cloud.deploy import CloudAccess, ControlPlane, translated
from bridge.cloud.deploy_jobs import ExecutionState, JobState
from bridge.cloud.deploy_order import JobOrder, StoredImage, document_for, new_job_id
from bridge.cloud.deploy_watch import JobNotSucceededError, JobSnapshot, JobWatch, require_success
from bridge.cloud.document import parse_document
from bridge.cloud.thing_policy import policy_for, policy_name
from bridge.errors import BridgeError, CloudError, UsageError
from bridge.image import inspect_file
from bridge.lab.iot_policy import PolicyDocument
from bridge.lab.sample_images import SampleImages

JOB = JobState("j1", "arn:aws:iot:us-east-1:1:job/j1", "COMPLETED", continuous=False)


def execution(thing: str, status: str, **details: str) -> ExecutionState:
    return ExecutionState(thing, status, 1, details=details)


def snapshot(*executions: ExecutionState, status: str = "COMPLETED") -> JobSnapshot:
    job = JobState("j1", JOB.arn, status, continuous=False)
    return JobSnapshot(job, executions)


def test_a_request_holds_what_was_ordered_and_nothing_else() -> None:
    bare = JobOrder("j1", {"location": {"url": "https://h/x"}}).to_request(["arn"])
    assert bare == {
        "jobId": "j1",
        "targets": ["arn"],
        "document": '{"location": {"url": "https://h/x"}}',
        "targetSelection": "SNAPSHOT",
    }
    full = JobOrder("j1", {}, continuous=True, retries=2, timeout_minutes=5, abort_on_failed_percent=10.0)
    request = full.to_request(["arn"])
    assert request["targetSelection"] == "CONTINUOUS"
    assert request["jobExecutionsRetryConfig"]["criteriaList"] == [
        {"failureType": "ALL", "numberOfRetries": 2}
    ]
    assert {each["failureType"] for each in request["abortConfig"]["criteriaList"]} == {"FAILED", "TIMED_OUT"}
    with pytest.raises(UsageError, match="characters"):
        JobOrder("j1", {"x": "y" * 32768}).to_request(["arn"])


def test_documents_that_we_write_are_documents_that_we_read(tmp_path: Path) -> None:
    image = inspect_file(SampleImages(tmp_path).application("2.0.0", size_bytes=8_000))
    place = StoredImage("bucket", "images/a b.bin", "cn-north-1")
    document = document_for(image, place.url, board="nrf9151dk", image_index=1)
    read = parse_document(document)
    assert (read.fw_version, read.size_bytes, read.sha256) == ("2.0.0", image.size_bytes, image.sha256)
    assert read.url == "https://s3.cn-north-1.amazonaws.com.cn/bucket/images/a%20b.bin"
    moment = datetime(2026, 11, 26, 21, 30, tzinfo=UTC)
    assert new_job_id(image, moment) == "application-2-0-0-20261126T213000"


def test_a_policy_names_one_thing_and_any_partition() -> None:
    text = policy_for("arn:aws-cn:iot:cn-north-1:123456789012:thing/THING:1")
    assert "arn:aws-cn:iot:cn-north-1:123456789012:client/THING:1" in text
    assert "topic/$aws/things/THING:1/jobs/*" in text
    assert "REGION" not in text
    assert PolicyDocument.parse(text).statements
    assert policy_name("a:b") == "nrf91-bridge-a=b"
    assert len(policy_name("x" * 128)) <= 128
    with pytest.raises(UsageError, match="ARN"):
        policy_for("arn:aws:iot:us-east-1:1:job/x")


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        (
            snapshot(execution("a", "SUCCEEDED"), execution("b", "REJECTED", reason="same-version")),
            "job-failed",
            "same-version",
        ),
        (snapshot(execution("a", "SUCCEEDED"), status="CANCELED"), "job-canceled", "1 SUCCEEDED"),
        (snapshot(), "job-without-things", "no things"),
        (snapshot(execution("a", "REMOVED")), "job-without-things", "no things"),
    ],
)
def test_only_success_everywhere_is_success(seen: JobSnapshot, reason: str, words: str) -> None:
    with pytest.raises(JobNotSucceededError, match=words) as caught:
        require_success(seen)
    assert (caught.value.reason, caught.value.exit_code) == (reason, 8)
    require_success(snapshot(execution("a", "SUCCEEDED"), execution("b", "REMOVED")))


class Jobs:
    """Answers what it was given, one after the other."""

    def __init__(self, *answers: str | CloudError) -> None:
        self.answers = [*answers]
        self.described = 0

    def describe(self, _job_id: str) -> JobState:
        answer = self.answers.pop(0)
        if isinstance(answer, CloudError):
            raise answer
        return JobState("j1", JOB.arn, answer, continuous=False)

    def executions(self, _job_id: str) -> list[ExecutionState]:
        status = "SUCCEEDED" if not self.answers else "IN_PROGRESS"
        return [execution("a", status), execution("b", "SUCCEEDED"), execution("c", "QUEUED")]

    def execution(self, _job_id: str, thing: str, _number: int) -> ExecutionState:
        self.described += 1
        return execution(thing, "SUCCEEDED", stage="done")


def test_watching_waits_longer_while_the_cloud_is_busy_and_asks_for_news_only() -> None:
    throttled = CloudError("slowly", reason="throttled")
    jobs = Jobs("IN_PROGRESS", throttled, throttled, "IN_PROGRESS", "COMPLETED")
    pauses: list[float] = []

    def wait(pause_s: float) -> bool:
        pauses.append(pause_s)
        return False

    watch = JobWatch(jobs, "j1", interval_s=1.0, wait=wait)  # type: ignore[arg-type]
    assert [each.job.status for each in watch.follow()] == ["IN_PROGRESS", "IN_PROGRESS", "COMPLETED"]
    assert pauses == [1.0, 2.0, 4.0, 1.0]
    assert jobs.described == 3  # "a" each time while it moves, "b" once, "c" never


def test_watching_ends_with_an_error_that_does_not_pass_and_when_told() -> None:
    gone = JobWatch(Jobs(CloudError("gone", reason="not-found")), "j1")  # type: ignore[arg-type]
    with pytest.raises(CloudError, match="gone"):
        list(gone.follow())
    stopped = JobWatch(Jobs("IN_PROGRESS", "IN_PROGRESS"), "j1", wait=lambda _: True)  # type: ignore[arg-type]
    assert len(list(stopped.follow())) == 1


def test_people_see_a_line_a_thing() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    details = {"stage": "transfer", "percent": "40", "rate": "12300"}
    moving = execution("a", "IN_PROGRESS", **details, from_version="1.0.0", to_version="2.0.0")
    console.print(
        snapshot_view(snapshot(moving, execution("b", "FAILED", reason="reverted"), status="IN_PROGRESS"))
    )
    text = console.export_text()
    assert "40 % 12.3 kB/s" in text
    assert "1.0.0 -> 2.0.0" in text
    assert "reverted" in text


def client_error(code: str) -> exceptions.ClientError:
    return exceptions.ClientError({"Error": {"Code": code, "Message": "No."}}, "CreateJob")


@pytest.mark.parametrize(
    ("raised", "family", "reason"),
    [
        (client_error("AccessDeniedException"), CloudError, "not-authorized"),
        (client_error("UnrecognizedClientException"), CloudError, "bad-credentials"),
        (client_error("ThrottlingException"), CloudError, "throttled"),
        (client_error("SomethingNew"), CloudError, "refused-by-cloud"),
        (exceptions.NoCredentialsError(), UsageError, "no-credentials"),
        (exceptions.ProfileNotFound(profile="x"), UsageError, "bad-aws-options"),
        (exceptions.NoRegionError(), UsageError, "bad-aws-options"),
        (exceptions.SSLError(endpoint_url="u", error="self-signed"), CloudError, "tls"),
        (exceptions.EndpointConnectionError(endpoint_url="u"), CloudError, "api-unreachable"),
        (exceptions.ReadTimeoutError(endpoint_url="u"), CloudError, "api-unreachable"),
        (exceptions.DataNotFoundError(data_path="x"), CloudError, "aws"),
    ],
)
def test_errors_of_the_library_become_ours(raised: Exception, family: type[BridgeError], reason: str) -> None:
    with pytest.raises(family) as caught, translated("create a job"):
        raise raised
    assert caught.value.reason == reason
    assert caught.value.message.startswith("cannot create a job") or reason == "no-credentials"


def test_without_boto3_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(UsageError) as caught:
        ControlPlane(CloudAccess())
    assert caught.value.reason == "missing-extra"
    assert "nrf91-bridge[aws]" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("access", "reason"),
    [
        (CloudAccess(access_key=("a", "b")), "no-region"),
        (CloudAccess(profile="none", region="us-east-1"), "bad-aws-options"),
        (CloudAccess("https://h", Path("none.pem"), region="x", access_key=("a", "b")), "bad-certificate"),
    ],
)
def test_a_session_needs_what_it_needs(
    access: CloudAccess, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(UsageError) as caught:
        ControlPlane(access)
    assert caught.value.reason == reason


def test_clients_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Session:
        region_name = "us-east-1"

        def __init__(self, **_: object) -> None: ...

        def get_credentials(self) -> object:
            return object()

        def client(self, service: str, **options: Any) -> Any:
            assert options["config"].retries["mode"] == "standard"
            close: Callable[[], None] = lambda: closed.append(service)  # noqa: E731
            return type("Client", (), {"close": staticmethod(close)})()

    monkeypatch.setattr(deploy, "_boto3", lambda: type("boto3", (), {"Session": Session}))
    with ControlPlane(CloudAccess()) as plane:
        assert plane.iot is plane.iot
        assert plane.s3 is not None
    assert closed == ["iot", "s3"]
