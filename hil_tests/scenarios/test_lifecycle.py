"""A job from its creation to its end: cancelled, rejected, repeated, deferred, left over, or simply not there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from bridge import clock
from bridge.cloud import JobExecution
from bridge.fota import Finished, Outcome, Stage, UpdateEvent, Waiting
from bridge.fota.agent import Agent
from bridge.fota.versions import same_version
from bridge.fota.window import Admission, parse_window
from bridge.lab.jobs_settings import RetryCriterion
from bridge.pytest_plugin.cloud import LabCloud
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from hil_tests.scenarios.rounds import bytes_written, once, started, version_of

pytestmark = pytest.mark.nrf91_route("xdfu")

DEADLINE_S = 60.0


class Watched:
    """An agent that works on a thread until it is told to stop, and what it does."""

    def __init__(self) -> None:
        self.events: list[tuple[str, UpdateEvent]] = []
        self.ended = threading.Semaphore(0)

    def take(self, execution: JobExecution, event: UpdateEvent) -> None:
        self.events.append((execution.job_id, event))
        if isinstance(event, Finished):
            self.ended.release()

    def outcomes(self) -> list[Outcome]:
        return [event.outcome for _, event in self.events if isinstance(event, Finished)]


@contextmanager
def at_work(bench: JobBench, **options: object) -> Iterator[Watched]:
    """The bridge as it stands in a lab: it waits for jobs and works them."""
    watched = Watched()
    with bench.agent(watched.take, **options) as agent:  # type: ignore[arg-type]
        runner = threading.Thread(target=run_quietly, args=(agent,), name="agent")
        runner.start()
        try:
            yield watched
        finally:
            agent.stop()
            runner.join(DEADLINE_S)
            assert not runner.is_alive()


def run_quietly(agent: Agent) -> None:
    agent.run()


@pytest.mark.scenario(59)
def test_a_job_that_is_cancelled_early_is_not_installed_and_a_new_one_succeeds(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    job = nrf91_deploy(nrf91_images.newer)
    done = job.work(on_event=once(bytes_written, lambda: job.cancel(force=True)))
    assert (done.status, done.story.outcome) == ("CANCELED", Outcome.CANCELED)
    nrf91_board.reset()
    assert nrf91_board.version() == before
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"


@pytest.mark.scenario(60)
def test_of_two_queued_jobs_the_second_is_installed_when_the_first_was_cancelled(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    first, second = nrf91_deploy(nrf91_images.newer), nrf91_deploy(nrf91_images.newest)
    first.cancel()
    assert second.work().status == "SUCCEEDED"
    assert first.cloud.status == "CANCELED"
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newest))


@pytest.mark.scenario(61)
@pytest.mark.parametrize(
    ("when", "installed"),
    [
        pytest.param(started(Stage.FETCH), False, id="at once"),
        pytest.param(started(Stage.CHECK), False, id="downloading"),
        pytest.param(started(Stage.TRANSFER), False, id="writing"),
        pytest.param(started(Stage.REBOOT), True, id="rebooting"),
    ],
)
def test_a_job_that_is_aborted_is_installed_only_if_it_was_past_its_point_of_no_return(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_deploy: JobBench,
    when: Callable[[UpdateEvent], bool],
    installed: bool,
) -> None:
    before = nrf91_board.version()
    job = nrf91_deploy(nrf91_images.newer)
    done = job.work(on_event=once(when, lambda: job.cancel(force=True)))
    assert done.status == "CANCELED"
    assert done.story.outcome is (Outcome.SUCCEEDED if installed else Outcome.CANCELED)
    nrf91_board.reset()
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer) if installed else before)


@pytest.mark.scenario(62)
def test_a_job_that_the_bridge_finishes_in_spite_of_a_cancellation_ends_as_it_really_ended(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    job = nrf91_deploy(nrf91_images.newer)
    # Without force the service leaves what is in progress to the device.
    done = job.work(on_event=once(started(Stage.SCHEDULE), job.cancel))
    assert (done.status, done.story.outcome) == ("SUCCEEDED", Outcome.SUCCEEDED)


@pytest.mark.scenario(63)
def test_a_rejected_job_is_out_of_the_way_of_the_next_one(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    rejected, good = nrf91_deploy(nrf91_images.baseline), nrf91_deploy(nrf91_images.newer)
    assert rejected.work().status == "REJECTED"
    assert good.work().status == "SUCCEEDED"


@pytest.mark.scenario(64)
@pytest.mark.nrf91_lab_cloud
def test_a_service_that_retries_stops_at_its_limit(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    job = nrf91_deploy(
        nrf91_images.newer, sha256="00" * 32, options={"retry_criteria": [RetryCriterion("FAILED", 1)]}
    )
    assert job.work().story.outcome is Outcome.FAILED
    assert job.cloud.status == "QUEUED"  # once more, by the service's own rule
    assert job.work().story.outcome is Outcome.FAILED
    assert job.cloud.status == "FAILED"
    assert nrf91_deploy.cloud.open_jobs(nrf91_deploy.thing.name) == []


@pytest.mark.scenario(65)
def test_a_bad_update_does_not_stand_in_the_way_of_a_good_one(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    assert nrf91_deploy(nrf91_images.wrong_key).work().status == "FAILED"
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


@pytest.mark.scenario(66, 67)
def test_without_a_job_the_bridge_is_quiet_and_a_new_one_is_taken_at_once(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    with at_work(nrf91_deploy) as watched:
        quiet = clock.event()
        assert not quiet.wait(0.3)
        assert watched.events == []
        job = nrf91_deploy(nrf91_images.newer)
        assert watched.ended.acquire(timeout=DEADLINE_S)
        first = next(event for job_id, event in watched.events if job_id == job.job_id)
        assert first.stage in {Stage.QUEUED, Stage.FETCH}
    assert watched.outcomes() == [Outcome.SUCCEEDED]


@pytest.mark.scenario(68)
def test_a_job_waits_in_the_queue_for_its_maintenance_window_and_is_done_then(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    opens, waited = datetime(2026, 1, 5, 22, 0, tzinfo=UTC), clock.event()

    def now() -> datetime:
        return opens + timedelta(seconds=0.5 if waited.is_set() else -0.5)

    def watch(event: UpdateEvent) -> None:
        if isinstance(event, Waiting) and event.reason == "maintenance-window":
            waited.set()

    admission = Admission([parse_window("Mon 22:00-23:00 UTC")], now)
    job = nrf91_deploy(nrf91_images.newer)
    assert job.work(admission=admission, on_event=watch).status == "SUCCEEDED"
    assert waited.is_set()


@pytest.mark.scenario(69)
@pytest.mark.nrf91_lab_cloud
def test_after_its_success_an_image_is_not_downloaded_again(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    before = lab.downloads(nrf91_images.newer.name) or 0
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
    with at_work(nrf91_deploy) as watched:
        assert not clock.event().wait(0.3)
    assert watched.events == []
    assert lab.downloads(nrf91_images.newer.name) == before + 1


@pytest.mark.scenario(70)
def test_jobs_that_an_earlier_run_left_are_deleted_and_named(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    stale = [nrf91_deploy(nrf91_images.newer).job_id, nrf91_deploy(nrf91_images.newest).job_id]
    assert nrf91_deploy.purge() == stale
    assert nrf91_deploy.cloud.open_jobs(nrf91_deploy.thing.name) == []
