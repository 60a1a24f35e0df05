"""boto3 on thing groups, rollouts, paging and tags; and every operation that we serve, its answers held against AWS's model."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bridge.lab.jobs_model import JobsRejectedError, RejectionCode
from bridge.lab.jobs_store import JobsStore
from bridge.lab.rest import jobs_handlers, jobs_routes, routes_of
from hil_tests.contracts.boto_shapes import ShapeWatch, problems
from hil_tests.lab_rig import Certificates, https_server
from hil_tests.unit.lab.clock import FakeClock

pytestmark = pytest.mark.contract

DOCUMENT = json.dumps({"operation": "app_fw_update"})
S3_URL = "https://s3.eu-west-1.amazonaws.com/bucket/document.json"


class Account:
    """Clients of one local cloud, whose answers are all looked at."""

    def __init__(self, url: str, ca_file: Path, store: JobsStore, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.watch = ShapeWatch()
        self.iot, self.device = (self._client(service, url, ca_file) for service in ("iot", "iot-jobs-data"))

    def _client(self, service: str, url: str, ca_file: Path) -> Any:
        client: Any = boto3.client(
            service,
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="anything",
            aws_secret_access_key="goes",
            verify=str(ca_file),
            config=Config(retries={"total_max_attempts": 1}, proxies={}),
        )
        self.watch.watch(client)
        return client

    def thing(self, name: str) -> str:
        """Make a thing; gives its ARN."""
        arn: str = self.iot.create_thing(thingName=name)["thingArn"]
        return arn

    def group(self, name: str, *things: str, **members: object) -> str:
        """Make a group with things in it; gives its ARN."""
        arn: str = self.iot.create_thing_group(thingGroupName=name, **members)["thingGroupArn"]
        for thing in things:
            self.iot.add_thing_to_thing_group(thingGroupName=name, thingName=thing)
        return arn

    def job(self, job_id: str, *targets: str, **members: object) -> Any:
        """Make a job."""
        return self.iot.create_job(jobId=job_id, targets=[*targets], document=DOCUMENT, **members)


@pytest.fixture
def account(tmp_path: Path) -> Iterator[Account]:
    """A new local cloud's HTTP API; in the end every answer must have been as the model says."""
    certificates, clock = Certificates(tmp_path), FakeClock()
    store = JobsStore(clock=clock)

    def read_document(url: str) -> str:
        if url != S3_URL:
            raise JobsRejectedError(RejectionCode.INVALID_REQUEST, "no such object")
        return DOCUMENT

    routes = jobs_routes(
        store, mqtt_endpoint=lambda: "localhost:8883", clock=clock, read_document=read_document
    )
    with https_server(certificates, routes) as url:
        account = Account(url, certificates.ca_file, store, clock)
        yield account
        account.iot.close()
        account.device.close()
    assert account.watch.wrong == []


def refused(call: Callable[..., object], **arguments: object) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


