"""Thing groups, and continuous jobs that follow their members."""

from collections.abc import Callable

import pytest

from bridge.lab.jobs_model import ExecutionStatus, JobsRejectedError, JobStatus, RejectionCode
from bridge.lab.jobs_settings import JobSettings, RetryCriterion, Rollout
from bridge.lab.jobs_store import JobsStore
from hil_tests.unit.lab.clock import FakeClock

THINGS = ["a", "b", "c"]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> JobsStore:
    """Things a, b, c; groups top > middle > leaf, and other."""
    store = JobsStore(clock=clock)
    for thing in THINGS:
        store.add_thing(thing)
    store.groups.create("top")
    store.groups.create("middle", parent="top")
    store.groups.create("leaf", parent="middle", description="below", attributes={"site": "x"})
    store.groups.create("other")
    return store


def rejected(action: Callable[[], object]) -> RejectionCode:
    with pytest.raises(JobsRejectedError) as caught:
        action()
    return caught.value.code


def job_ids(store: JobsStore, thing: str) -> list[str]:
    return [one.job_id for one in store.device.pending(thing)]


def status(store: JobsStore, thing: str, job_id: str = "j") -> str:
    return store.describe_execution(job_id, thing).status.value


def test_given_a_hierarchy_then_listed_from_above_and_below(store: JobsStore) -> None:
    assert [one.name for one in store.groups.ancestors("leaf")] == ["top", "middle"]
    assert [one.name for one in store.groups.list_all()] == ["leaf", "middle", "other", "top"]
    assert [one.name for one in store.groups.list_all(recursive=False)] == ["other", "top"]
    assert [one.name for one in store.groups.list_all(parent="top")] == ["middle"]
    assert [one.name for one in store.groups.list_all(parent="top", recursive=True)] == ["leaf", "middle"]
    assert rejected(lambda: store.groups.list_all(parent="none")) is RejectionCode.RESOURCE_NOT_FOUND


def test_given_the_same_group_again_then_no_error_and_another_one_is_refused(store: JobsStore) -> None:
    first = store.groups.describe("leaf")
    again = store.groups.create("leaf", parent="middle", description="below", attributes={"site": "x"})
    assert again == first
    assert rejected(lambda: store.groups.create("leaf")) is RejectionCode.RESOURCE_ALREADY_EXISTS
    assert rejected(lambda: store.groups.create("x", parent="none")) is RejectionCode.INVALID_REQUEST
    assert rejected(lambda: store.groups.create("no group")) is RejectionCode.INVALID_REQUEST


def test_given_an_update_then_the_version_rises_and_a_stale_one_conflicts(store: JobsStore) -> None:
    merged = store.groups.update("leaf", attributes={"line": "1"}, merge=True, expected_version=1)
    assert (merged.version, merged.attributes) == (2, {"site": "x", "line": "1"})
    replaced = store.groups.update("leaf", description="new", attributes={"line": "2"})
    assert (replaced.description, replaced.attributes) == ("new", {"line": "2"})
    stale = rejected(lambda: store.groups.update("leaf", expected_version=1))
    assert stale is RejectionCode.VERSION_CONFLICT
    assert rejected(lambda: store.groups.delete("leaf", expected_version=1)) is RejectionCode.VERSION_CONFLICT


def test_given_children_then_a_group_cannot_be_deleted_and_its_things_outlive_it(store: JobsStore) -> None:
    assert rejected(lambda: store.groups.delete("middle")) is RejectionCode.INVALID_REQUEST
    store.groups.add_thing("leaf", "a")
    for name in ("leaf", "leaf", "middle"):
        store.groups.delete(name)
    assert (store.groups.groups_of("a"), "a" in store.things) == ([], True)
    assert rejected(lambda: store.groups.describe("leaf")) is RejectionCode.RESOURCE_NOT_FOUND


