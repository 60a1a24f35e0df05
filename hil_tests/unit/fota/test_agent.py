"""Jobs in, statuses out; the Jobs service is scripted, the board is virtual."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.cloud import TAKEN_OVER, JobDocument, JobExecution, JobStatus
from bridge.errors import CloudError
from bridge.fota import Outcome, Progress, Stage, StageStarted, UpdateEvent, UpdateOptions, over_at
from bridge.fota.agent import Agent
from bridge.fota.events import Finished, UpdateCanceledError
from bridge.fota.journal import Journal
from bridge.fota.journal_values import Report
from bridge.fota.reconcile import order_of
from bridge.image import FileSource, ImageSource
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.pty_server import PtyServer
from hil_tests.secret_watch import MARK
from hil_tests.unit.fota.fakes import FakeJobs, job_execution

DOCUMENT = {
    "operation": "app_fw_update",
    "location": {"url": f"https://bench.example/app.bin?X-Amz-Signature={MARK}"},
}


@dataclass
class Rig:
    """A board, and an agent's surroundings."""

    samples: SampleImages
    board: VirtualBoard
    port: str
    image: Path

    def agent(
        self,
        jobs: FakeJobs,
        on_event: Callable[[UpdateEvent], None] = lambda _: None,
        source: ImageSource | None = None,
        journal: Journal | None = None,
    ) -> Agent:
        def make_source(document: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
            assert document.url == fresh_url() == DOCUMENT["location"]["url"]  # type: ignore[index]
            return source or FileSource(self.image)

        return Agent(
            jobs,
            over_at(lambda: Board.open(self.port)),
            make_source,
            options=UpdateOptions(confirm_timeout_s=0.1),
            on_event=lambda _, event: on_event(event),
            journal=journal,
        )

    @property
    def version(self) -> str:
        return running_version(self.board.flash, self.board.layout)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    samples = SampleImages(tmp_path)
    factory_image = samples.application("1.0.0").read_bytes()
    board = VirtualBoard(factory_image=factory_image, keys=[samples.public_key_pem])
    with board, PtyServer(board) as pty:
        yield Rig(samples, board, pty.path, samples.application("2.0.0"))


def test_a_job_is_taken_worked_and_reported_with_its_story(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT))
    result = rig.agent(jobs).run(once=True)
    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    first, last = jobs.updates[0], jobs.updates[-1]
    assert first == (JobStatus.IN_PROGRESS, {"stage": "fetch"})
    assert last[0] is JobStatus.SUCCEEDED
    assert last[1]["running_version"] == "2.0.0"
    reported = [details["stage"] for status, details in jobs.updates if status is JobStatus.IN_PROGRESS]
    # Progress goes out on its own thread, so a stage may be told twice, but none before its time.
    assert list(dict.fromkeys(stage for stage in reported if stage in ("schedule", "reboot"))) == [
        "schedule",
        "reboot",
    ]


def test_success_is_said_last_and_once(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT))
    rig.agent(jobs).run(once=True)
    assert [status for status, _ in jobs.updates].count(JobStatus.SUCCEEDED) == 1
    assert jobs.updates[-1][0] is JobStatus.SUCCEEDED


@pytest.mark.parametrize("stage", ["schedule", "reboot"])
def test_a_job_cancelled_before_the_reboot_is_not_installed_and_not_reported(rig: Rig, stage: str) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT), cancel_on=stage)
    result = rig.agent(jobs).run(once=True)
    assert result is not None
    assert result.finished.outcome is Outcome.CANCELED
    assert {status for status, _ in jobs.updates} == {JobStatus.IN_PROGRESS}
    rig.board.reset()
    with Board.open(rig.port) as board:
        assert board.identify().application_version == "v1.0.0"
    assert swap_type(rig.board.flash, rig.board.layout) is SwapType.NONE


def test_a_job_cancelled_before_it_is_taken_is_left_alone(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT), cancel_on="fetch")
    result = rig.agent(jobs).run(once=True)
    assert result is not None
    assert result.finished.outcome is Outcome.CANCELED
    assert jobs.updates == []


def test_outages_at_every_request_delay_the_job_and_nothing_else(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT), outages=2)

    def outage(event: UpdateEvent) -> None:
        if isinstance(event, StageStarted):
            jobs.outages = 1

    result = rig.agent(jobs, outage).run(once=True)
    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    assert jobs.updates[-1][0] is JobStatus.SUCCEEDED


