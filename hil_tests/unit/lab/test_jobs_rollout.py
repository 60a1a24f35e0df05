"""A job's way to its things and to its end: rollout rates, abort criteria, retries, schedules, continuous jobs' completion."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bridge.lab.jobs_limits import check_settings, read_settings
from bridge.lab.jobs_model import ExecutionStatus, Job, JobsRejectedError, JobStatus, RejectionCode
from bridge.lab.jobs_settings import (
    AbortCriterion,
    ExponentialRate,
    JobSettings,
    RetryCriterion,
    Rollout,
    Schedule,
    settings_body,
)
from bridge.lab.jobs_store import JobsStore
from hil_tests.unit.lab.clock import FakeClock

THINGS = [f"t{number}" for number in range(10)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> JobsStore:
    store = JobsStore(clock=clock)
    for thing in THINGS:
        store.add_thing(thing)
    return store


def rejected(action: Callable[[], object]) -> RejectionCode:
    with pytest.raises(JobsRejectedError) as caught:
        action()
    return caught.value.code


def reached(store: JobsStore, job_id: str = "j") -> int:
    return len(store.list_executions(job_id))


def end(store: JobsStore, thing: str, status: str, job_id: str = "j") -> None:
    store.device.update(thing, job_id, status)


def later(clock: FakeClock, minutes: float) -> str:
    return datetime.fromtimestamp(clock.now + minutes * 60, UTC).strftime("%Y-%m-%dT%H:%M")


def scheduled(clock: FakeClock, **config: str) -> JobSettings:
    return read_settings({"schedulingConfig": config}, clock.now)


def test_given_a_rate_then_so_many_things_a_minute_get_the_job(store: JobsStore, clock: FakeClock) -> None:
    job = store.create_job("j", THINGS, {}, settings=JobSettings(rollout=Rollout(4)))
    assert (reached(store), len(job.waiting)) == (4, 6)
    assert store.next_deadline() == clock.now + 60
    clock.pass_minutes(0.9)
    store.advance()
    assert reached(store) == 4
    clock.pass_minutes(0.1)
    store.advance()
    assert reached(store) == 8
    clock.pass_minutes(10)
    store.advance()
    assert reached(store) == 10
    assert store.next_deadline() is None
    assert {kind for kind, _ in announced(store)} == {"notify", "notify-next"}


def announced(store: JobsStore) -> list[tuple[str, str]]:
    return [(one.kind, one.thing_name) for one in store.take_notifications()]


def test_given_a_clock_that_jumped_then_still_no_more_than_the_rate(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", THINGS, {}, settings=JobSettings(rollout=Rollout(2)))
    clock.pass_minutes(60)
    store.advance()
    assert reached(store) == 4


def test_given_things_that_wait_then_the_job_is_not_complete(store: JobsStore, clock: FakeClock) -> None:
    store.create_job("j", THINGS[:2], {}, settings=JobSettings(rollout=Rollout(1)))
    end(store, "t0", "SUCCEEDED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS
    clock.pass_minutes(1)
    end(store, "t1", "SUCCEEDED")
    assert store.describe_job("j").status is JobStatus.COMPLETED


@pytest.mark.parametrize(
    ("notified", "succeeded", "rate"),
    [
        (0, 0, 50),
        (999, 999, 50),
        (1000, 0, 100),
        (0, 1000, 100),
        (2000, 0, 200),
        (3999, 0, 400),
        (10**9, 0, 1000),
    ],
)
def test_given_the_guides_exponential_example_then_its_rates(
    notified: int, succeeded: int, rate: int
) -> None:
    rollout = Rollout(None, ExponentialRate(50, 2.0, 1000, 1000))
    assert rollout.rate(notified, succeeded) == rate
    assert Rollout(150, rollout.exponential).rate(notified, succeeded) == min(rate, 150)


def test_given_an_exponential_rate_then_successes_speed_the_rollout_up(
    store: JobsStore, clock: FakeClock
) -> None:
    rate = ExponentialRate(1, 2.0, succeeded_things=1)
    store.create_job("j", THINGS, {}, settings=JobSettings(rollout=Rollout(None, rate)))
    clock.pass_minutes(1)
    store.advance()
    assert reached(store) == 2, "nothing has succeeded yet"
    end(store, "t0", "SUCCEEDED")
    end(store, "t1", "SUCCEEDED")
    clock.pass_minutes(1)
    store.advance()
    assert reached(store) == 6, "twice two"


def test_given_failures_at_the_threshold_then_the_job_is_aborted_and_queued_ones_end(
    store: JobsStore,
) -> None:
    criteria = (AbortCriterion("FAILED", 20.0, 5),)
    store.create_job("j", THINGS, {}, settings=JobSettings(abort_criteria=criteria))
    store.device.start_next("t5")
    for number, status in enumerate(["FAILED", "REJECTED", "SUCCEEDED", "SUCCEEDED"]):
        end(store, f"t{number}", status)
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS, "four are not five"
    end(store, "t4", "SUCCEEDED")
    job = store.describe_job("j")
    assert (job.status, job.force_canceled) == (JobStatus.CANCELED, False), "one of five is 20 %"
    assert (job.reason_code, "1 of 5" in str(job.comment)) == ("ABORT_CRITERIA_MET", True)
    assert store.describe_execution("j", "t9").status is ExecutionStatus.CANCELED
    assert store.describe_execution("j", "t5").status is ExecutionStatus.IN_PROGRESS
    end(store, "t5", "SUCCEEDED")
    assert store.describe_execution("j", "t5").status is ExecutionStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("failure_type", "ends", "aborted"),
    [
        ("ALL", ["REJECTED", "FAILED"], True),
        ("REJECTED", ["REJECTED", "FAILED"], False),
        ("REJECTED", ["REJECTED", "REJECTED"], True),
        ("TIMED_OUT", ["FAILED", "FAILED"], False),
    ],
)
def test_given_a_failure_type_then_only_that_counts(
    store: JobsStore, failure_type: str, ends: list[str], aborted: bool
) -> None:
    criterion = AbortCriterion(failure_type, 60.0, 2)  # type: ignore[arg-type]  # a table
    store.create_job("j", THINGS[:4], {}, settings=JobSettings(abort_criteria=(criterion,)))
    for thing, status in zip(THINGS, ends, strict=False):
        end(store, thing, status)
    assert (store.describe_job("j").status is JobStatus.CANCELED) is aborted


def test_given_too_few_things_so_far_then_no_abort_and_waiting_ones_never_get_an_aborted_job(
    store: JobsStore, clock: FakeClock
) -> None:
    settings = JobSettings(rollout=Rollout(2), abort_criteria=(AbortCriterion("ALL", 50.0, 3),))
    store.create_job("j", THINGS, {}, settings=settings)
    end(store, "t0", "FAILED")
    end(store, "t1", "FAILED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS, "two things are not three"
    clock.pass_minutes(1)
    end(store, "t2", "FAILED")
    assert store.describe_job("j").status is JobStatus.CANCELED
    clock.pass_minutes(5)
    store.advance()
    assert reached(store) == 4


def test_given_timeouts_then_they_abort_too_and_a_thing_that_was_cancelled_by_it_stays_so(
    store: JobsStore, clock: FakeClock
) -> None:
    settings = JobSettings(1, abort_criteria=(AbortCriterion("TIMED_OUT", 10.0, 1),))
    store.create_job("j", THINGS, {}, settings=settings)
    for thing in THINGS[:3]:
        store.device.start_next(thing)
    clock.pass_minutes(1)
    store.advance()
    statuses = [one.status for one in store.list_executions("j")]
    assert statuses.count(ExecutionStatus.TIMED_OUT) == 3
    assert statuses.count(ExecutionStatus.CANCELED) == 7


def test_given_retries_and_an_abort_then_no_further_attempt(store: JobsStore) -> None:
    settings = JobSettings(
        retry_criteria=(RetryCriterion("FAILED", 5),), abort_criteria=(AbortCriterion("FAILED", 100.0, 2),)
    )
    store.create_job("j", THINGS[:2], {}, settings=settings)
    end(store, "t0", "FAILED")
    assert [one.retry_attempt for one in store.device.pending("t0")] == [1]
    end(store, "t0", "FAILED")
    assert store.device.pending("t0") == store.device.pending("t1") == ()
    assert store.describe_job("j").status is JobStatus.CANCELED


def test_given_executions_that_were_deleted_or_cancelled_then_they_do_not_count(store: JobsStore) -> None:
    store.create_job(
        "j", THINGS, {}, settings=JobSettings(abort_criteria=(AbortCriterion("FAILED", 50.0, 3),))
    )
    end(store, "t0", "FAILED")
    end(store, "t1", "FAILED")
    store.delete_execution("j", "t0", 1)
    store.cancel_execution("j", "t2")
    end(store, "t3", "SUCCEEDED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS, "two are completed"
    end(store, "t4", "SUCCEEDED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS, "one of three failed"
    end(store, "t5", "FAILED")
    assert store.describe_job("j").status is JobStatus.CANCELED, "two of four"


def test_given_a_start_time_then_scheduled_until_then(store: JobsStore, clock: FakeClock) -> None:
    job = store.create_job("j", THINGS, {}, settings=scheduled(clock, startTime=later(clock, 60)))
    assert (job.status, reached(store)) == (JobStatus.SCHEDULED, 0)
    assert rejected(lambda: store.delete_job("j")) is RejectionCode.INVALID_STATE_TRANSITION
    clock.pass_minutes(61)
    store.advance()
    assert (store.describe_job("j").status, reached(store)) == (JobStatus.IN_PROGRESS, 10)


def test_given_a_scheduled_job_then_it_can_be_cancelled_and_never_starts(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", THINGS, {}, settings=scheduled(clock, startTime=later(clock, 60)))
    assert store.cancel_job("j").status is JobStatus.CANCELED
    clock.pass_minutes(100)
    store.advance()
    assert reached(store) == 0


@pytest.mark.parametrize(
    ("behavior", "status", "running", "queued"),
    [
        ("STOP_ROLLOUT", "IN_PROGRESS", "IN_PROGRESS", "QUEUED"),
        ("CANCEL", "CANCELED", "IN_PROGRESS", "CANCELED"),
        ("FORCE_CANCEL", "CANCELED", "CANCELED", "CANCELED"),
    ],
)
def test_given_an_end_time_then_its_behaviour(
    store: JobsStore, clock: FakeClock, behavior: str, status: str, running: str, queued: str
) -> None:
    settings = scheduled(clock, endTime=later(clock, 31), endBehavior=behavior)
    settings = JobSettings(rollout=Rollout(2), schedule=settings.schedule)
    store.create_job("j", THINGS, {}, settings=settings)
    store.device.start_next("t0")
    clock.pass_minutes(32)
    store.advance()
    assert store.describe_job("j").status == status
    assert store.describe_execution("j", "t0").status == running
    assert store.describe_execution("j", "t1").status == queued
    clock.pass_minutes(10)
    store.advance()
    assert reached(store) == 2, "whoever waited gets it no more"


def test_given_a_continuous_job_then_it_completes_only_after_its_end(
    store: JobsStore, clock: FakeClock
) -> None:
    store.groups.create("g")
    store.groups.add_thing("g", "t0")
    store.create_job("for-ever", [], {}, groups=["g"], continuous=True)
    settings = scheduled(clock, endTime=later(clock, 31))
    store.create_job("until", [], {}, groups=["g"], continuous=True, settings=settings)
    for job_id in ("for-ever", "until"):
        end(store, "t0", "SUCCEEDED", job_id)
    assert store.describe_job("until").status is JobStatus.IN_PROGRESS
    clock.pass_minutes(32)
    store.advance()
    assert store.describe_job("until").status is JobStatus.COMPLETED
    assert store.describe_job("for-ever").status is JobStatus.IN_PROGRESS


@pytest.mark.parametrize(
    "config",
    [
        {"startTime": "29"},
        {"startTime": str(60 * 24 * 400)},
        {"startTime": "40", "endTime": "60"},
        {"endTime": "29"},
        {"endTime": str(60 * 24 * 800)},
        {"startTime": "60", "endBehavior": "CANCEL"},
        {"startTime": "tomorrow"},
        {"maintenanceWindows": [{"startTime": "cron(0 0 1 * ? *)", "durationInMinutes": 60}]},
    ],
)
def test_given_a_schedule_that_cannot_be_then_refused(clock: FakeClock, config: dict[str, str]) -> None:
    wanted = {
        key: later(clock, float(value)) if isinstance(value, str) and value.isdigit() else value
        for key, value in config.items()
    }
    assert rejected(lambda: scheduled(clock, **wanted)) is RejectionCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "settings",
    [
        JobSettings(0),
        JobSettings(10081),
        JobSettings(presigned_expires_in_s=59),
        JobSettings(presign_role_arn="too short"),
        JobSettings(rollout=Rollout(0)),
        JobSettings(rollout=Rollout(1001)),
        JobSettings(rollout=Rollout(None, ExponentialRate(0, 2.0, 1))),
        JobSettings(rollout=Rollout(None, ExponentialRate(10, 1.0, 1))),
        JobSettings(rollout=Rollout(None, ExponentialRate(10, 1.55, 1))),
        JobSettings(rollout=Rollout(None, ExponentialRate(10, 2.0))),
        JobSettings(rollout=Rollout(None, ExponentialRate(10, 2.0, 0))),
        JobSettings(abort_criteria=(AbortCriterion("ALL", 100.5, 1),)),
        JobSettings(abort_criteria=(AbortCriterion("ALL", 10.999, 1),)),
        JobSettings(abort_criteria=(AbortCriterion("ALL", -1, 1),)),
        JobSettings(abort_criteria=(AbortCriterion("ALL", 10.0, 0),)),
        JobSettings(retry_criteria=(RetryCriterion("FAILED", 6), RetryCriterion("TIMED_OUT", 5))),
        JobSettings(retry_criteria=(RetryCriterion("ALL", 1),) * 3),
    ],
)
def test_given_settings_over_the_limits_then_refused(settings: JobSettings) -> None:
    assert rejected(lambda: check_settings(settings)) is RejectionCode.INVALID_REQUEST


def test_given_settings_at_the_limits_then_taken_and_told_as_they_came() -> None:
    settings = JobSettings(
        10080,
        3600,
        "arn:aws:iam::1:role/x",
        (RetryCriterion("FAILED", 6), RetryCriterion("TIMED_OUT", 4)),
        (AbortCriterion("TIMED_OUT", 10.99, 1),),
        Rollout(1000, ExponentialRate(1000, 5.0, 1, 1)),
        Schedule(1.0, 2.0, "CANCEL", "2026-01-01T00:00", "2026-01-02T00:00"),
    )
    body = settings_body(check_settings(settings))
    del body["schedulingConfig"]
    assert settings_body(read_settings(body, 0)) == body


def test_given_an_update_then_later_things_get_it_and_the_timers_of_those_at_work_stay(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", THINGS, {}, settings=JobSettings(10, rollout=Rollout(2)))
    store.device.start_next("t0")
    store.update_job("j", description="faster", settings=JobSettings(20, rollout=Rollout(5)))
    assert store.describe_execution("j", "t0").deadline == clock.now + 600
    store.device.start_next("t1")
    assert store.describe_execution("j", "t1").deadline == clock.now + 1200
    clock.pass_minutes(1)
    store.advance()
    job = store.describe_job("j")
    assert (reached(store), job.description) == (7, "faster")
    store.cancel_job("j")
    assert rejected(lambda: store.update_job("j", description="x")) is RejectionCode.INVALID_REQUEST


def test_given_an_update_then_retries_can_only_be_given_up(store: JobsStore) -> None:
    store.create_job("j", THINGS[:1], {}, retry_criteria=[RetryCriterion("FAILED", 2)])
    more = JobSettings(retry_criteria=(RetryCriterion("FAILED", 3),))
    assert rejected(lambda: store.update_job("j", settings=more)) is RejectionCode.INVALID_REQUEST
    store.update_job("j", settings=JobSettings(5, retry_criteria=(RetryCriterion("FAILED", 2),)))
    store.update_job("j", settings=JobSettings(retry_criteria=(RetryCriterion("FAILED", 0),)))
    end(store, "t0", "FAILED")
    assert store.describe_job("j").status is JobStatus.COMPLETED


def test_given_a_cancelled_rollout_then_nobody_else_gets_it(store: JobsStore, clock: FakeClock) -> None:
    store.create_job("j", THINGS, {}, settings=JobSettings(rollout=Rollout(1)))
    job: Job = store.cancel_job("j")
    assert job.waiting == ()
    clock.pass_minutes(2)
    store.advance()
    assert reached(store) == 1


def test_given_a_removed_thing_then_it_waits_no_more(store: JobsStore, clock: FakeClock) -> None:
    store.create_job("j", THINGS[:3], {}, settings=JobSettings(rollout=Rollout(1)))
    store.remove_thing("t1")
    clock.pass_minutes(1)
    store.advance()
    assert [one.thing_name for one in store.list_executions("j")] == ["t0", "t2"]


def test_given_only_removed_things_wait_then_the_job_is_complete(store: JobsStore) -> None:
    store.create_job("j", THINGS[:2], {}, settings=JobSettings(rollout=Rollout(1)))
    end(store, "t0", "SUCCEEDED")
    store.remove_thing("t1")
    assert store.describe_job("j").status is JobStatus.COMPLETED


def test_given_a_scheduled_continuous_job_then_members_at_its_start_get_it(
    store: JobsStore, clock: FakeClock
) -> None:
    store.groups.create("g")
    for thing in ("t0", "t1"):
        store.groups.add_thing("g", thing)
    settings = scheduled(clock, startTime=later(clock, 60))
    store.create_job("j", [], {}, groups=["g"], continuous=True, settings=settings)
    store.groups.add_thing("g", "t2")
    store.groups.remove_thing("g", "t0")
    assert reached(store) == 0
    clock.pass_minutes(61)
    store.advance()
    assert [one.thing_name for one in store.list_executions("j")] == ["t1", "t2"]


def test_given_too_many_targets_then_the_limit(store: JobsStore) -> None:
    names = [f"thing-{number}" for number in range(101)]
    for name in names:
        store.add_thing(name)
    assert rejected(lambda: store.create_job("j", names, {})) is RejectionCode.LIMIT_EXCEEDED
    assert len(store.create_job("j", names[:100], {}).targets) == 100