def test_given_members_then_direct_and_recursive(store: JobsStore) -> None:
    store.groups.add_thing("leaf", "a")
    store.groups.add_thing("leaf", "a")
    store.groups.add_thing("top", "b")
    assert store.groups.members("top") == ["b"]
    assert sorted(store.groups.members("top", recursive=True)) == ["a", "b"]
    assert store.groups.groups_of("a") == ["leaf"]
    store.groups.remove_thing("leaf", "a")
    assert store.groups.members("leaf") == []
    for action in (
        lambda: store.groups.add_thing("none", "a"),
        lambda: store.groups.add_thing("leaf", "nobody"),
        lambda: store.groups.remove_thing("none", "a"),
        lambda: store.groups.members("none"),
        lambda: store.groups.groups_of("nobody"),
    ):
        assert rejected(action) is RejectionCode.RESOURCE_NOT_FOUND


def test_given_one_hierarchy_or_ten_groups_then_no_more(store: JobsStore) -> None:
    store.groups.add_thing("leaf", "a")
    assert rejected(lambda: store.groups.add_thing("top", "a")) is RejectionCode.INVALID_REQUEST
    for number in range(9):
        store.groups.create(f"g{number}")
        store.groups.add_thing(f"g{number}", "a")
    assert rejected(lambda: store.groups.add_thing("other", "a")) is RejectionCode.INVALID_REQUEST


def test_given_a_snapshot_job_then_it_is_for_the_members_of_that_moment(store: JobsStore) -> None:
    store.groups.add_thing("leaf", "a")
    job = store.create_job("j", ["a", "b"], {}, groups=["top"])
    assert job.targets == ("a", "b", "thinggroup/top")
    store.groups.add_thing("leaf", "c")
    assert (job_ids(store, "a"), job_ids(store, "b"), job_ids(store, "c")) == (["j"], ["j"], [])
    store.groups.remove_thing("leaf", "a")
    assert status(store, "a") == "QUEUED"


def test_given_nobody_in_the_group_then_a_snapshot_is_complete_and_a_continuous_job_waits(
    store: JobsStore,
) -> None:
    assert store.create_job("snap", [], {}, groups=["top"]).status is JobStatus.COMPLETED
    assert store.create_job("cont", [], {}, groups=["top"], continuous=True).status is JobStatus.IN_PROGRESS
    unknown = rejected(lambda: store.create_job("x", [], {}, groups=["none"]))
    assert unknown is RejectionCode.RESOURCE_NOT_FOUND