def test_a_job_left_after_its_reboot_is_verified_and_reported_not_installed_again(rig: Rig) -> None:
    rig.agent(FakeJobs(job_execution(document=DOCUMENT))).run(once=True)
    operations = rig.board.flash.operations
    left = job_execution(
        document=DOCUMENT,
        status=JobStatus.IN_PROGRESS,
        details={"stage": "reboot", "from_version": "1.0.0", "to_version": "2.0.0"},
    )
    jobs = FakeJobs(left)
    result = rig.agent(jobs).run(once=True)
    assert result is not None
    assert jobs.updates[-1][0] is JobStatus.SUCCEEDED
    assert jobs.updates[-1][1]["from_version"] == "1.0.0"
    assert rig.board.flash.operations == operations


def test_a_job_left_in_its_transfer_that_finds_the_version_running_is_rejected_as_such(rig: Rig) -> None:
    rig.agent(FakeJobs(job_execution(document=DOCUMENT))).run(once=True)
    left = job_execution(document=DOCUMENT, status=JobStatus.IN_PROGRESS, details={"stage": "transfer"})
    jobs = FakeJobs(left)
    rig.agent(jobs).run(once=True)
    assert jobs.updates[-1][0] is JobStatus.REJECTED
    assert jobs.updates[-1][1]["reason"] == "same-version"


def test_a_bad_document_is_rejected_with_its_reason(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document={"operation": "dance"}))
    rig.agent(jobs).run(once=True)
    status, details = jobs.updates[-1]
    assert (status, details["reason"]) == (JobStatus.REJECTED, "unknown-operation")


def test_a_job_offered_again_after_its_end_is_reported_again_and_not_worked_again(rig: Rig) -> None:
    class Forgetful(FakeJobs):
        """Forgets the end that it was told once, as after a failover."""

        def next_job(self) -> JobExecution | None:
            if self.execution is None and self.updates:
                self.execution = replace(taken, status=JobStatus.IN_PROGRESS, version_number=50)
            return super().next_job()

    taken = job_execution(document=DOCUMENT)
    jobs = Forgetful(taken)
    agent = rig.agent(jobs)
    agent.run(once=True)
    operations, reports = rig.board.flash.operations, len(jobs.updates)
    agent.run(once=True)
    assert [status for status, _ in jobs.updates[reports:]] == [JobStatus.SUCCEEDED]
    assert rig.board.flash.operations == operations


def test_an_agent_that_is_stopped_in_a_transfer_leaves_the_job_in_progress(rig: Rig) -> None:
    rig.image = rig.samples.application("2.0.0", size_bytes=200_000)
    jobs = FakeJobs(job_execution(document=DOCUMENT))

    def stop(event: UpdateEvent) -> None:
        if isinstance(event, Progress) and event.done_bytes:
            agent.stop()

    agent = rig.agent(jobs, stop)
    result = agent.run()
    assert result is not None
    assert result.finished.outcome is Outcome.INTERRUPTED
    assert {status for status, _ in jobs.updates} == {JobStatus.IN_PROGRESS}
    assert rig.version == "1.0.0"


def test_an_agent_that_is_stopped_after_scheduling_still_tells_the_end(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT))

    def stop(event: UpdateEvent) -> None:
        if event.stage is Stage.REBOOT:
            agent.stop()

    agent = rig.agent(jobs, stop)
    agent.run()
    assert jobs.updates[-1][0] is JobStatus.SUCCEEDED


def test_an_idle_agent_ends_when_it_is_stopped(rig: Rig) -> None:
    waiting = threading.Event()

    class Idle(FakeJobs):
        woken: threading.Event = threading.Event()

        def wait_for_job_change(self, timeout_s: float) -> bool:
            waiting.set()
            return self.woken.wait(timeout_s)

        def wake(self) -> None:
            self.woken.set()

    agent = rig.agent(Idle(None))
    thread = threading.Thread(target=agent.run)
    thread.start()
    assert waiting.wait(10)
    agent.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_broker_that_will_never_accept_us_ends_the_agent(rig: Rig) -> None:
    class Refused(FakeJobs):
        def wait_for_job_change(self, timeout_s: float) -> bool:
            raise CloudError("the certificate is not trusted", reason="tls")

    with pytest.raises(CloudError, match="not trusted"):
        rig.agent(Refused(None, outages=1)).run()


def test_whoever_looks_on_cannot_end_an_update(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_event: UpdateEvent) -> None:
        raise OSError("the disk under the log is full")

    jobs = FakeJobs(job_execution(document=DOCUMENT))
    result = rig.agent(jobs, broken).run(once=True)
    assert result is not None
    assert result.finished.outcome is Outcome.SUCCEEDED
    assert jobs.updates[-1][0] is JobStatus.SUCCEEDED
    assert sum("cannot be shown" in record.message for record in caplog.records) == 1


