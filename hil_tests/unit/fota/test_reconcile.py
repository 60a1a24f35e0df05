"""After a crash: whatever the journal, the board and the cloud hold, the job ends truthfully, once, and nothing is left."""

import threading
import time
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.errors import BenchError, BoardNotFoundError
from bridge.fota import Outcome, Progress, Stage, StageStarted, UpdateEvent
from bridge.fota import earlier_run as earlier_module
from bridge.fota.earlier_run import EarlierRun, patient
from bridge.fota.journal import Journal
from bridge.fota.journal_values import Report
from bridge.fota.reconcile import order_of
from bridge.fota.route import Route
from bridge.image import ImageHead, ImageKind
from bridge.virtual.mcuboot import SwapType
from hil_tests.unit.fota.job_bench import NEW, OLD, JobBench

REBOOTED = [(Stage.REBOOT, True), (Stage.VERIFY, True), (Stage.CONFIRM, False)]
NOT_REBOOTED = [
    (Stage.TRANSFER, False),
    (Stage.TRANSFER, True),
    (Stage.SCHEDULE, True),
    (Stage.REBOOT, False),
]


def assert_quiet(jobs: JobBench, version: str) -> None:
    """The board runs a version, and would after another reset."""
    jobs.board.reset()
    with Board.open(jobs.port) as board:
        assert board.identify().application_version == f"v{version}"
    assert (jobs.version, jobs.next_swap) == (version, SwapType.NONE)


def stages(events: list[UpdateEvent]) -> list[Stage]:
    return [event.stage for event in events if isinstance(event, StageStarted)]


# --- the job is still there ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "effect"), NOT_REBOOTED)
def test_killed_before_the_reboot_then_the_job_is_installed_once_and_succeeds(
    jobs: JobBench, stage: Stage, effect: bool
) -> None:
    job_id = jobs.die_in(stage, jobs.samples.application(NEW), effect=effect)
    events: list[UpdateEvent] = []
    jobs.work(events.append)
    assert Stage.TRANSFER in stages(events)
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert jobs.execution(job_id).status_details["from_version"] == OLD
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report, entry.runs) == (Outcome.SUCCEEDED, Report.TAKEN, 2)
    assert_quiet(jobs, NEW)


@pytest.mark.parametrize(("stage", "effect"), REBOOTED)
def test_killed_after_the_reboot_then_the_job_is_only_verified(
    jobs: JobBench, stage: Stage, effect: bool
) -> None:
    job_id = jobs.die_in(stage, jobs.samples.application(NEW), effect=effect)
    operations = jobs.operations
    events: list[UpdateEvent] = []
    jobs.work(events.append)
    assert Stage.TRANSFER not in stages(events)
    details = jobs.execution(job_id).status_details
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert (details["from_version"], details["running_version"]) == (OLD, NEW)
    assert jobs.operations == operations
    assert_quiet(jobs, NEW)


def test_killed_after_the_bootloader_refused_the_image_then_that_is_told_and_not_tried_again(
    jobs: JobBench,
) -> None:
    job_id = jobs.die_in(Stage.VERIFY, jobs.samples.wrong_key(NEW))
    events: list[UpdateEvent] = []
    jobs.work(events.append)
    assert Stage.TRANSFER not in stages(events)
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["reason"]) == ("FAILED", "rejected-by-bootloader")
    assert execution.status_details["running_version"] == OLD
    assert_quiet(jobs, OLD)


@pytest.mark.parametrize("gone_back", [False, True])
def test_killed_while_an_image_did_not_confirm_itself_then_its_return_is_told(
    jobs: JobBench, gone_back: bool
) -> None:
    image = jobs.samples.application(NEW, behaviour={"confirm": False})
    job_id = jobs.die_in(Stage.CONFIRM, image, effect=gone_back)
    jobs.work()
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["reason"]) == ("FAILED", "reverted")
    assert_quiet(jobs, OLD)


@pytest.mark.parametrize(
    ("stage", "effect"), [(Stage.TRANSFER, False), (Stage.SCHEDULE, True), (Stage.REBOOT, True)]
)
def test_killed_in_a_modem_update_then_it_ends_with_the_new_modem(
    jobs: JobBench, stage: Stage, effect: bool
) -> None:
    job_id = jobs.die_in(stage, jobs.samples.modem_delta("2.0.2", "2.0.3"), effect=effect)
    jobs.work()
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["running_version"]) == ("SUCCEEDED", "2.0.3")


