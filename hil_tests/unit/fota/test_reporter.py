"""Progress without hurry, milestones without doubt, the end without fail."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bridge.cloud import TAKEN_OVER, JobExecution, JobGoneError, JobStatus
from bridge.errors import CloudError, InterruptedUpdateError
from bridge.fota.reporter import JobReporter
from hil_tests.unit.fota.fakes import FakeJobs, job_execution


def reporter_for(
    jobs: FakeJobs,
    stop: threading.Event | None = None,
    on_gone: Callable[[JobGoneError], None] = lambda _gone: None,
) -> JobReporter:
    assert jobs.execution is not None
    return JobReporter(
        jobs, jobs.execution, stop or threading.Event(), retry_s=0.0, min_interval_s=0.0, on_gone=on_gone
    )


def test_given_progress_when_the_worker_runs_then_the_newest_arrives() -> None:
    jobs = FakeJobs(job_execution())
    reporter = reporter_for(jobs)
    reporter.progress({"percent": "10"})
    reporter.progress({"percent": "20"})
    reporter.start()
    with jobs.reported:
        assert jobs.reported.wait_for(lambda: jobs.updates, timeout=10)
    reporter.close()
    assert jobs.updates == [(JobStatus.IN_PROGRESS, {"percent": "20"})]


def test_given_a_cancelled_job_when_progress_is_sent_then_the_reporter_knows_it_is_gone() -> None:
    jobs = FakeJobs(job_execution(), cancel_on="transfer")
    reporter = reporter_for(jobs)
    reporter.progress({"stage": "transfer"})
    reporter.start()
    reporter._thread.join(10)
    assert isinstance(reporter.gone, JobGoneError)
    assert jobs.updates == []


def test_given_an_outage_when_progress_is_sent_then_the_next_progress_still_goes_out() -> None:
    jobs = FakeJobs(job_execution(), outages=1)
    reporter = reporter_for(jobs)
    reporter.progress({"percent": "10"})
    reporter.start()
    with jobs.reported:
        while not jobs.updates:
            reporter.progress({"percent": "20"})
            jobs.reported.wait(0.01)
    reporter.close()
    assert jobs.updates[0] == (JobStatus.IN_PROGRESS, {"percent": "20"})


def test_a_milestone_is_known_to_the_service_when_it_returns() -> None:
    jobs = FakeJobs(job_execution())
    seen = reporter_for(jobs).milestone({"stage": "schedule"})
    assert seen.status_details == {"stage": "schedule"}
    assert jobs.updates == [(JobStatus.IN_PROGRESS, {"stage": "schedule"})]


def test_a_milestone_of_a_cancelled_job_raises() -> None:
    with pytest.raises(JobGoneError):
        reporter_for(FakeJobs(job_execution(), cancel_on="schedule")).milestone({"stage": "schedule"})


def test_a_milestone_during_an_outage_raises_so_that_the_caller_decides() -> None:
    with pytest.raises(CloudError):
        reporter_for(FakeJobs(job_execution(), outages=1)).milestone({"stage": "schedule"})


def test_in_a_silence_the_reporter_sees_that_another_client_works_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.fota.reporter.LOOK_S", 0.01)

    class TakenOver(FakeJobs):
        def update(
            self, execution: JobExecution, *args: Any, exclusive: bool = False, **kwargs: Any
        ) -> JobExecution:
            assert self.execution is not None
            if exclusive and execution.version_number != self.execution.version_number:
                raise JobGoneError("worked by another client", reason=TAKEN_OVER)
            return super().update(execution, *args, **kwargs)

    jobs, told = TakenOver(job_execution()), threading.Event()
    reporter = reporter_for(jobs, on_gone=lambda _gone: told.set())
    reporter.milestone({"stage": "fetch"})
    reporter.start()
    assert jobs.execution is not None
    jobs.execution = replace(jobs.execution, version_number=9, status_details={"by": "another"})
    assert told.wait(60)
    reporter.close()
    assert reporter.gone is not None
    assert reporter.gone.reason == TAKEN_OVER


def test_a_silence_in_which_nothing_happens_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.fota.reporter.LOOK_S", 0.01)
    looks = threading.Semaphore(0)

    class Watched(FakeJobs):
        def describe(self, job_id: str) -> JobExecution:
            looks.release()
            return super().describe(job_id)

    jobs = Watched(job_execution())
    reporter = reporter_for(jobs)
    reporter.milestone({"stage": "fetch"})
    reporter.start()
    for _ in range(3):
        assert looks.acquire(timeout=60)
    reporter.close()
    assert reporter.gone is None
    assert len(jobs.updates) == 1


def test_given_outages_when_the_job_ends_then_the_end_is_reported_until_it_is_taken() -> None:
    jobs = FakeJobs(job_execution(), outages=3)
    reporter_for(jobs).finish(JobStatus.FAILED, {"reason": "reverted"})
    assert jobs.updates == [(JobStatus.FAILED, {"reason": "reverted"})]


def test_given_an_outage_and_a_stop_when_the_job_ends_then_it_is_said_that_nothing_was_reported() -> None:
    stop = threading.Event()
    stop.set()
    jobs = FakeJobs(job_execution(), outages=3)
    with pytest.raises(InterruptedUpdateError):
        reporter_for(jobs, stop).finish(JobStatus.SUCCEEDED, {})
    assert jobs.updates == []