INVALID = ("InvalidRequestException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404)
CONFLICT = ("VersionConflictException", 409)


def test_given_a_group_then_described_changed_listed_and_deleted(account: Account) -> None:
    iot = account.iot
    account.thing("a")
    account.group("top", tags=[{"Key": "site", "Value": "x"}])
    properties = {"thingGroupDescription": "below", "attributePayload": {"attributes": {"line": "1"}}}
    arn = account.group("leaf", "a", parentGroupName="top", thingGroupProperties=properties)
    found = iot.describe_thing_group(thingGroupName="leaf")
    assert (found["thingGroupArn"], found["version"], found["thingGroupProperties"]) == (arn, 1, properties)
    metadata = found["thingGroupMetadata"]
    assert (metadata["parentGroupName"], metadata["rootToParentThingGroups"][0]["groupName"]) == (
        "top",
        "top",
    )
    assert metadata["creationDate"] == datetime.fromtimestamp(account.clock.now, UTC)
    more = {"attributePayload": {"attributes": {"shift": "2"}, "merge": True}}
    update = iot.update_thing_group
    assert update(thingGroupName="leaf", thingGroupProperties=more, expectedVersion=1)["version"] == 2
    stale = refused(update, thingGroupName="leaf", thingGroupProperties=more, expectedVersion=1)
    assert stale == CONFLICT
    names = [one["groupName"] for one in iot.list_thing_groups(namePrefixFilter="l")["thingGroups"]]
    assert names == ["leaf"]
    assert iot.list_things_in_thing_group(thingGroupName="top")["things"] == []
    assert iot.list_things_in_thing_group(thingGroupName="top", recursive=True)["things"] == ["a"]
    assert iot.list_thing_groups_for_thing(thingName="a")["thingGroups"] == [
        {"groupName": "leaf", "groupArn": arn}
    ]
    assert refused(iot.delete_thing_group, thingGroupName="top") == INVALID
    iot.delete_thing_group(thingGroupName="leaf")
    iot.delete_thing_group(thingGroupName="leaf")
    assert refused(iot.describe_thing_group, thingGroupName="leaf") == NOT_FOUND


def test_given_names_or_arns_then_things_move_between_groups(account: Account) -> None:
    iot, thing = account.iot, account.thing("a")
    one, two = account.group("one"), account.group("two")
    iot.add_thing_to_thing_group(thingGroupArn=one, thingArn=thing)
    iot.update_thing_groups_for_thing(thingName="a", thingGroupsToAdd=["two"], thingGroupsToRemove=["one"])
    assert iot.list_thing_groups_for_thing(thingName="a")["thingGroups"][0]["groupArn"] == two
    iot.remove_thing_from_thing_group(thingGroupName="two", thingArn=thing)
    assert iot.list_things_in_thing_group(thingGroupName="two")["things"] == []
    assert refused(iot.add_thing_to_thing_group, thingName="a") == INVALID
    assert refused(iot.add_thing_to_thing_group, thingName="a", thingGroupArn=thing) == INVALID
    assert refused(iot.add_thing_to_thing_group, thingName="a", thingGroupName="none") == NOT_FOUND


def test_given_a_continuous_rollout_then_all_of_it_is_told_and_changed(account: Account) -> None:
    iot = account.iot
    for name in ("a", "b", "c"):
        account.thing(name)
    first, second = account.group("first", "a", "b"), account.group("second", "c")
    rate = {
        "baseRatePerMinute": 1,
        "incrementFactor": 1.5,
        "rateIncreaseCriteria": {"numberOfNotifiedThings": 2},
    }
    abort = {
        "failureType": "ALL",
        "action": "CANCEL",
        "thresholdPercentage": 33.33,
        "minNumberOfExecutedThings": 1,
    }
    config = {
        "jobExecutionsRolloutConfig": {"maximumPerMinute": 5, "exponentialRate": rate},
        "abortConfig": {"criteriaList": [abort]},
        "jobExecutionsRetryConfig": {"criteriaList": [{"failureType": "ALL", "numberOfRetries": 0}]},
        "timeoutConfig": {"inProgressTimeoutInMinutes": 7},
        "presignedUrlConfig": {"roleArn": "arn:aws:iam::123456789012:role/x", "expiresInSec": 60},
        "schedulingConfig": {"endTime": "2023-11-16 00:00", "endBehavior": "FORCE_CANCEL"},
    }
    account.job("j", first, targetSelection="CONTINUOUS", description="rolling", **config)
    job = iot.describe_job(jobId="j")["job"]
    assert {name: job[name] for name in config} == config
    assert (job["targetSelection"], job["isConcurrent"], job["targets"]) == ("CONTINUOUS", True, [first])
    assert job["jobProcessDetails"]["processingTargets"] == [first]
    assert job["jobProcessDetails"]["numberOfQueuedThings"] == 1
    iot.update_job(jobId="j", description="faster", jobExecutionsRolloutConfig={"maximumPerMinute": 9})
    iot.associate_targets_with_job(jobId="j", targets=[second], comment="more")
    assert refused(iot.associate_targets_with_job, jobId="j", targets=[account.thing("a")]) == INVALID
    account.clock.pass_minutes(1)
    job = iot.describe_job(jobId="j")["job"]
    assert (job["description"], job["comment"], job["targets"]) == ("faster", "more", [first, second])
    assert job["jobProcessDetails"]["numberOfQueuedThings"] == 3
    assert "processingTargets" not in job["jobProcessDetails"]
    account.device.update_job_execution(thingName="a", jobId="j", status="FAILED")
    job = iot.describe_job(jobId="j")["job"]
    assert (job["status"], job["jobProcessDetails"]["numberOfCanceledThings"]) == ("CANCELED", 2)
    assert (job["reasonCode"], job["comment"][:7]) == ("ABORT_CRITERIA_MET", "Aborted")
    assert refused(iot.update_job, jobId="j", description="x") == INVALID


def test_given_long_lists_then_boto3_pages_through_them(account: Account) -> None:
    iot = account.iot
    names = [f"t{number:02}" for number in range(7)]
    arns = [account.thing(name) for name in names]
    group = account.group("g", *names)
    for number in range(3):
        account.job(f"j{number}", group)

    def pages(call: str, result: str, **arguments: object) -> list[Any]:
        config = {"PageSize": 2}
        found = iot.get_paginator(call).paginate(**arguments, PaginationConfig=config)
        sizes, items = zip(*((len(one[result]), one[result]) for one in found), strict=True)
        assert set(sizes[:-1]) <= {2}
        return [item for page in items for item in page]

    assert [one["thingName"] for one in pages("list_things", "things")] == names
    assert [one["jobId"] for one in pages("list_jobs", "jobs")] == ["j2", "j1", "j0"]
    executions = pages("list_job_executions_for_job", "executionSummaries", jobId="j0")
    assert [one["thingArn"] for one in executions] == arns
    of_thing = pages("list_job_executions_for_thing", "executionSummaries", thingName="t00")
    assert [one["jobId"] for one in of_thing] == ["j0", "j1", "j2"]
    assert pages("list_things_in_thing_group", "things", thingGroupName="g") == names
    assert len(pages("list_thing_groups", "thingGroups")) == 1
    token = iot.list_things(maxResults=2)["nextToken"]
    assert refused(iot.list_jobs, nextToken=token) == INVALID
    assert refused(iot.list_jobs, nextToken="nonsense") == INVALID
    assert refused(iot.list_jobs, maxResults=251) == INVALID


def test_given_filters_then_only_such_jobs(account: Account) -> None:
    iot = account.iot
    group = account.group("g", account.thing("a").rsplit("/", 1)[1])
    account.job("snap", account.thing("b"))
    account.job("cont", group, targetSelection="CONTINUOUS")

    def found(**filters: object) -> list[str]:
        return [one["jobId"] for one in iot.list_jobs(**filters)["jobs"]]

    group_id = iot.describe_thing_group(thingGroupName="g")["thingGroupId"]
    assert found(targetSelection="CONTINUOUS") == found(thingGroupName="g") == ["cont"]
    assert found(thingGroupId=group_id) == ["cont"]
    assert (found(thingGroupId="other"), found(status="CANCELED")) == ([], [])
    only = iot.list_job_executions_for_thing(thingName="a", jobId="cont", status="QUEUED")
    assert len(only["executionSummaries"]) == 1


def test_given_a_document_in_s3_then_read_from_there(account: Account) -> None:
    create, target = account.iot.create_job, account.thing("a")
    create(jobId="j", targets=[target], documentSource=S3_URL)
    assert account.iot.get_job_document(jobId="j")["document"] == DOCUMENT
    assert account.iot.describe_job(jobId="j")["documentSource"] == S3_URL
    assert refused(create, jobId="k", targets=[target], documentSource=f"{S3_URL}x") == INVALID
    assert refused(create, jobId="k", targets=[target]) == INVALID
    both = {"document": DOCUMENT, "documentSource": S3_URL}
    assert refused(create, jobId="k", targets=[target], **both) == INVALID


def test_given_a_throttled_service_then_the_data_plane_says_429_and_recovers(account: Account) -> None:
    account.thing("a")
    account.store.faults.throttle(1, call="start-next")
    start = account.device.start_next_pending_job_execution
    assert account.device.get_pending_job_executions(thingName="a")["queuedJobs"] == []
    assert refused(start, thingName="a") == ("ThrottlingException", 429)
    assert "execution" not in start(thingName="a")
    assert account.store.faults.throttled == 1


def test_given_too_many_targets_then_the_limit_as_aws_says_it(account: Account) -> None:
    arns = [account.thing(f"t{number}") for number in range(101)]
    create = account.iot.create_job
    assert refused(create, jobId="j", targets=arns, document=DOCUMENT) == ("LimitExceededException", 410)


def test_given_every_operation_that_we_serve_then_each_answers_as_its_model_says(account: Account) -> None:
    iot, device = account.iot, account.device
    arn = account.thing("a")
    account.group("g")
    account.group("gone", "a")
    job_arn = account.job("j", arn, tags=[{"Key": "k", "Value": "v"}])["jobArn"]
    iot.tag_resource(resourceArn=job_arn, tags=[{"Key": "l", "Value": "w"}])
    iot.untag_resource(resourceArn=job_arn, tagKeys=["k"])
    assert iot.list_tags_for_resource(resourceArn=job_arn)["tags"] == [{"Key": "l", "Value": "w"}]
    assert refused(iot.list_tags_for_resource, resourceArn=arn) == INVALID
    account.job("k", arn)
    names = {"jobId": "j", "thingName": "a"}
    device.start_next_pending_job_execution(thingName="a", statusDetails={"a": "b"}, stepTimeoutInMinutes=1)
    device.describe_job_execution(**names, includeJobDocument=True)
    device.get_pending_job_executions(thingName="a")
    device.update_job_execution(**names, status="IN_PROGRESS", includeJobExecutionState=True)
    stale = refused(device.update_job_execution, **names, status="SUCCEEDED", expectedVersion=1)
    assert stale == CONFLICT
    iot.describe_job_execution(**names)
    iot.cancel_job_execution(**names, force=True, expectedVersion=3)
    assert refused(device.describe_job_execution, **names) == ("TerminalStateException", 410)
    iot.delete_job_execution(**names, executionNumber=1)
    iot.list_job_executions_for_job(jobId="k")
    iot.list_job_executions_for_thing(thingName="a")
    iot.describe_job(jobId="j")
    iot.get_job_document(jobId="j", beforeSubstitution=True)
    iot.update_job(jobId="k", description="x")
    assert (
        refused(iot.associate_targets_with_job, jobId="j", targets=["arn:aws:iot:::thinggroup/g"]) == INVALID
    )
    iot.cancel_job(jobId="k", reasonCode="WHY_2", comment="because")
    iot.delete_job(jobId="k")
    iot.list_jobs()
    iot.describe_thing(thingName="a")
    iot.list_things()
    iot.describe_thing_group(thingGroupName="g")
    iot.update_thing_group(thingGroupName="g", thingGroupProperties={"thingGroupDescription": "d"})
    iot.list_thing_groups()
    iot.list_things_in_thing_group(thingGroupName="g")
    iot.list_thing_groups_for_thing(thingName="a")
    iot.update_thing_groups_for_thing(thingName="a")
    iot.remove_thing_from_thing_group(thingGroupName="gone", thingName="a")
    iot.delete_thing_group(thingGroupName="gone")
    iot.describe_endpoint(endpointType="iot:Jobs")
    iot.delete_thing(thingName="a")
    iot.delete_thing(thingName="a")
    _refused_by_name(iot)
    handlers = jobs_handlers(account.store, str, account.clock)
    served = {f"{service}.{name}" for service, table in handlers.items() for name in table}
    assert served - account.watch.answered == set()


def _refused_by_name(iot: Any) -> None:
    """What is not emulated says so."""
    calls: list[tuple[Callable[..., object], dict[str, object]]] = [
        (iot.create_job_template, {"jobTemplateId": "t", "description": "d"}),
        (iot.describe_job_template, {"jobTemplateId": "t"}),
        (iot.delete_job_template, {"jobTemplateId": "t"}),
        (iot.list_job_templates, {}),
        (iot.describe_managed_job_template, {"templateName": "AWS-Reboot"}),
        (iot.list_managed_job_templates, {}),
        (iot.create_dynamic_thing_group, {"thingGroupName": "d", "queryString": "thingName:a"}),
        (iot.update_dynamic_thing_group, {"thingGroupName": "d", "thingGroupProperties": {}}),
        (iot.delete_dynamic_thing_group, {"thingGroupName": "d"}),
    ]
    for call, arguments in calls:
        with pytest.raises(ClientError, match="not emulated by the local cloud") as caught:
            call(**arguments)
        assert caught.value.response["Error"]["Code"] == "InvalidRequestException"


def test_given_other_handlers_then_served_with_their_members_from_path_header_and_body(
    tmp_path: Path,
) -> None:
    seen: list[object] = []
    certificates = Certificates(tmp_path)

    def note(members: Mapping[str, object]) -> Mapping[str, object]:
        seen.append(dict(members))
        return {}

    names = ("AttachPolicy", "ListAttachedPolicies", "AttachThingPrincipal")
    with https_server(certificates, routes_of({"iot": dict.fromkeys(names, note)})) as url:
        account = Account(url, certificates.ca_file, JobsStore(), FakeClock())
        arn = "arn:aws:iot:us-east-1:1:cert/00ff"
        account.iot.attach_policy(policyName="p", target=arn)
        account.iot.list_attached_policies(target=arn, pageSize=5)
        account.iot.attach_thing_principal(thingName="a", principal=arn)
        account.iot.close()
        account.device.close()
    assert seen == [
        {"policyName": "p", "target": arn},
        {"target": arn, "pageSize": 5},
        {"thingName": "a", "principal": arn},
    ]


def test_given_answers_that_are_wrong_then_the_watch_notices(account: Account) -> None:
    shape = account.iot.meta.service_model.shape_for("DescribeThingGroupResponse")
    good = {"thingGroupName": "g", "version": 1, "thingGroupMetadata": {"creationDate": 1.5}}
    assert problems(shape, good, "x") == []
    assert problems(shape, good | {"extra": 1}, "x") == ["x.extra is not in the model"]
    assert problems(shape, good | {"version": "1"}, "x") == ["x.version is '1', not a long"]
    assert problems(shape, good | {"status": "DEAD"}, "x")
    assert problems(shape, good | {"thingGroupMetadata": []}, "x") == ["x.thingGroupMetadata is no object"]