def test_killed_twice_without_getting_further_then_it_is_still_known_what_the_first_run_did(
    jobs: JobBench,
) -> None:
    job_id = jobs.die_in(Stage.VERIFY, jobs.samples.application(NEW))
    with jobs.client(jobs.thing.thing_name) as client, Journal(jobs.journal_file) as journal:
        offered = client.next_job()
        assert offered is not None
        second = journal.begin(order_of(offered, jobs.thing.thing_name, jobs.port))
        second.take(StageStarted(Stage.FETCH))
    events: list[UpdateEvent] = []
    jobs.work(events.append)
    assert Stage.TRANSFER not in stages(events)
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert jobs.entry(job_id).runs == 3


def test_without_a_journal_the_details_in_the_cloud_tell_even_after_a_second_crash(jobs: JobBench) -> None:
    job_id = jobs.die_in(Stage.VERIFY, jobs.samples.application(NEW))
    with jobs.client(jobs.thing.thing_name) as client:
        offered = client.next_job()
        assert offered is not None
        client.update(offered, offered.status, {"stage": "verify", "from_version": OLD})
    jobs.journal_file.unlink()

    class KilledError(BaseException):
        pass

    def kill(event: UpdateEvent) -> None:
        if event == StageStarted(Stage.FETCH):
            raise KilledError

    with pytest.raises(KilledError):
        jobs.work(kill)
    jobs.journal_file.unlink()
    events: list[UpdateEvent] = []
    jobs.work(events.append)
    assert Stage.TRANSFER not in stages(events)
    assert jobs.execution(job_id).status == "SUCCEEDED"


def test_another_board_on_the_port_owes_nothing_to_the_run_before(jobs: JobBench) -> None:
    image = jobs.samples.application(NEW)
    job_id = jobs.die_in(Stage.VERIFY, image)
    with Journal(jobs.journal_file) as journal, journal._db.transaction() as connection:
        connection.execute("UPDATE updates SET board_id = '350000000000000'")
    jobs.work()
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["reason"]) == ("REJECTED", "same-version")


# --- the end was reached, but nobody was told ---------------------------------------------------------------------


def end_untold(jobs: JobBench) -> str:
    """A job whose process dies between the end and its report."""
    job_id = jobs.die_in(Stage.CONFIRM, jobs.samples.application(NEW), effect=False)
    with jobs.client(jobs.thing.thing_name) as client, Journal(jobs.journal_file) as journal:
        offered = client.next_job()
        assert offered is not None
        record = journal.begin(order_of(offered, jobs.thing.thing_name, jobs.port))
        from bridge.fota import Finished  # noqa: PLC0415

        end = Finished(Stage.DONE, Outcome.SUCCEEDED, None, "it runs", OLD, NEW, NEW)
        record.end(end, details={"stage": "done", "running_version": NEW}, report=Report.DUE)
    return job_id


def test_an_outcome_that_was_not_told_is_told_at_the_next_start_without_the_board(jobs: JobBench) -> None:
    job_id = end_untold(jobs)
    jobs.port = "/dev/no-such-port"
    assert jobs.reconcile()
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["running_version"]) == ("SUCCEEDED", NEW)
    assert jobs.entry(job_id).report is Report.TAKEN


def test_an_outcome_that_the_cloud_took_before_the_crash_is_known_to_be_told(jobs: JobBench) -> None:
    job_id = end_untold(jobs)
    with jobs.client() as client:
        taken = client.next_job()
        assert taken is not None
        from bridge.cloud import JobStatus  # noqa: PLC0415

        client.update(taken, JobStatus.SUCCEEDED, {"stage": "done", "running_version": NEW})
    version = jobs.execution(job_id).version_number
    assert jobs.reconcile()
    assert jobs.entry(job_id).report is Report.TAKEN
    assert jobs.execution(job_id).version_number == version


