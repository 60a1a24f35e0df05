"""The AWS IoT Device SDK for Python works jobs on our Jobs service with both of its clients."""

from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from awscrt import mqtt, mqtt_request_response
from awscrt.exceptions import AwsCrtError
from awsiot import V2ServiceException, iotjobs, mqtt_connection_builder

from bridge.lab.broker_faults import Fault
from hil_tests.contracts.sdk_jobs import PATIENCE_S, THING, sdk_connection, work_a_job
from hil_tests.lab_rig import HOST, JobsRig, builtin_jobs

pytestmark = pytest.mark.contract


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path) as rig:
        yield rig


@pytest.fixture
def v2(rig: JobsRig) -> Iterator[iotjobs.IotJobsClientV2]:
    options = mqtt_request_response.ClientOptions(
        max_request_response_subscriptions=8, max_streaming_subscriptions=2, operation_timeout_in_seconds=5
    )
    with sdk_connection(rig) as connection:
        yield iotjobs.IotJobsClientV2(connection, options)


def test_given_the_v1_client_then_it_works_a_job_to_succeeded(rig: JobsRig) -> None:
    work_a_job(rig)


def test_given_the_v1_client_when_a_job_appears_then_both_notifications_arrive(rig: JobsRig) -> None:
    rig.store.add_thing(THING)
    events: SimpleQueue[Any] = SimpleQueue()
    with sdk_connection(rig) as connection:
        client = iotjobs.IotJobsClient(connection)
        for subscribe, request in (
            (
                client.subscribe_to_job_executions_changed_events,
                iotjobs.JobExecutionsChangedSubscriptionRequest(thing_name=THING),
            ),
            (
                client.subscribe_to_next_job_execution_changed_events,
                iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=THING),
            ),
        ):
            subscribe(request, mqtt.QoS.AT_LEAST_ONCE, events.put)[0].result(PATIENCE_S)
        rig.store.create_job("job-1", THING, {"operation": "x"})
        changed, following = events.get(timeout=PATIENCE_S), events.get(timeout=PATIENCE_S)
        rig.store.cancel_job("job-1")
        events.get(timeout=PATIENCE_S)
        empty = events.get(timeout=PATIENCE_S)
    assert [one.job_id for one in changed.jobs["QUEUED"]] == ["job-1"]
    assert following.execution.job_document == {"operation": "x"}
    assert empty.execution is None


def test_given_the_v2_client_then_it_works_a_job_to_succeeded(
    rig: JobsRig, v2: iotjobs.IotJobsClientV2
) -> None:
    rig.store.add_thing(THING)
    rig.store.create_job("job-1", THING, {"operation": "x"})
    pending = v2.get_pending_job_executions(iotjobs.GetPendingJobExecutionsRequest(thing_name=THING))
    assert [one.job_id for one in pending.result(PATIENCE_S).queued_jobs] == ["job-1"]
    start = iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING, step_timeout_in_minutes=5)
    started = v2.start_next_pending_job_execution(start).result(PATIENCE_S)
    assert started.execution.version_number == 2
    describe = iotjobs.DescribeJobExecutionRequest(thing_name=THING, job_id="$next")
    described = v2.describe_job_execution(describe).result(PATIENCE_S)
    assert described.execution.status == "IN_PROGRESS"
    update = iotjobs.UpdateJobExecutionRequest(
        thing_name=THING,
        job_id="job-1",
        status="SUCCEEDED",
        expected_version=2,
        status_details={"stage": "done"},
    )
    v2.update_job_execution(update).result(PATIENCE_S)
    assert rig.store.describe_execution("job-1", THING).status == "SUCCEEDED"
    assert rig.store.describe_job("job-1").status == "COMPLETED"


@pytest.mark.parametrize(
    ("status", "version", "job_id", "code"),
    [
        ("SUCCEEDED", 9, "job-1", "VersionMismatch"),
        ("CANCELED", 1, "job-1", "InvalidRequest"),
        ("SUCCEEDED", 1, "job-2", "ResourceNotFound"),
    ],
)
def test_given_the_v2_client_when_refused_then_it_reads_the_code(
    rig: JobsRig, v2: iotjobs.IotJobsClientV2, status: str, version: int, job_id: str, code: str
) -> None:
    rig.store.add_thing(THING)
    rig.store.create_job("job-1", THING, {})
    update = iotjobs.UpdateJobExecutionRequest(
        thing_name=THING, job_id=job_id, status=status, expected_version=version
    )
    with pytest.raises(V2ServiceException) as refused:
        v2.update_job_execution(update).result(PATIENCE_S)
    assert refused.value.modeled_error.code == code


def test_given_a_lost_reply_when_the_v2_client_repeats_then_the_store_says_it_was_applied(
    rig: JobsRig, v2: iotjobs.IotJobsClientV2
) -> None:
    rig.store.add_thing(THING)
    rig.store.create_job("job-1", THING, {})
    assert rig.faults is not None
    rig.faults.arm(Fault.DUPLICATE_DELIVERY, "$aws/things/+/jobs/+/update/accepted")
    update = iotjobs.UpdateJobExecutionRequest(
        thing_name=THING, job_id="job-1", status="IN_PROGRESS", expected_version=1
    )
    v2.update_job_execution(update).result(PATIENCE_S)
    with pytest.raises(V2ServiceException) as refused:
        v2.update_job_execution(update).result(PATIENCE_S)
    assert refused.value.modeled_error.execution_state.status == "IN_PROGRESS"


def test_given_a_certificate_of_another_ca_then_the_sdk_cannot_connect(rig: JobsRig, tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    with builtin_jobs(tmp_path / "stranger") as stranger:
        cert_file, key_file = stranger.certificates.thing(THING)
    connection = mqtt_connection_builder.mtls_from_path(
        endpoint=HOST,
        port=rig.port,
        cert_filepath=str(cert_file),
        pri_key_filepath=str(key_file),
        ca_filepath=str(rig.certificates.ca_file),
        client_id=THING,
    )
    with pytest.raises(AwsCrtError):
        connection.connect().result(PATIENCE_S)
