"""Maintenance windows: weekdays, midnight, time zones, daylight saving time; and the agent that waits for one."""

import threading
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cloud import JobStatus
from bridge.errors import UsageError
from bridge.fota import UpdateEvent, Waiting
from bridge.fota.agent import Agent
from bridge.fota.job_queue import WATCH_S
from bridge.fota.window import Admission, parse_window
from hil_tests.unit.fota.fakes import FakeJobs, job_execution

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-05T22:00", True),  # a Monday
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-05T21:59", False),
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-05T04:59", False),  # belongs to Sunday
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-06T04:59", True),
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-06T05:00", False),
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-10T04:00", True),  # Saturday, after Friday's night
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-10T23:00", False),
        ("sat,sun 00:00-24:00 Europe/Berlin", "2026-01-10T00:00", True),
        ("sat,sun 00:00-24:00 Europe/Berlin", "2026-01-11T23:59", True),
        ("sat,sun 00:00-24:00 Europe/Berlin", "2026-01-12T00:00", False),
        ("Fri-Mon 01:00-02:00 Europe/Berlin", "2026-01-11T01:30", True),
        ("Fri-Mon 01:00-02:00 Europe/Berlin", "2026-01-08T01:30", False),
        ("22:00-00:00 Europe/Berlin", "2026-01-08T23:59", True),
        ("22:00-00:00 Europe/Berlin", "2026-01-08T00:00", False),
        ("1:00 - 2:00 Europe/Berlin", "2026-01-08T01:30", True),
        ("21:00-22:00 UTC", "2026-01-08T22:30", True),
        ("21:00-22:00 UTC", "2026-07-08T22:30", False),
    ],
)
def test_when_a_window_is_open(window: str, moment: str, is_open: bool) -> None:
    assert parse_window(window).is_open(at(moment)) is is_open


def test_without_a_zone_the_time_of_this_computer_counts() -> None:
    noon = datetime(2026, 1, 8, 12, 30).astimezone()
    assert parse_window("12:00-13:00").is_open(noon)
    assert not parse_window("13:00-14:00").is_open(noon)


@pytest.mark.parametrize(
    ("window", "now", "opens"),
    [
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-05T10:00:30", "2026-01-05T22:00"),
        ("Mon-Fri 22:00-05:00 Europe/Berlin", "2026-01-10T05:00", "2026-01-12T22:00"),
        ("Mon 03:00-03:01 Europe/Berlin", "2026-01-05T03:01", "2026-01-12T03:00"),
        ("02:30-03:30 Europe/Berlin", "2026-03-29T01:00", "2026-03-29T03:00"),  # half of it does not exist
        ("02:15-02:45 Europe/Berlin", "2026-03-29T01:00", "2026-03-30T02:15"),  # none of it does
    ],
)
def test_when_a_window_opens(window: str, now: str, opens: str) -> None:
    admission = Admission([parse_window(window)], lambda: at(now))
    opens_at = admission.opens_at()
    assert opens_at is not None
    assert opens_at.astimezone(BERLIN).replace(tzinfo=None).isoformat(timespec="minutes") == opens
    assert admission.left_s() == (opens_at - at(now)).total_seconds()


def test_the_hour_that_comes_twice_is_open_twice() -> None:
    window = parse_window("02:00-03:00 Europe/Berlin")
    summer, winter = datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert window.is_open(summer)
    assert window.is_open(winter)


