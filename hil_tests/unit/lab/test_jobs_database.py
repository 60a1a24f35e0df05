"""Jobs on disk: everything comes back as it was, a refused request leaves no trace, no other process or version gets in."""

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.errors import CloudError, UsageError
from bridge.lab.jobs_database import JobsDatabase
from bridge.lab.jobs_model import JobsRejectedError
from bridge.lab.jobs_rows import body_of, rows_of
from bridge.lab.jobs_settings import (
    AbortCriterion,
    ExponentialRate,
    JobSettings,
    RetryCriterion,
    Rollout,
    Schedule,
)
from bridge.lab.jobs_store import JobsStore
from hil_tests.unit.lab.clock import FakeClock

SETTINGS = JobSettings(
    30,
    120,
    "arn:aws:iam::1:role/x",
    (RetryCriterion("ALL", 2),),
    (AbortCriterion("ALL", 60.5, 3),),
    Rollout(5, ExponentialRate(10, 1.5, 2, 3)),
    Schedule(None, 1_700_100_000.0, "CANCEL", "", "2023-11-16T02:00"),
)


def everything(store: JobsStore) -> dict[str, Any]:
    """All that a store knows, in an order of its own."""
    tables = store._state.tables
    return {
        "things": dict(tables.things),
        "groups": {name: asdict(group) for name, group in tables.groups.items()},
        "memberships": dict(tables.memberships),
        "tags": dict(tables.tags),
        "jobs": [asdict(job) for job in tables.jobs.values()],
        "executions": {
            job_id: [asdict(one) for one in tables.executions_of_job(job_id)] for job_id in tables.jobs
        },
        "pending": {thing: store._state.pending(thing) for thing in tables.things},
        "sequence": tables.sequence,
        "next": tables.timers.next(),
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "jobs.sqlite3"


def copy_of(file: Path) -> Path:
    """The file as a killed process leaves it: nothing closed, the log not yet written back."""
    copy = file.with_name("copy.sqlite3")
    for suffix in ("", "-wal"):
        source, target = file.with_name(file.name + suffix), copy.with_name(copy.name + suffix)
        target.unlink(missing_ok=True)
        if source.exists():
            target.write_bytes(source.read_bytes())
    return copy


def read_back(file: Path, clock: FakeClock) -> dict[str, Any]:
    again = JobsStore(clock=clock)
    with again.kept_in(file):
        return everything(again)


def test_given_a_life_of_its_own_then_the_next_process_goes_on_with_it(file: Path) -> None:
    clock = FakeClock()
    store = JobsStore(clock=clock)
    store.add_thing("early")
    with store.kept_in(file):
        for thing in ("a", "b"):
            store.add_thing(thing)
        store.groups.create("top", description="all", attributes={"k": "v"}, tags={"t": "1"})
        store.groups.create("leaf", parent="top")
        store.groups.add_thing("leaf", "a")
        store.create_job(
            "j", ["b"], {"x": "ü"}, groups=["top"], continuous=True, settings=SETTINGS, tags={"a": "b"}
        )
        store.create_job("gone", "b", {})
        store.device.start_next("a", details={"stage": "fetch"}, step_timeout_minutes=5)
        store.device.update("b", "gone", "SUCCEEDED")
        store.delete_job("gone")
        before = everything(store)
        assert read_back(copy_of(file), clock) == before
    assert read_back(file, clock) == before
    again = JobsStore(clock=clock)
    with again.kept_in(file):
        clock.pass_minutes(5)
        again.advance()
        assert again.describe_execution("j", "a", number=1).status == "TIMED_OUT"
        (retry,) = again.device.pending("a")
        assert (retry.execution_number, retry.job_id) == (2, "j")


def test_given_a_block_that_ended_then_the_store_goes_on_in_memory_only(file: Path) -> None:
    clock = FakeClock()
    store = JobsStore(clock=clock)
    with store.kept_in(file):
        store.add_thing("a")
    store.add_thing("b")
    assert list(read_back(file, clock)["things"]) == ["a"]


def test_given_a_rejected_request_then_nothing_of_it_is_on_disk(file: Path) -> None:
    clock = FakeClock()
    store = JobsStore(clock=clock)
    with store.kept_in(file):
        store.add_thing("a")
        store.create_job("j", "a", {})
        with pytest.raises(JobsRejectedError):
            store.device.update("a", "j", "SUCCEEDED", expected_version=9)
        assert read_back(copy_of(file), clock) == everything(store)


def test_given_another_process_then_it_is_kept_out(file: Path) -> None:
    with JobsDatabase(file), pytest.raises(UsageError, match="another local cloud") as caught:
        JobsDatabase(file)
    assert caught.value.reason == "jobs-database"


@pytest.mark.parametrize("what", ["newer", "foreign", "no database", "directory"])
def test_given_a_file_that_is_not_ours_then_refused_and_left_alone(file: Path, what: str) -> None:
    if what == "no database":
        file.write_bytes(b"certainly no database" * 100)
    elif what == "directory":
        file.mkdir()
    else:
        JobsDatabase(file).close()
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 99" if what == "newer" else "PRAGMA application_id = 1")
    before = file.read_bytes() if file.is_file() else b""
    with pytest.raises(UsageError) as caught:
        JobsDatabase(file)
    assert caught.value.reason == "jobs-database"
    assert not file.is_file() or file.read_bytes() == before


def test_given_a_damaged_row_then_refused(file: Path) -> None:
    JobsDatabase(file).close()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("INSERT INTO things VALUES ('[', 'x')")
        connection.commit()
    with pytest.raises(UsageError), JobsStore().kept_in(file):
        pass


def test_given_a_disk_that_refuses_then_said_and_written_with_the_next_change(file: Path) -> None:
    clock = FakeClock()
    store = JobsStore(clock=clock)
    with store.kept_in(file):
        ledger = store._state.ledger
        assert isinstance(ledger, JobsDatabase)
        pages = ledger._connection.execute("PRAGMA page_count").fetchone()[0]
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(CloudError, match="cannot be written") as caught:
            for number in range(2000):
                store.add_thing(f"thing-{number}")
        assert caught.value.reason == "jobs-database"
        ledger._connection.execute(f"PRAGMA max_page_count = {pages * 100}")
        store.add_thing("last")
        assert read_back(copy_of(file), clock) == everything(store)


class KeptMachine(RuleBasedStateMachine):
    """After any order of calls, what is on disk is what is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = JobsStore(clock=self.clock)
        self.written: dict[tuple[str, tuple[str | int, ...]], str] = {}
        self.store._state.ledger = self
        for thing in ("a", "b", "c"):
            self.store.add_thing(thing)
        self.store.groups.create("g")

    def save(self, tables: Any) -> None:
        """A ledger that keeps rows in a dict."""
        for row in tables.changed:
            body = body_of(tables, row)
            if body is None:
                self.written.pop(row, None)
            else:
                self.written[row] = json.dumps(body)
        tables.changed.clear()

    def attempt(self, call: Any, *arguments: Any, **options: Any) -> None:
        with suppress(JobsRejectedError):
            call(*arguments, **options)

    @rule(
        number=st.integers(1, 3),
        continuous=st.booleans(),
        rate=st.integers(1, 2),
        retries=st.integers(0, 1),
        percent=st.sampled_from([0.0, 50.0, 100.0]),
    )
    def create(self, number: int, continuous: bool, rate: int, retries: int, percent: float) -> None:
        config = JobSettings(
            2,
            retry_criteria=(RetryCriterion("ALL", retries),),
            abort_criteria=(AbortCriterion("ALL", percent, 2),),
            rollout=Rollout(rate),
        )
        create = self.store.create_job
        self.attempt(create, f"j{number}", ["c"], {}, groups=["g"], continuous=continuous, settings=config)

    @rule(thing=st.sampled_from("abc"), add=st.booleans())
    def move(self, thing: str, add: bool) -> None:
        self.attempt(self.store.groups.add_thing if add else self.store.groups.remove_thing, "g", thing)

    @rule(thing=st.sampled_from("abc"), status=st.sampled_from(["SUCCEEDED", "FAILED", "REJECTED"]))
    def work(self, thing: str, status: str) -> None:
        started = self.store.device.start_next(thing)
        if started is not None:
            self.attempt(self.store.device.update, thing, started.job_id, status)

    @rule(minutes=st.sampled_from([0.5, 1, 3]))
    def time_passes(self, minutes: float) -> None:
        self.clock.pass_minutes(minutes)
        self.store.advance()

    @rule(number=st.integers(1, 3), force=st.booleans(), delete=st.booleans())
    def end_job(self, number: int, force: bool, delete: bool) -> None:
        self.attempt(self.store.delete_job if delete else self.store.cancel_job, f"j{number}", force=force)

    @invariant()
    def disk_is_memory(self) -> None:
        tables = self.store._state.tables
        assert self.written == {row: json.dumps(body_of(tables, row)) for row in rows_of(tables)}

    @invariant()
    def nobody_has_a_job_twice_at_once(self) -> None:
        for thing in ("a", "b", "c"):
            ids = [one.job_id for one in self.store.device.pending(thing)]
            assert len(ids) == len(set(ids))

    @invariant()
    def no_job_ends_while_things_wait_for_it(self) -> None:
        for job in self.store.list_jobs():
            open_ones = [one for one in self.store.list_executions(job.job_id) if not one.status.terminal]
            if job.status == "COMPLETED":
                assert not open_ones
            if job.status != "IN_PROGRESS":
                assert not job.waiting
                assert all(one.status != "QUEUED" for one in open_ones)


KeptMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestKeptMachine = KeptMachine.TestCase
