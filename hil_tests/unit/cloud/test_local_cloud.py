"""The Jobs client on our own broker, which behaves like AWS IoT and loses messages on request."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cloud import Backoff, Connection, Endpoint, JobsClient, JobStatus, JobsTiming
from bridge.lab.broker_faults import Fault
from hil_tests.lab_rig import JobsRig, builtin_jobs

THING = "thing-a"
DETAILS = {"stage": "FETCH"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[JobsRig]:
    with builtin_jobs(tmp_path) as rig:
        rig.store.add_thing(THING)
        rig.store.create_job("job-1", [THING], {"location": {"url": "https://images.example/app.bin"}})
        yield rig


@pytest.fixture
def jobs(rig: JobsRig) -> Iterator[JobsClient]:
    endpoint = Endpoint(
        "localhost", rig.port, rig.certificates.ca_file, *rig.certificates.thing(THING), THING
    )
    with (
        Connection(endpoint, backoff=Backoff(0.01, 0.02)) as connection,
        JobsClient(connection, THING, timing=JobsTiming(reply_s=0.3)) as jobs,
    ):
        yield jobs
        connection.close(drain_timeout_s=0.0)  # a lost confirmation is not worth waiting for


@pytest.mark.parametrize("fault", list(Fault))
def test_given_any_fault_of_the_broker_when_a_job_is_worked_then_each_report_counts_once(
    rig: JobsRig, jobs: JobsClient, fault: Fault
) -> None:
    assert rig.faults is not None
    request = f"$aws/things/{THING}/jobs/job-1/update"
    topic = f"{request}/accepted" if "delivery" in fault else request
    execution = jobs.next_job()
    assert execution is not None

    rig.faults.arm(fault, topic)
    execution = jobs.update(execution, JobStatus.IN_PROGRESS, DETAILS)
    rig.faults.arm(fault, topic)
    execution = jobs.update(execution, JobStatus.SUCCEEDED, {"stage": "DONE"})

    assert execution.version_number == 3
    assert jobs.next_job() is None
    seen = rig.store.describe_execution("job-1", THING)
    assert (seen.status.value, seen.version_number) == ("SUCCEEDED", 3)
    assert [name for name, _ in rig.faults.fired] == [fault, fault]
