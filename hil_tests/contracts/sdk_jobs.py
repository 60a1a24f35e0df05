"""The AWS IoT Device SDK's Jobs client (first generation) on whatever broker carries our service."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

from awscrt import mqtt
from awsiot import iotjobs, mqtt_connection_builder

from hil_tests.lab_rig import HOST, JobsRig

THING = "thing-a"
PATIENCE_S = 10.0


@contextmanager
def sdk_connection(rig: JobsRig, client_id: str = THING) -> Iterator[mqtt.Connection]:
    """An MQTT 3.1.1 connection over mutual TLS, closed at the end."""
    cert_file, key_file = rig.certificates.thing(THING)
    connection = mqtt_connection_builder.mtls_from_path(
        endpoint=HOST,
        port=rig.port,
        cert_filepath=str(cert_file),
        pri_key_filepath=str(key_file),
        ca_filepath=str(rig.certificates.ca_file),
        client_id=client_id,
        clean_session=True,
        keep_alive_secs=30,
    )
    connection.connect().result(PATIENCE_S)
    try:
        yield connection
    finally:
        connection.disconnect().result(PATIENCE_S)


class SdkDevice:
    """Asks with the SDK's ``IotJobsClient`` and collects both kinds of answer."""

    def __init__(self, connection: mqtt.Connection) -> None:
        self.client = iotjobs.IotJobsClient(connection)
        self.answers: SimpleQueue[Any] = SimpleQueue()

    def subscribe(self, job_id: str) -> None:
        """Subscribe as the SDK's sample does: accepted and rejected of every call."""
        client, qos = self.client, mqtt.QoS.AT_LEAST_ONCE
        pending = iotjobs.GetPendingJobExecutionsSubscriptionRequest(thing_name=THING)
        start = iotjobs.StartNextPendingJobExecutionSubscriptionRequest(thing_name=THING)
        describe = iotjobs.DescribeJobExecutionSubscriptionRequest(thing_name=THING, job_id=job_id)
        update = iotjobs.UpdateJobExecutionSubscriptionRequest(thing_name=THING, job_id=job_id)
        topics: list[tuple[Callable[..., tuple[Future[Any], str]], Any]] = [
            (client.subscribe_to_get_pending_job_executions_accepted, pending),
            (client.subscribe_to_get_pending_job_executions_rejected, pending),
            (client.subscribe_to_start_next_pending_job_execution_accepted, start),
            (client.subscribe_to_start_next_pending_job_execution_rejected, start),
            (client.subscribe_to_describe_job_execution_accepted, describe),
            (client.subscribe_to_describe_job_execution_rejected, describe),
            (client.subscribe_to_update_job_execution_accepted, update),
            (client.subscribe_to_update_job_execution_rejected, update),
        ]
        for subscribe, request in topics:
            subscribe(request, qos, self.answers.put)[0].result(PATIENCE_S)

    def ask(self, publish: Callable[..., Future[Any]], request: object) -> Any:
        """Publish a request and give the next answer."""
        publish(request, mqtt.QoS.AT_LEAST_ONCE).result(PATIENCE_S)
        return self.answers.get(timeout=PATIENCE_S)


def work_a_job(rig: JobsRig) -> None:
    """Take a job from the list to SUCCEEDED, with two refusals on the way, and check the store at the end."""
    rig.store.add_thing(THING)
    rig.store.create_job("job-1", THING, {"operation": "app_fw_update"})
    with sdk_connection(rig) as connection:
        device = SdkDevice(connection)
        device.subscribe("job-1")
        _take(device)
        _finish(device)
    execution = rig.store.describe_execution("job-1", THING)
    assert (execution.status, execution.status_details) == ("SUCCEEDED", {"stage": "done"})


def _take(device: SdkDevice) -> None:
    client = device.client
    listed = device.ask(
        client.publish_get_pending_job_executions, iotjobs.GetPendingJobExecutionsRequest(thing_name=THING)
    )
    assert [one.job_id for one in listed.queued_jobs] == ["job-1"]
    assert listed.in_progress_jobs == []
    started = device.ask(
        client.publish_start_next_pending_job_execution,
        iotjobs.StartNextPendingJobExecutionRequest(thing_name=THING, status_details={"stage": "fetch"}),
    )
    assert started.execution.status == iotjobs.JobStatus.IN_PROGRESS
    assert started.execution.job_document == {"operation": "app_fw_update"}
    described = device.ask(
        client.publish_describe_job_execution,
        iotjobs.DescribeJobExecutionRequest(thing_name=THING, job_id="job-1", client_token="token-1"),
    )
    assert (described.client_token, described.execution.version_number) == ("token-1", 2)
    assert described.execution.status_details == {"stage": "fetch"}


def _finish(device: SdkDevice) -> None:
    publish = device.client.publish_update_job_execution

    def update(status: str, version: int, **members: object) -> Any:
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=THING, job_id="job-1", status=status, expected_version=version, **members
        )
        return device.ask(publish, request)

    stale = update(iotjobs.JobStatus.SUCCEEDED, 1)
    assert stale.code == iotjobs.RejectedErrorCode.VERSION_MISMATCH
    assert stale.execution_state.version_number == 2
    accepted = update(
        iotjobs.JobStatus.SUCCEEDED, 2, status_details={"stage": "done"}, include_job_execution_state=True
    )
    assert accepted.execution_state.status == iotjobs.JobStatus.SUCCEEDED
    late = update(iotjobs.JobStatus.IN_PROGRESS, 3)
    assert late.code == iotjobs.RejectedErrorCode.INVALID_STATE_TRANSITION
    gone = device.ask(
        device.client.publish_describe_job_execution,
        iotjobs.DescribeJobExecutionRequest(thing_name=THING, job_id="job-1"),
    )
    assert gone.code == iotjobs.RejectedErrorCode.TERMINAL_STATE_REACHED