def test_given_a_continuous_job_then_who_comes_later_gets_it_at_once(store: JobsStore) -> None:
    store.groups.add_thing("top", "a")
    settings = JobSettings(rollout=Rollout(1))
    store.create_job("j", [], {}, groups=["top"], continuous=True, settings=settings)
    store.device.update("a", "j", "SUCCEEDED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS
    store.take_notifications()
    store.groups.add_thing("leaf", "b")
    store.groups.add_thing("leaf", "c")
    assert (job_ids(store, "b"), job_ids(store, "c")) == (["j"], ["j"])
    kinds = [(one.kind, one.thing_name) for one in store.take_notifications()]
    assert kinds == [("notify", "b"), ("notify-next", "b"), ("notify", "c"), ("notify-next", "c")]


def test_given_a_thing_that_leaves_then_queued_is_removed_and_running_goes_on(store: JobsStore) -> None:
    for thing in THINGS:
        store.groups.add_thing("leaf", thing)
    store.create_job("j", ["c"], {}, groups=["top"], continuous=True)
    store.device.start_next("b")
    store.take_notifications()
    for thing in THINGS:
        store.groups.remove_thing("leaf", thing)
    assert [status(store, thing) for thing in THINGS] == ["REMOVED", "IN_PROGRESS", "QUEUED"]
    assert [(one.kind, one.thing_name) for one in store.take_notifications()] == [
        ("notify", "a"),
        ("notify-next", "a"),
    ]
    store.device.update("b", "j", "SUCCEEDED")


def test_given_a_thing_that_comes_back_then_a_new_execution_unless_it_has_worked_the_job(
    store: JobsStore,
) -> None:
    settings = JobSettings(retry_criteria=(RetryCriterion("FAILED", 1),))
    for thing in ("a", "b"):
        store.groups.add_thing("top", thing)
    store.create_job("j", [], {}, groups=["top"], continuous=True, settings=settings)
    store.device.update("a", "j", "FAILED")
    store.device.update("b", "j", "SUCCEEDED")
    for thing in ("a", "b"):
        store.groups.remove_thing("top", thing)
        store.groups.add_thing("top", thing)
    assert store.device.pending("b") == ()
    (again,) = store.device.pending("a")
    assert (again.execution_number, again.retry_attempt) == (3, 0)
    store.device.update("a", "j", "FAILED")
    assert [one.retry_attempt for one in store.device.pending("a")] == [1], "retries begin anew"
    store.device.update("a", "j", "FAILED")
    assert store.device.pending("a") == ()


def test_given_a_thing_that_waits_for_the_rollout_then_leaving_takes_it_off(
    store: JobsStore, clock: FakeClock
) -> None:
    for thing in THINGS:
        store.groups.add_thing("top", thing)
    settings = JobSettings(rollout=Rollout(1))
    store.create_job("j", [], {}, groups=["top"], continuous=True, settings=settings)
    store.groups.remove_thing("top", "b")
    clock.pass_minutes(1)
    store.advance()
    assert [one.thing_name for one in store.list_executions("j")] == ["a", "c"]


def test_given_more_groups_for_a_continuous_job_then_their_things_get_it(store: JobsStore) -> None:
    store.groups.add_thing("other", "a")
    store.groups.add_thing("top", "a")
    store.groups.add_thing("other", "b")
    store.create_job("j", [], {}, groups=["top"], continuous=True)
    job = store.associate_targets("j", ["other"], comment="more")
    assert (job.targets, job.comment) == (("thinggroup/top", "thinggroup/other"), "more")
    assert (job_ids(store, "a"), job_ids(store, "b")) == (["j"], ["j"])
    assert rejected(lambda: store.associate_targets("j", ["none"])) is RejectionCode.RESOURCE_NOT_FOUND
    store.create_job("snap", ["a"], {})
    assert rejected(lambda: store.associate_targets("snap", ["other"])) is RejectionCode.INVALID_REQUEST
    store.cancel_job("j")
    assert rejected(lambda: store.associate_targets("j", ["other"])) is RejectionCode.INVALID_REQUEST


def test_given_a_deleted_group_then_its_things_are_removed_from_continuous_jobs(store: JobsStore) -> None:
    store.groups.add_thing("other", "a")
    store.create_job("j", [], {}, groups=["other"], continuous=True)
    store.groups.delete("other")
    assert status(store, "a") == ExecutionStatus.REMOVED


def test_given_a_deleted_thing_then_it_is_in_no_group(store: JobsStore) -> None:
    store.groups.add_thing("other", "a")
    store.remove_thing("a")
    assert store.groups.members("other") == []


def test_given_tags_then_kept_with_their_resource(store: JobsStore) -> None:
    store.create_job("j", ["a"], {}, tags={"k": "v"})
    store.tags.add("job/j", {"l": ""})
    store.tags.remove("job/j", ["k", "none"])
    assert store.tags.of("job/j") == {"l": ""}
    too_many = rejected(lambda: store.tags.add("job/j", {str(n): "" for n in range(50)}))
    assert too_many is RejectionCode.LIMIT_EXCEEDED
    store.delete_job("j", force=True)
    assert rejected(lambda: store.tags.of("job/j")) is RejectionCode.RESOURCE_NOT_FOUND
    assert rejected(lambda: store.tags.of("thing/a")) is RejectionCode.INVALID_REQUEST
