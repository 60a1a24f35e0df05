"""A job that is lost, in every stage: before the swap is scheduled nothing is installed, after it the end is told."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cloud import TAKEN_OVER
from bridge.fota import Finished, Outcome, Stage, StageStarted, UpdateEvent
from bridge.fota.journal_values import Report
from bridge.lab.local_cloud import LocalCloud
from bridge.lab.sample_images import SampleImages
from bridge.virtual.mcuboot import SwapType
from hil_tests.unit.fota.conftest import Clock
from hil_tests.unit.fota.job_bench import NEW, OLD, JobBench, job_bench

BEFORE = [Stage.FETCH, Stage.CHECK, Stage.TRANSFER, Stage.SCHEDULE]
AFTER = [Stage.REBOOT, Stage.VERIFY, Stage.CONFIRM, Stage.DONE]
IN_PLACE_BEFORE = [Stage.FETCH, Stage.CHECK]
IN_PLACE_AFTER = [Stage.TRANSFER, Stage.SCHEDULE, Stage.REBOOT, Stage.VERIFY, Stage.DONE]
THEIRS = {"host": "another"}

Loss = Callable[[JobBench, str, Clock], None]


def cancel(jobs: JobBench, job_id: str, clock: Clock) -> None:
    jobs.cloud.jobs.cancel_job(job_id, force=True)


def delete(jobs: JobBench, job_id: str, clock: Clock) -> None:
    jobs.cloud.jobs.delete_job(job_id, force=True)


def time_out(jobs: JobBench, job_id: str, clock: Clock) -> None:
    clock.now_s += 120


def end_elsewhere(jobs: JobBench, job_id: str, clock: Clock) -> None:
    jobs.cloud.jobs.device.update(jobs.thing.thing_name, job_id, "FAILED", details=THEIRS)


def take_over(jobs: JobBench, job_id: str, clock: Clock) -> None:
    jobs.cloud.jobs.device.update(jobs.thing.thing_name, job_id, "IN_PROGRESS", details=THEIRS)


LOSSES: list[Loss] = [cancel, delete, time_out, end_elsewhere, take_over]
STATUSES: dict[Loss, str] = {
    cancel: "CANCELED",
    time_out: "TIMED_OUT",
    end_elsewhere: "FAILED",
    take_over: "IN_PROGRESS",
}


def lose_in(stage: Stage, loss: Loss, jobs: JobBench, image: Path, clock: Clock) -> tuple[str, Outcome]:
    """Work a job that is lost when a stage begins."""
    job_id = jobs.create_job(image, timeout_minutes=1)

    def lose(event: UpdateEvent) -> None:
        if event == StageStarted(stage):
            loss(jobs, job_id, clock)

    return job_id, jobs.work(lose).finished.outcome


def modem_after_reset(jobs: JobBench) -> str | None:
    with Board.open(jobs.port) as board:
        board.reset()
        return board.identify().modem_version


def runs_after_reset(jobs: JobBench) -> tuple[str, SwapType]:
    with Board.open(jobs.port) as board:
        board.reset()
    return jobs.version, jobs.next_swap


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("stage", BEFORE)
def test_a_job_lost_before_the_swap_is_scheduled_is_never_installed(
    jobs: JobBench, job_clock: Clock, stage: Stage, loss: Loss
) -> None:
    job_id, outcome = lose_in(stage, loss, jobs, jobs.samples.application(NEW), job_clock)
    assert outcome is Outcome.CANCELED
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report) == (Outcome.CANCELED, Report.GONE)
    assert entry.reason == (TAKEN_OVER if loss is take_over else "canceled")
    if loss is not delete:
        assert jobs.execution(job_id).status == STATUSES[loss]
    if loss in {end_elsewhere, take_over}:
        assert jobs.execution(job_id).status_details == THEIRS
    assert runs_after_reset(jobs) == (OLD, SwapType.NONE)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("stage", AFTER)
def test_a_job_lost_after_the_swap_was_scheduled_is_brought_to_its_end_and_told(
    jobs: JobBench, job_clock: Clock, stage: Stage, loss: Loss
) -> None:
    job_id, outcome = lose_in(stage, loss, jobs, jobs.samples.application(NEW), job_clock)
    assert outcome is Outcome.SUCCEEDED
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.running_version) == (Outcome.SUCCEEDED, NEW)
    assert entry.report is (Report.TAKEN if loss is take_over else Report.GONE)
    if loss is not delete:
        status = "SUCCEEDED" if loss is take_over else STATUSES[loss]
        assert jobs.execution(job_id).status == status
    assert runs_after_reset(jobs) == (NEW, SwapType.NONE)


def test_a_job_lost_before_it_ended_badly_has_the_truth_in_the_journal(
    jobs: JobBench, job_clock: Clock
) -> None:
    job_id, outcome = lose_in(Stage.REBOOT, cancel, jobs, jobs.samples.wrong_key(NEW), job_clock)
    assert outcome is Outcome.FAILED
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.reason, entry.report) == (
        Outcome.FAILED,
        "rejected-by-bootloader",
        Report.GONE,
    )


@pytest.mark.parametrize("stage", [*BEFORE, *AFTER])
def test_a_modem_delta_of_a_lost_job_is_applied_only_if_it_was_scheduled(
    jobs: JobBench, job_clock: Clock, stage: Stage
) -> None:
    delta = jobs.samples.modem_delta("2.0.2", "2.0.3")
    _, outcome = lose_in(stage, cancel, jobs, delta, job_clock)
    installed = stage in AFTER
    assert outcome is (Outcome.SUCCEEDED if installed else Outcome.CANCELED)
    assert modem_after_reset(jobs) == f"mfw_nrf91x1_2.0.{3 if installed else 2}"


@pytest.mark.parametrize("stage", [*IN_PLACE_BEFORE, *IN_PLACE_AFTER])
def test_what_is_written_in_place_is_brought_to_its_end_once_it_was_begun(
    job_cloud: LocalCloud, job_samples: SampleImages, tmp_path: Path, job_clock: Clock, stage: Stage
) -> None:
    with job_bench(job_cloud, job_samples, tmp_path, modem_full=True) as jobs:
        release = job_samples.modem_package("2.0.3")
        document = {
            "operation": "modem_fw_update",
            "location": {"url": jobs.cloud.publish_image(release)},
        }
        jobs.cloud.jobs.create_job(tmp_path.name[-60:], jobs.thing.thing_name, document)

        def lose(event: UpdateEvent) -> None:
            if event == StageStarted(stage):
                cancel(jobs, tmp_path.name[-60:], job_clock)

        outcome = jobs.work(lose).finished.outcome
        installed = stage in IN_PLACE_AFTER
        assert outcome is (Outcome.SUCCEEDED if installed else Outcome.CANCELED)
        assert modem_after_reset(jobs) == f"mfw_nrf91x1_2.0.{3 if installed else 2}"


def test_a_job_that_another_client_works_is_left_to_it_and_the_next_one_is_taken(
    jobs: JobBench, job_clock: Clock
) -> None:
    first = jobs.create_job(jobs.samples.application(NEW))
    second = jobs.create_job(jobs.samples.application("3.0.0"))
    ended: list[Outcome] = []
    given_up = threading.Event()

    def follow(event: UpdateEvent) -> None:
        if event == StageStarted(Stage.TRANSFER) and not given_up.is_set():
            take_over(jobs, first, job_clock)
        if isinstance(event, Finished):
            ended.append(event.outcome)
            given_up.set()
            if len(ended) == 2:
                agent.stop()

    with jobs.agent(follow) as agent:
        thread = threading.Thread(target=agent.run)
        thread.start()
        assert given_up.wait(30)
        assert jobs.execution(first).status_details == THEIRS
        jobs.cloud.jobs.device.update(jobs.thing.thing_name, first, "SUCCEEDED")
        thread.join(30)
        assert not thread.is_alive()
    assert ended == [Outcome.CANCELED, Outcome.SUCCEEDED]
    assert jobs.execution(second).status == "SUCCEEDED"
    assert runs_after_reset(jobs) == ("3.0.0", SwapType.NONE)


def test_a_job_that_was_left_to_another_client_can_be_taken_back_by_a_new_start(
    jobs: JobBench, job_clock: Clock
) -> None:
    job_id, _ = lose_in(Stage.TRANSFER, take_over, jobs, jobs.samples.application(NEW), job_clock)
    assert jobs.work().finished.outcome is Outcome.SUCCEEDED
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert [entry.outcome for entry in jobs.entries()] == [Outcome.CANCELED, Outcome.SUCCEEDED]


@pytest.mark.parametrize("stage", [*BEFORE, *AFTER])
def test_an_agent_that_is_told_to_stop_leaves_a_job_that_the_next_one_brings_to_its_end(
    jobs: JobBench, stage: Stage
) -> None:
    job_id = jobs.create_job(jobs.samples.application(NEW))

    def stop(event: UpdateEvent) -> None:
        if event == StageStarted(stage) or isinstance(event, Finished):
            agent.stop()

    with jobs.agent(stop) as agent:
        result = agent.run()
    assert result is not None
    if stage in BEFORE[:3]:
        assert result.finished.outcome is Outcome.INTERRUPTED
        assert (jobs.execution(job_id).status, jobs.entry(job_id).outcome) == ("IN_PROGRESS", None)
        assert runs_after_reset(jobs) == (OLD, SwapType.NONE)
        assert jobs.work().finished.outcome is Outcome.SUCCEEDED
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report) == (Outcome.SUCCEEDED, Report.TAKEN)
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert runs_after_reset(jobs) == (NEW, SwapType.NONE)