@given(
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),
    st.sampled_from(["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from(["22:00-05:00", "02:00-03:00", "Tue 00:30-01:00", "Sat-Sun 12:00-12:01"]),
)
@settings(max_examples=60, deadline=None)
def test_it_opens_when_it_says_and_not_a_minute_before(now: datetime, zone: str, hours: str) -> None:
    window = parse_window(f"{hours} {zone}")
    opens_at = Admission([window], lambda: now).opens_at()
    if opens_at is None:
        assert window.is_open(now)
        return
    assert not window.is_open(now)
    assert now < opens_at <= now + timedelta(days=8)
    assert window.is_open(opens_at)
    assert not window.is_open(opens_at - timedelta(seconds=1))


def test_no_window_is_always_open_and_of_several_the_first_counts() -> None:
    assert Admission().opens_at() is None
    windows = [parse_window("03:00-04:00 UTC"), parse_window("02:00-03:00 UTC")]
    now = [datetime(2026, 1, 8, 1, 0, tzinfo=UTC)]
    admission = Admission(windows, lambda: now[0])
    assert admission.left_s() == 3600.0
    now[0] += timedelta(minutes=90)
    assert admission.opens_at() is None
    assert admission.left_s() == 0.0
    now[0] += timedelta(hours=20)
    assert admission.left_s() == 3.5 * 3600


@pytest.mark.parametrize(
    "text",
    [
        *("", "always", "Mon", "22:00", "22-05", "22:00-22:00", "24:00-05:00", "25:00-26:00", "10:60-11:00"),
        *(
            "Monday 1:00-2:00",
            "Mon-Tue-Wed 1:00-2:00",
            "Xyz 1:00-2:00",
            "1:00-2:00 Mars/Phobos",
            "1:00-2:00 ../x",
        ),
    ],
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_window(text)
    assert caught.value.reason == "bad-window"


# --- the agent -------------------------------------------------------------------------------------------------


class WaitingJobs(FakeJobs):
    """Time passes while the agent waits for its queue."""

    def __init__(self, status: JobStatus, now: list[datetime]) -> None:
        super().__init__(job_execution(status=status, document={"operation": "nonsense"}))
        self.now = now
        self.waits: list[float] = []

    def wait_for_job_change(self, timeout_s: float) -> bool:
        assert self.updates == [], "a job that waits is not touched"
        self.waits.append(timeout_s)
        self.now[0] += timedelta(seconds=timeout_s)
        return False


def agent_of(jobs: WaitingJobs, events: list[UpdateEvent]) -> Agent:
    def nothing(*_: object) -> object:
        raise AssertionError("nothing is opened or fetched for a document that makes no sense")

    admission = Admission([parse_window("02:00-03:00 UTC")], lambda: jobs.now[0])
    return Agent(
        jobs,
        nothing,  # type: ignore[arg-type]
        nothing,  # type: ignore[arg-type]
        on_event=lambda _, event: events.append(event),
        admission=admission,
    )


def test_a_queued_job_stays_in_the_queue_until_the_window_opens_and_that_is_told() -> None:
    jobs = WaitingJobs(JobStatus.QUEUED, [datetime(2026, 1, 8, 1, 58, 30, tzinfo=UTC)])
    events: list[UpdateEvent] = []
    result = agent_of(jobs, events).run(once=True)
    assert jobs.waits == [60.0, 30.0]
    assert jobs.now[0] == datetime(2026, 1, 8, 2, 0, tzinfo=UTC)
    told = [event for event in events if isinstance(event, Waiting)]
    assert {(event.stage, event.reason) for event in told} == {("queued", "maintenance-window")}
    assert "2026-01-08T02:00:00+00:00" in told[0].text
    assert result is not None
    assert result.finished.reason == "unknown-operation"
    assert jobs.updates[-1][0] is JobStatus.REJECTED


def test_a_job_that_was_taken_is_brought_to_its_end_at_any_time() -> None:
    jobs = WaitingJobs(JobStatus.IN_PROGRESS, [datetime(2026, 1, 8, 12, 0, tzinfo=UTC)])
    assert agent_of(jobs, []).run(once=True) is not None
    assert jobs.waits == [WATCH_S]  # it might be another agent's


def test_an_agent_that_waits_for_a_window_can_be_stopped() -> None:
    jobs = WaitingJobs(JobStatus.QUEUED, [datetime(2026, 1, 8, 12, 0, tzinfo=UTC)])
    agent = agent_of(jobs, [])
    waited = threading.Event()

    def wait(timeout_s: float) -> bool:
        waited.set()
        agent.stop()
        return True

    jobs.wait_for_job_change = wait  # type: ignore[method-assign]
    assert agent.run() is None
    assert waited.is_set()
    assert jobs.updates == []