@pytest.mark.parametrize("how", ["cancelled", "deleted", "made again"])
def test_an_outcome_that_nobody_wants_any_more_is_kept_here(jobs: JobBench, how: str) -> None:
    job_id = end_untold(jobs)
    if how == "cancelled":
        jobs.cloud.jobs.cancel_job(job_id, force=True)
    else:
        jobs.cloud.jobs.delete_job(job_id, force=True)
    if how == "made again":
        jobs.cloud.jobs.create_job(job_id, jobs.thing.thing_name, {"operation": "app_fw_update"})
    assert jobs.reconcile()
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report) == (Outcome.SUCCEEDED, Report.GONE)
    if how == "made again":
        assert jobs.execution(job_id).status == "QUEUED"


# --- the job is gone ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancelled", "deleted"])
@pytest.mark.parametrize(("stage", "effect"), NOT_REBOOTED)
def test_a_job_that_is_gone_is_closed_and_what_was_written_never_installed(
    jobs: JobBench, stage: Stage, effect: bool, how: str
) -> None:
    job_id = jobs.die_in(stage, jobs.samples.application(NEW), effect=effect)
    if how == "cancelled":
        jobs.cloud.jobs.cancel_job(job_id, force=True)
    else:
        jobs.cloud.jobs.delete_job(job_id, force=True)
    assert jobs.reconcile()
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report, entry.running_version) == (Outcome.CANCELED, Report.GONE, OLD)
    assert_quiet(jobs, OLD)
    assert jobs.reconcile()


@pytest.mark.parametrize(("stage", "effect"), REBOOTED)
def test_a_job_that_is_gone_after_its_reboot_has_its_outcome_in_the_journal(
    jobs: JobBench, stage: Stage, effect: bool
) -> None:
    job_id = jobs.die_in(stage, jobs.samples.application(NEW), effect=effect)
    jobs.cloud.jobs.cancel_job(job_id, force=True)
    assert jobs.reconcile()
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.report, entry.running_version) == (Outcome.SUCCEEDED, Report.GONE, NEW)
    assert_quiet(jobs, NEW)


def test_a_job_that_is_gone_and_whose_image_went_back_is_known_to_have_failed(jobs: JobBench) -> None:
    image = jobs.samples.application(NEW, behaviour={"confirm": False})
    job_id = jobs.die_in(Stage.VERIFY, image)
    jobs.cloud.jobs.cancel_job(job_id, force=True)
    assert jobs.reconcile()
    entry = jobs.entry(job_id)
    assert (entry.outcome, entry.reason, entry.running_version) == (Outcome.FAILED, "reverted", OLD)


def test_a_scheduled_modem_delta_of_a_job_that_is_gone_is_not_applied(jobs: JobBench) -> None:
    job_id = jobs.die_in(Stage.SCHEDULE, jobs.samples.modem_delta("2.0.2", "2.0.3"))
    jobs.cloud.jobs.cancel_job(job_id, force=True)
    assert jobs.reconcile()
    assert jobs.entry(job_id).outcome is Outcome.CANCELED
    with Board.open(jobs.port) as board:
        board.reset()
        assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"


def test_a_job_that_is_gone_before_anything_was_written_is_closed_without_the_board(jobs: JobBench) -> None:
    job_id = jobs.die_in(Stage.CHECK, jobs.samples.application(NEW))
    jobs.cloud.jobs.delete_job(job_id, force=True)
    jobs.port = "/dev/no-such-port"
    assert jobs.reconcile()
    assert jobs.entry(job_id).outcome is Outcome.CANCELED


def test_a_board_that_is_not_there_is_looked_at_later_and_the_next_job_is_worked(
    jobs: JobBench,
) -> None:
    gone = jobs.die_in(Stage.SCHEDULE, jobs.samples.application(NEW))
    jobs.cloud.jobs.cancel_job(gone, force=True)
    with Journal(jobs.journal_file) as journal, journal._db.transaction() as connection:
        connection.execute(
            "UPDATE updates SET changed_at = changed_at - 3600"
        )  # it is not rebooting any more
    port, jobs.port = jobs.port, "/dev/no-such-port"
    assert not jobs.reconcile()
    assert jobs.entry(gone).outcome is None
    jobs.port = port
    job_id = jobs.create_job(jobs.samples.application("3.0.0"))
    jobs.work()
    assert jobs.entry(gone).outcome is Outcome.CANCELED
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert_quiet(jobs, "3.0.0")


