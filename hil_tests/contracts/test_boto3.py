"""boto3 as deployment tools use it: control plane and data plane of AWS IoT Jobs against our HTTP API."""

import http.client
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest import jobs_routes
from hil_tests.contracts.boto_shapes import ShapeWatch
from hil_tests.lab_rig import Certificates, https_server
from hil_tests.unit.lab.clock import FakeClock

pytestmark = pytest.mark.contract

DOCUMENT = json.dumps({"operation": "app_fw_update"})


@pytest.fixture
def store() -> JobsStore:
    return JobsStore(clock=FakeClock())


@pytest.fixture
def client(store: JobsStore, tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Makes boto3 clients for a service; closes them."""
    certificates = Certificates(tmp_path)
    clients: list[Any] = []
    watch = ShapeWatch()

    def make(service: str) -> Any:
        made: Any = boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="anything",
            aws_secret_access_key="goes",
            verify=str(certificates.ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        clients.append(made)
        watch.watch(made)
        return made

    routes = jobs_routes(store, mqtt_endpoint=lambda: "localhost:8883", clock=FakeClock())
    with https_server(certificates, routes) as url:
        yield make
        for made in clients:
            made.close()
    assert watch.wrong == []


@pytest.fixture
def iot(client: Callable[[str], Any]) -> Any:
    return client("iot")


@pytest.fixture
def device(client: Callable[[str], Any]) -> Any:
    return client("iot-jobs-data")


def refused(call: Callable[..., object], **arguments: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def create(iot: Any, job_id: str = "job-1", *things: str, **members: object) -> Any:
    arns = [iot.create_thing(thingName=thing)["thingArn"] for thing in things or ("thing-a",)]
    return iot.create_job(jobId=job_id, targets=arns, document=DOCUMENT, **members)


def test_given_boto3_when_it_creates_a_job_then_it_can_describe_it(iot: Any, store: JobsStore) -> None:
    created = create(
        iot,
        "job-1",
        "thing-a",
        "thing-b",
        description="first",
        targetSelection="SNAPSHOT",
        timeoutConfig={"inProgressTimeoutInMinutes": 30},
        jobExecutionsRetryConfig={"criteriaList": [{"failureType": "FAILED", "numberOfRetries": 2}]},
        presignedUrlConfig={"expiresInSec": 120},
    )
    assert (created["jobId"], created["description"]) == ("job-1", "first")
    job = iot.describe_job(jobId="job-1")["job"]
    assert (job["status"], job["jobArn"]) == ("IN_PROGRESS", created["jobArn"])
    assert job["targets"] == [
        iot.describe_thing(thingName=name)["thingArn"] for name in ("thing-a", "thing-b")
    ]
    assert job["createdAt"] == datetime.fromtimestamp(1_700_000_000, UTC)
    assert job["jobProcessDetails"]["numberOfQueuedThings"] == 2
    assert job["timeoutConfig"] == {"inProgressTimeoutInMinutes": 30}
    assert job["presignedUrlConfig"] == {"expiresInSec": 120}
    assert job["jobExecutionsRetryConfig"]["criteriaList"][0]["numberOfRetries"] == 2
    assert iot.get_job_document(jobId="job-1")["document"] == DOCUMENT
    assert [one["jobId"] for one in iot.list_jobs()["jobs"]] == ["job-1"]
    assert [one["jobId"] for one in iot.list_jobs(status="IN_PROGRESS")["jobs"]] == ["job-1"]
    assert iot.list_jobs(status="SCHEDULED")["jobs"] == []
    assert [one["thingName"] for one in iot.list_things()["things"]] == ["thing-a", "thing-b"]
    assert iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"] == "localhost:8883"


def test_given_the_data_plane_then_it_works_a_job_that_the_control_plane_sees(iot: Any, device: Any) -> None:
    create(iot, "job-1", timeoutConfig={"inProgressTimeoutInMinutes": 30})
    assert device.get_pending_job_executions(thingName="thing-a")["queuedJobs"][0]["jobId"] == "job-1"
    assert (
        device.describe_job_execution(thingName="thing-a", jobId="$next")["execution"]["status"] == "QUEUED"
    )
    started = device.start_next_pending_job_execution(
        thingName="thing-a", statusDetails={"stage": "fetch"}, stepTimeoutInMinutes=10
    )["execution"]
    assert (started["versionNumber"], json.loads(started["jobDocument"])) == (
        2,
        {"operation": "app_fw_update"},
    )
    bare = device.describe_job_execution(thingName="thing-a", jobId="job-1", includeJobDocument=False)
    assert "jobDocument" not in bare["execution"]
    seen = iot.describe_job_execution(thingName="thing-a", jobId="job-1")["execution"]
    assert (seen["status"], seen["approximateSecondsBeforeTimedOut"]) == ("IN_PROGRESS", 600)
    assert seen["statusDetails"] == {"detailsMap": {"stage": "fetch"}}
    updated = device.update_job_execution(
        thingName="thing-a",
        jobId="job-1",
        status="SUCCEEDED",
        expectedVersion=2,
        includeJobExecutionState=True,
        includeJobDocument=True,
    )
    assert updated["executionState"]["versionNumber"] == 3
    assert updated["jobDocument"] == DOCUMENT
    assert iot.describe_job(jobId="job-1")["job"]["jobProcessDetails"]["numberOfSucceededThings"] == 1
    assert iot.list_jobs(status="COMPLETED")["jobs"][0]["completedAt"]
    assert "execution" not in device.start_next_pending_job_execution(thingName="thing-a")
    assert "execution" not in device.describe_job_execution(thingName="thing-a", jobId="$next")
    gone = refused(device.describe_job_execution, thingName="thing-a", jobId="job-1")
    assert gone == ("TerminalStateException", 410)


def test_given_executions_then_listed_by_job_and_by_thing(iot: Any, store: JobsStore) -> None:
    create(iot, "job-1", "thing-a", "thing-b")
    store.device.start_next("thing-a")
    listed = iot.list_job_executions_for_job(jobId="job-1")["executionSummaries"]
    assert [one["jobExecutionSummary"]["status"] for one in listed] == ["IN_PROGRESS", "QUEUED"]
    queued = iot.list_job_executions_for_job(jobId="job-1", status="QUEUED")["executionSummaries"]
    assert queued[0]["thingArn"].endswith(":thing/thing-b")
    of_thing = iot.list_job_executions_for_thing(thingName="thing-a")["executionSummaries"]
    assert [(one["jobId"], one["jobExecutionSummary"]["executionNumber"]) for one in of_thing] == [
        ("job-1", 1)
    ]
    assert iot.list_job_executions_for_thing(thingName="thing-a", status="FAILED")["executionSummaries"] == []


def test_given_cancel_and_delete_then_force_decides(iot: Any, store: JobsStore) -> None:
    create(iot, "job-1", "thing-a", "thing-b")
    store.device.start_next("thing-a")
    cancel = iot.cancel_job_execution
    assert refused(cancel, jobId="job-1", thingName="thing-a") == ("InvalidStateTransitionException", 409)
    stale = refused(cancel, jobId="job-1", thingName="thing-a", force=True, expectedVersion=9)
    assert stale == ("VersionConflictException", 409)
    cancel(jobId="job-1", thingName="thing-a", force=True, statusDetails={"why": "x"})
    assert store.describe_execution("job-1", "thing-a").status_details == {"why": "x"}
    assert refused(iot.delete_job, jobId="job-1") == ("InvalidStateTransitionException", 409)
    iot.cancel_job(jobId="job-1", reasonCode="BAD", comment="oops")
    job = iot.describe_job(jobId="job-1")["job"]
    assert (job["status"], job["reasonCode"], job["comment"]) == ("CANCELED", "BAD", "oops")
    iot.delete_job_execution(jobId="job-1", thingName="thing-b", executionNumber=1)
    iot.delete_job(jobId="job-1")
    assert refused(iot.describe_job, jobId="job-1") == ("ResourceNotFoundException", 404)
    iot.delete_thing(thingName="thing-a")
    assert refused(iot.describe_thing, thingName="thing-a") == ("ResourceNotFoundException", 404)


def test_given_requests_that_cannot_be_then_the_errors_of_aws(iot: Any, device: Any) -> None:
    create(iot, "job-1")
    assert refused(create, iot=iot, job_id="job-1") == ("ResourceAlreadyExistsException", 409)
    unknown = {"jobId": "job-2", "targets": ["arn:aws:iot:us-east-1:1:thing/x"], "document": DOCUMENT}
    assert refused(iot.create_job, **unknown) == ("ResourceNotFoundException", 404)
    assert refused(device.get_pending_job_executions, thingName="x") == ("ResourceNotFoundException", 404)
    update = {"thingName": "thing-a", "jobId": "job-1", "status": "SUCCEEDED"}
    assert refused(device.update_job_execution, **update, expectedVersion=9) == (
        "VersionConflictException",
        409,
    )
    device.update_job_execution(**update)
    assert refused(device.update_job_execution, **update) == ("InvalidStateTransitionException", 409)
    long_detail = {"statusDetails": {"k": "v" * 1025}}
    assert refused(device.update_job_execution, **update, **long_detail) == ("InvalidRequestException", 400)


@pytest.mark.parametrize(
    "members",
    [
        {"document": "{no json"},
        {"document": None},
        {"targets": ["arn:aws:iot:us-east-1:1:billinggroup/all"]},
        {"documentSource": "https://s3.us-east-1.amazonaws.com/bucket/key", "document": None},
        {
            "schedulingConfig": {
                "maintenanceWindows": [{"startTime": "cron(0 0 * * ? *)", "durationInMinutes": 5}]
            }
        },
        {"jobTemplateArn": "arn:aws:iot:us-east-1::jobtemplate/AWS-Reboot:1.0"},
        {"namespaceId": "x"},
        {"jobExecutionsRolloutConfig": {"maximumPerMinute": 1001}},
        {"timeoutConfig": {"inProgressTimeoutInMinutes": 0}},
    ],
)
def test_given_what_the_local_cloud_does_not_do_then_refused_rather_than_ignored(
    iot: Any, members: dict[str, object]
) -> None:
    arn = iot.create_thing(thingName="thing-a")["thingArn"]
    wanted = {"targets": [arn], "document": DOCUMENT} | members
    request = {name: value for name, value in wanted.items() if value is not None}
    assert refused(iot.create_job, jobId="job-1", **request) == ("InvalidRequestException", 400)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/jobs/job-1", b"{no json", 400),
        ("PUT", "/jobs/job-1", b"[]", 400),
        ("PUT", "/jobs/job-1", b'{"document": "{}"}', 400),
        ("PUT", "/jobs/job-1", b'{"document": "{}", "targets": [], "timeoutConfig": 3}', 400),
        ("POST", "/things/thing-a/jobs/job-1", b"{}", 403),  # neither signed nor with a certificate
        ("PUT", "/things/no%20thing/jobs/job-1/cancel", b"", 400),
        ("GET", "/jobs?maxResults=many", b"", 400),
        ("GET", "/jobs?nonsense=1", b"", 400),
        ("PUT", "/jobs/job-1", b'{"jobId": "job-1", "document": "{}", "targets": ["x"]}', 400),
        ("GET", "/nothing/here", b"", 404),
    ],
)
def test_given_a_request_that_boto3_would_not_send_then_refused_as_well(
    store: JobsStore, tmp_path: Path, method: str, path: str, body: bytes, status: int
) -> None:
    certificates = Certificates(tmp_path)
    store.add_thing("thing-a")
    with https_server(certificates, jobs_routes(store, mqtt_endpoint=str)) as url:
        port = int(url.rsplit(":", 1)[1])
        connection = http.client.HTTPSConnection("localhost", port, context=certificates.client_context(None))
        connection.request(method, path, body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
    assert answer.status == status
    assert bool(answer.headers["x-amzn-ErrorType"]) is (path != "/nothing/here")