def test_a_job_that_makes_us_fall_over_ends_and_the_next_one_is_worked(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall_over(_source: FileSource, _offset: int, _size: int) -> bytes:
        raise ZeroDivisionError

    jobs = FakeJobs(job_execution(document=DOCUMENT))
    with monkeypatch.context() as broken:
        broken.setattr(FileSource, "read", fall_over)
        result = rig.agent(jobs).run(once=True)
    assert result is not None
    assert (result.finished.outcome, result.finished.reason) == (Outcome.FAILED, "internal")
    assert result.error is not None
    assert result.error.exit_code == 1
    assert jobs.updates[-1][0] is JobStatus.FAILED
    assert "ZeroDivisionError" in jobs.updates[-1][1]["message"]
    assert rig.agent(FakeJobs(job_execution(document=DOCUMENT))).run(once=True).finished.outcome is (  # type: ignore[union-attr]
        Outcome.SUCCEEDED
    )


def test_after_the_image_was_scheduled_a_fall_leaves_the_end_to_the_next_start(rig: Rig) -> None:
    class FallsOver(FakeJobs):
        def describe(self, job_id: str) -> JobExecution:
            if self.updates and self.updates[-1][1]["stage"] == Stage.REBOOT:
                raise ZeroDivisionError
            return super().describe(job_id)

    jobs = FallsOver(job_execution(document=DOCUMENT))
    with pytest.raises(ZeroDivisionError):
        rig.agent(jobs).run(once=True)
    assert {status for status, _ in jobs.updates} == {JobStatus.IN_PROGRESS}


def test_told_to_stop_while_the_image_server_is_silent_the_job_is_left_at_once(rig: Rig) -> None:
    jobs = FakeJobs(job_execution(document=DOCUMENT))
    silent = SilentSource(rig.image)
    agent = rig.agent(jobs, source=silent)
    with ThreadPoolExecutor(1) as worker:
        working = worker.submit(agent.run, once=True)
        assert silent.is_read.wait(60)
        agent.stop()
        result = working.result(60)
    assert result is not None
    assert result.finished.outcome is Outcome.INTERRUPTED
    assert {status for status, _ in jobs.updates} == {JobStatus.IN_PROGRESS}


@pytest.mark.parametrize("status", [JobStatus.CANCELED, JobStatus.TIMED_OUT])
def test_a_job_that_ends_in_the_cloud_while_the_image_server_is_silent_is_left(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, status: JobStatus
) -> None:
    monkeypatch.setattr("bridge.fota.reporter.LOOK_S", 0.01)
    jobs = FakeJobs(job_execution(document=DOCUMENT))
    silent = SilentSource(rig.image)
    agent = rig.agent(jobs, source=silent)
    with ThreadPoolExecutor(1) as worker:
        working = worker.submit(agent.run, once=True)
        assert silent.is_read.wait(60)
        jobs.end(status)
        result = working.result(60)
    assert result is not None
    assert result.finished.outcome is Outcome.CANCELED
    assert {status for status, _ in jobs.updates} == {JobStatus.IN_PROGRESS}


@pytest.mark.parametrize(("reason", "looks"), [("canceled", 0), (TAKEN_OVER, 1)])
def test_a_job_that_another_client_took_over_is_looked_at_before_the_next_start_takes_it(
    rig: Rig, reason: str, looks: int
) -> None:
    class Watched(FakeJobs):
        waits = 0

        def wait_for_job_change(self, timeout_s: float) -> bool:
            self.waits += 1
            return False

    jobs = Watched(job_execution(status=JobStatus.IN_PROGRESS, document=DOCUMENT))
    assert jobs.execution is not None
    journal = Journal()
    end = Finished(Stage.FETCH, Outcome.CANCELED, reason, "not wanted any more", None, None, None)
    record = journal.begin(order_of(jobs.execution, "", ""))
    record.end(end, UpdateCanceledError(end.message or "", reason=reason), details={}, report=Report.GONE)
    assert rig.agent(jobs, journal=journal).run(once=True) is not None
    assert jobs.waits == looks


class SilentSource(FileSource):
    """Of an image of which no byte arrives."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.is_read = threading.Event()
        self._interrupted = threading.Event()

    def read(self, offset: int, size: int) -> bytes:
        self.is_read.set()
        assert self._interrupted.wait(60)
        raise CloudError("the download was closed", reason="closed")

    def interrupt(self) -> None:
        self._interrupted.set()