# --- waiting for a board that reboots -----------------------------------------------------------------------------


class Booting:
    """A board that answers at the nth try."""

    def __init__(self, silent: int) -> None:
        self.left = silent
        self.entered = 0

    def __call__(self, head: ImageHead) -> "Booting":
        return self

    def __enter__(self) -> Route:
        self.left -= 1
        if self.left >= 0:
            raise BoardNotFoundError("nothing answers", reason="board-silent")
        self.entered += 1
        return self  # type: ignore[return-value]

    def __exit__(self, *_: object) -> None:
        self.entered -= 1


HEAD = ImageHead(ImageKind.APPLICATION, "app.bin")


@pytest.mark.parametrize("stage", [Stage.TRANSFER, Stage.REBOOT])
def test_a_board_that_was_left_to_erase_or_to_reboot_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    monkeypatch.setattr(earlier_module, "_KNOCK_AGAIN_S", 0.0)
    board = Booting(silent=3)
    with patient(board, EarlierRun(stage, OLD))(HEAD):
        assert board.entered == 1
    assert board.entered == 0


def test_a_board_that_was_left_long_ago_is_not_waited_for() -> None:
    long_ago = EarlierRun(Stage.REBOOT, OLD, left_at=time.time() - 3600)
    with pytest.raises(BoardNotFoundError), patient(Booting(silent=1), long_ago)(HEAD):
        pass


def test_a_board_that_nobody_left_busy_is_not_waited_for() -> None:
    with pytest.raises(BoardNotFoundError), patient(Booting(silent=1), None)(HEAD):
        pass


def test_a_wait_for_a_board_ends_when_told_to_stop_and_when_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = threading.Event()
    stop.set()
    with (
        pytest.raises(BoardNotFoundError),
        patient(Booting(9), EarlierRun(Stage.REBOOT, OLD), stop.is_set)(HEAD),
    ):
        pass
    monkeypatch.setattr(earlier_module, "RESET_TIMEOUT_S", 0.0)
    monkeypatch.setattr(earlier_module, "_KNOCK_AGAIN_S", 0.01)
    with pytest.raises(BoardNotFoundError), patient(Booting(9), EarlierRun(Stage.VERIFY, OLD))(HEAD):
        pass


# --- a journal that fails on the way ------------------------------------------------------------------------------


def fail_journal_at(jobs: JobBench, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> str:
    from bridge.fota.journal_record import UpdateRecord  # noqa: PLC0415

    take = UpdateRecord.take

    def failing(self: UpdateRecord, event: UpdateEvent) -> None:
        if event == StageStarted(stage):
            raise BenchError("no room for the journal", reason="journal-full")
        take(self, event)

    monkeypatch.setattr(UpdateRecord, "take", failing)
    return jobs.create_job(jobs.samples.application(NEW))


@pytest.mark.parametrize("stage", [Stage.FETCH, Stage.TRANSFER, Stage.SCHEDULE])
def test_what_cannot_be_written_down_is_not_done(
    jobs: JobBench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fail_journal_at(jobs, stage, monkeypatch)
    result = jobs.work()
    assert result.error is not None
    assert (result.error.exit_code, result.error.reason) == (9, "journal-full")
    execution = jobs.execution(job_id)
    assert (execution.status, execution.status_details["reason"]) == ("FAILED", "journal-full")
    assert_quiet(jobs, OLD)


@pytest.mark.parametrize("stage", [Stage.REBOOT, Stage.CONFIRM])
def test_once_the_image_is_scheduled_the_end_is_told_even_if_it_cannot_be_written_down(
    jobs: JobBench, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = fail_journal_at(jobs, stage, monkeypatch)
    jobs.work()
    assert jobs.execution(job_id).status == "SUCCEEDED"
    assert_quiet(jobs, NEW)


def test_progress_is_in_the_journal(jobs: JobBench, tmp_path: Path) -> None:
    seen: list[int] = []

    def look(event: UpdateEvent) -> None:
        if isinstance(event, Progress) and event.done_bytes == event.total_bytes:
            seen.append(jobs.entries()[-1].offset_bytes or 0)

    image = jobs.samples.application(NEW)
    jobs.create_job(image)
    jobs.work(look)
    assert seen == [image.stat().st_size]
