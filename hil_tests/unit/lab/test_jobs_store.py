"""The Jobs store's rules: queue order, versions, who may set what, timers, cancel, retry, notifications."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bridge.lab.jobs_model import ExecutionStatus, JobsRejectedError, JobStatus, RejectionCode
from bridge.lab.jobs_settings import RetryCriterion
from bridge.lab.jobs_store import JobsStore
from hil_tests.unit.lab.clock import FakeClock

A = "thing-a"
DOCUMENT = {"operation": "app_fw_update"}


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> JobsStore:
    store = JobsStore(clock=clock)
    store.add_thing(A)
    store.add_thing("thing-b")
    return store


def rejected(action: Callable[[], object]) -> JobsRejectedError:
    with pytest.raises(JobsRejectedError) as caught:
        action()
    return caught.value


def pending_ids(store: JobsStore, thing: str = A) -> list[str]:
    return [one.job_id for one in store.device.pending(thing)]


def notified(store: JobsStore) -> list[tuple[str, str, list[str]]]:
    return [
        (one.kind, one.thing_name, [pending.job_id for pending in one.pending])
        for one in store.take_notifications()
    ]


def test_given_a_new_job_then_queued_at_version_1_on_each_thing(store: JobsStore, clock: FakeClock) -> None:
    store.create_job("j", [A, "thing-b", A], DOCUMENT)
    assert store.describe_job("j").targets == (A, "thing-b")
    execution = store.describe_execution("j", "thing-b")
    assert (execution.status, execution.version_number, execution.execution_number) == ("QUEUED", 1, 1)
    assert execution.queued_at == execution.last_updated_at == clock.now
    assert execution.started_at is None
    assert store.device.document("j") == DOCUMENT


def test_given_several_jobs_then_in_progress_first_and_creation_order_after(store: JobsStore) -> None:
    for name in ("one", "two", "three"):
        store.create_job(name, A, DOCUMENT)
    assert pending_ids(store) == ["one", "two", "three"]
    store.device.update(A, "three", "IN_PROGRESS")
    assert pending_ids(store) == ["three", "one", "two"]
    store.device.update(A, "two", "IN_PROGRESS")
    assert pending_ids(store) == ["two", "three", "one"]


def test_given_start_next_then_in_progress_with_details_and_a_second_call_changes_nothing(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", A, DOCUMENT)
    started = store.device.start_next(A, details={"stage": "fetch"}, step_timeout_minutes=5)
    assert started is not None
    assert (started.status, started.version_number, started.status_details) == (
        "IN_PROGRESS",
        2,
        {"stage": "fetch"},
    )
    clock.pass_minutes(1)
    assert store.device.start_next(A, details={"stage": "other"}, step_timeout_minutes=60) == started


def test_given_an_empty_queue_then_start_next_and_describe_next_give_nothing(store: JobsStore) -> None:
    assert store.device.start_next(A) is None
    assert store.device.describe(A, "$next") is None


def test_given_progress_then_version_rises_and_omitted_details_stay(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", A, DOCUMENT)
    store.device.update(A, "j", "IN_PROGRESS", details={"percent": "10"}, expected_version=1)
    clock.pass_minutes(2)
    kept = store.device.update(A, "j", "IN_PROGRESS", expected_version="2")
    assert (kept.version_number, kept.status_details) == (3, {"percent": "10"})
    assert (kept.last_updated_at - kept.queued_at, kept.started_at) == (120, kept.queued_at)
    replaced = store.device.update(A, "j", "SUCCEEDED", details={"stage": "done"})
    assert replaced.status_details == {"stage": "done"}
    assert store.describe_job("j").status is JobStatus.COMPLETED


def test_given_a_wrong_expected_version_then_mismatch_with_the_state(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT)
    error = rejected(lambda: store.device.update(A, "j", "SUCCEEDED", expected_version=7))
    assert error.code is RejectionCode.VERSION_MISMATCH
    assert error.reason == "version-mismatch"
    assert error.execution == store.describe_execution("j", A)
    assert store.describe_execution("j", A).status is ExecutionStatus.QUEUED


@pytest.mark.parametrize("end", ["SUCCEEDED", "FAILED", "REJECTED"])
@pytest.mark.parametrize("start", [True, False])
def test_given_a_terminal_state_then_nothing_follows(store: JobsStore, end: str, start: bool) -> None:
    store.create_job("j", A, DOCUMENT)
    if start:
        store.device.start_next(A)
    store.device.update(A, "j", end)
    error = rejected(lambda: store.device.update(A, "j", "IN_PROGRESS"))
    assert error.code is RejectionCode.INVALID_STATE_TRANSITION
    assert error.execution is not None
    assert error.execution.status == end
    assert rejected(lambda: store.device.describe(A, "j")).code is RejectionCode.TERMINAL_STATE_REACHED
    assert pending_ids(store) == []


@pytest.mark.parametrize("status", ["QUEUED", "TIMED_OUT", "REMOVED", "CANCELED", "succeeded", None, 3])
def test_given_a_status_no_device_may_set_then_invalid(store: JobsStore, status: object) -> None:
    store.create_job("j", A, DOCUMENT)
    assert rejected(lambda: store.device.update(A, "j", status)).code is RejectionCode.INVALID_REQUEST


@pytest.mark.parametrize(
    "details",
    [
        {str(n): "x" for n in range(11)},
        {"": "x"},
        {"k" * 129: "x"},
        {"a b": "x"},
        {"k": ""},
        {"k": "v" * 1025},
        {"k": "line\nbreak"},
        {"k": 3},
        ["k"],
    ],
)
def test_given_details_over_the_limits_then_invalid_and_unchanged(store: JobsStore, details: object) -> None:
    store.create_job("j", A, DOCUMENT)
    error = rejected(lambda: store.device.update(A, "j", "IN_PROGRESS", details=details))
    assert error.code is RejectionCode.INVALID_REQUEST
    assert store.describe_execution("j", A).version_number == 1


def test_given_details_at_the_limits_then_taken(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT)
    details = {f"key:_-{n}": "ü" * 1024 for n in range(10)}
    assert store.device.update(A, "j", "IN_PROGRESS", details=details).status_details == details


@pytest.mark.parametrize("minutes", [0, -2, 10081, "x", 1.5, True])
def test_given_a_step_timeout_out_of_range_then_invalid(store: JobsStore, minutes: object) -> None:
    store.create_job("j", A, DOCUMENT)
    error = rejected(lambda: store.device.update(A, "j", "IN_PROGRESS", step_timeout_minutes=minutes))
    assert error.code is RejectionCode.INVALID_REQUEST


@pytest.mark.parametrize("unknown", ["thing", "job", "number"])
def test_given_something_unknown_then_not_found(store: JobsStore, unknown: str) -> None:
    store.create_job("j", A, DOCUMENT)
    thing, job_id = ("nobody" if unknown == "thing" else A), ("k" if unknown == "job" else "j")
    number = 2 if unknown == "number" else 1
    for call in (
        lambda: store.device.describe(thing, job_id, number=number),
        lambda: store.device.update(thing, job_id, "FAILED", number=number),
    ):
        assert rejected(call).code is RejectionCode.RESOURCE_NOT_FOUND


@pytest.mark.parametrize(
    ("job_id", "document", "options", "code"),
    [
        ("", {}, {}, "InvalidRequest"),
        ("j" * 65, {}, {}, "InvalidRequest"),
        ("j.1", {}, {}, "InvalidRequest"),
        ("j", "{no json", {}, "InvalidRequest"),
        ("j", {"x": "y" * 32768}, {}, "InvalidRequest"),
        ("j", {}, {"in_progress_timeout_minutes": 0}, "InvalidRequest"),
        ("j", {}, {"in_progress_timeout_minutes": 10081}, "InvalidRequest"),
        ("j", {}, {"presigned_expires_in_s": 59}, "InvalidRequest"),
        ("j", {}, {"retry_criteria": [RetryCriterion("ALL", 11)]}, "InvalidRequest"),
        ("j", {}, {"things": []}, "InvalidRequest"),
        ("j", {}, {"things": "nobody"}, "ResourceNotFound"),
        ("j", {}, {"things": "no body"}, "InvalidRequest"),
        ("taken", {}, {}, "ResourceAlreadyExists"),
    ],
)
def test_given_a_job_that_cannot_be_then_refused_and_nothing_queued(
    store: JobsStore, job_id: str, document: object, options: dict[str, object], code: str
) -> None:
    store.create_job("taken", A, DOCUMENT)
    arguments = {"things": A, **options}
    error = rejected(lambda: store.create_job(job_id, document=document, **arguments))  # type: ignore[arg-type]  # a table of arguments
    assert error.code == code
    assert pending_ids(store) == ["taken"]


def test_given_a_document_of_32768_characters_then_taken(store: JobsStore) -> None:
    text = '"' + "x" * 32766 + '"'
    store.create_job("j", A, text)
    assert store.device.document("j") == "x" * 32766


def test_given_an_in_progress_timeout_then_fixed_at_the_start(store: JobsStore, clock: FakeClock) -> None:
    store.create_job("j", A, DOCUMENT, in_progress_timeout_minutes=10)
    clock.pass_minutes(60)
    assert store.next_deadline() is None, "waiting in the queue costs nothing"
    store.device.start_next(A)
    assert store.next_deadline() == clock.now + 600
    clock.pass_minutes(9)
    store.device.update(A, "j", "IN_PROGRESS", step_timeout_minutes=100)
    clock.pass_minutes(1)
    store.advance()
    execution = store.describe_execution("j", A)
    assert (execution.status, execution.version_number) == ("TIMED_OUT", 4)
    assert store.describe_job("j").status is JobStatus.COMPLETED
    assert store.next_deadline() is None


def test_given_a_step_timer_then_restarted_by_a_value_kept_without_and_stopped_by_minus_1(
    store: JobsStore, clock: FakeClock
) -> None:
    store.create_job("j", A, DOCUMENT)
    store.device.start_next(A, step_timeout_minutes=5)
    clock.pass_minutes(4)
    store.device.update(A, "j", "IN_PROGRESS", step_timeout_minutes=5)
    clock.pass_minutes(4)
    store.device.update(A, "j", "IN_PROGRESS")
    assert store.next_deadline() == clock.now + 60
    store.device.update(A, "j", "IN_PROGRESS", step_timeout_minutes=-1)
    clock.pass_minutes(60)
    assert store.device.update(A, "j", "IN_PROGRESS", step_timeout_minutes=1).status == "IN_PROGRESS"
    clock.pass_minutes(1)
    error = rejected(lambda: store.device.update(A, "j", "SUCCEEDED"))
    assert error.code is RejectionCode.INVALID_STATE_TRANSITION
    assert error.execution is not None
    assert error.execution.status is ExecutionStatus.TIMED_OUT


def test_given_a_cancel_then_queued_ones_end_and_running_ones_only_by_force(store: JobsStore) -> None:
    store.create_job("j", [A, "thing-b"], DOCUMENT)
    store.device.start_next(A)
    job = store.cancel_job("j", reason_code="BAD_IMAGE", comment="oops")
    assert (job.status, job.reason_code, job.comment) == (JobStatus.CANCELED, "BAD_IMAGE", "oops")
    assert store.describe_execution("j", "thing-b").status is ExecutionStatus.CANCELED
    assert store.describe_execution("j", A).status is ExecutionStatus.IN_PROGRESS
    store.cancel_job("j", force=True)
    execution = store.describe_execution("j", A)
    assert (execution.status, execution.force_canceled) == (ExecutionStatus.CANCELED, True)
    error = rejected(lambda: store.device.update(A, "j", "SUCCEEDED"))
    assert error.code is RejectionCode.INVALID_STATE_TRANSITION
    assert store.describe_job("j").status is JobStatus.CANCELED


def test_given_a_completed_job_or_a_bad_reason_then_no_cancel(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT)
    assert rejected(lambda: store.cancel_job("j", reason_code="lower")).code is RejectionCode.INVALID_REQUEST
    store.device.update(A, "j", "SUCCEEDED")
    assert rejected(lambda: store.cancel_job("j")).code is RejectionCode.INVALID_REQUEST


def test_given_one_execution_cancelled_then_its_rules(store: JobsStore) -> None:
    store.create_job("j", [A, "thing-b"], DOCUMENT)
    assert store.cancel_execution("j", "thing-b", details={"why": "x"}).status_details == {"why": "x"}
    store.device.start_next(A)
    running = rejected(lambda: store.cancel_execution("j", A))
    assert running.code is RejectionCode.INVALID_STATE_TRANSITION
    stale = rejected(lambda: store.cancel_execution("j", A, force=True, expected_version=1))
    assert stale.code is RejectionCode.VERSION_MISMATCH
    assert store.cancel_execution("j", A, force=True, expected_version=2).status is ExecutionStatus.CANCELED
    again = rejected(lambda: store.cancel_execution("j", A, force=True))
    assert again.code is RejectionCode.INVALID_STATE_TRANSITION
    assert store.describe_job("j").status is JobStatus.COMPLETED


def test_given_a_deleted_job_then_the_device_finds_nothing(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT)
    store.device.start_next(A)
    assert rejected(lambda: store.delete_job("j")).code is RejectionCode.INVALID_STATE_TRANSITION
    store.delete_job("j", force=True)
    assert rejected(lambda: store.device.update(A, "j", "SUCCEEDED")).code is RejectionCode.RESOURCE_NOT_FOUND
    assert rejected(lambda: store.describe_job("j")).code is RejectionCode.RESOURCE_NOT_FOUND
    assert store.list_jobs() == []


def test_given_one_execution_deleted_then_the_rest_decides_about_the_job(store: JobsStore) -> None:
    store.create_job("j", [A, "thing-b"], DOCUMENT)
    store.device.update(A, "j", "SUCCEEDED")
    assert (
        rejected(lambda: store.delete_execution("j", "thing-b", 1)).code
        is RejectionCode.INVALID_STATE_TRANSITION
    )
    store.delete_execution("j", "thing-b", 1, force=True)
    assert store.describe_job("j").status is JobStatus.COMPLETED
    assert [one.thing_name for one in store.list_executions("j")] == [A]


def test_given_a_removed_thing_then_its_executions_are_removed(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT)
    store.remove_thing(A)
    assert store.describe_execution("j", A).status is ExecutionStatus.REMOVED
    assert store.things == ("thing-b",)
    assert rejected(lambda: store.device.pending(A)).code is RejectionCode.RESOURCE_NOT_FOUND


def test_given_retries_then_a_failed_execution_is_queued_again_with_the_next_number(store: JobsStore) -> None:
    store.create_job("j", A, DOCUMENT, retry_criteria=[RetryCriterion("FAILED", 1)])
    store.device.update(A, "j", "FAILED")
    assert store.describe_job("j").status is JobStatus.IN_PROGRESS
    (second,) = store.device.pending(A)
    assert (second.execution_number, second.retry_attempt, second.version_number) == (2, 1, 1)
    ended = rejected(lambda: store.device.describe(A, "j", number=1))
    assert ended.code is RejectionCode.TERMINAL_STATE_REACHED
    store.device.update(A, "j", "FAILED")
    assert store.device.pending(A) == ()
    assert store.describe_job("j").status is JobStatus.COMPLETED
    assert [one.execution_number for one in store.list_executions("j", status=ExecutionStatus.FAILED)] == [
        1,
        2,
    ]
    assert store.describe_execution("j", A, number=1).execution_number == 1
    assert len(store.list_thing_executions(A)) == 2


@pytest.mark.parametrize(
    ("criterion", "end", "retried"), [("ALL", "FAILED", True), ("TIMED_OUT", "FAILED", False)]
)
def test_given_a_retry_criterion_then_it_counts_its_own_failures(
    store: JobsStore, criterion: str, end: str, retried: bool
) -> None:
    store.create_job("j", A, DOCUMENT, retry_criteria=[RetryCriterion(criterion, 1)])  # type: ignore[arg-type]  # a table
    store.device.update(A, "j", end)
    assert bool(store.device.pending(A)) is retried


@pytest.mark.parametrize("end", ["SUCCEEDED", "REJECTED"])
def test_given_retries_then_success_and_rejection_are_final(store: JobsStore, end: str) -> None:
    store.create_job("j", A, DOCUMENT, retry_criteria=[RetryCriterion("ALL", 10)])
    store.device.update(A, "j", end)
    assert store.device.pending(A) == ()


def test_given_a_placeholder_then_a_fresh_url_at_every_reading() -> None:
    minted: list[str] = []

    def presign(url: str, expires_in_s: int) -> str:
        minted.append(url)
        return f"{url}?n={len(minted)}&life={expires_in_s}"

    store = JobsStore(presigner=presign)
    store.add_thing(A)
    holder = "${aws:iot:s3-presigned-url:https://s3.local/b/k}"
    v2 = "${aws:iot:s3-presigned-url-v2:https://s3.local/b/l}"
    store.create_job("j", A, {"location": {"url": holder}, "more": [v2, 3]}, presigned_expires_in_s=60)
    assert store.device.document("j") == {
        "location": {"url": "https://s3.local/b/k?n=1&life=60"},
        "more": ["https://s3.local/b/l?n=2&life=60", 3],
    }
    assert store.device.document("j") != store.device.document("j")
    assert holder in store.describe_job("j").document_text


def test_given_no_presigner_then_the_placeholder_stays(store: JobsStore) -> None:
    store.create_job("j", A, {"url": "${aws:iot:s3-presigned-url:https://x/y}"})
    assert store.device.document("j") == {"url": "${aws:iot:s3-presigned-url:https://x/y}"}


def test_given_jobs_coming_and_going_then_notify_on_the_set_and_notify_next_on_the_head(
    store: JobsStore,
) -> None:
    store.create_job("one", A, DOCUMENT)
    assert notified(store) == [("notify", A, ["one"]), ("notify-next", A, ["one"])]
    store.create_job("two", A, DOCUMENT)
    assert notified(store) == [("notify", A, ["one", "two"])]
    store.device.start_next(A)
    assert notified(store) == [("notify", A, ["one", "two"])]
    store.device.update(A, "one", "IN_PROGRESS", details={"percent": "50"})
    assert notified(store) == []
    store.device.update(A, "one", "SUCCEEDED")
    assert notified(store) == [("notify", A, ["two"]), ("notify-next", A, ["two"])]
    store.cancel_job("two")
    assert notified(store) == [("notify", A, []), ("notify-next", A, [])]


def test_given_the_other_reading_of_the_guide_then_a_start_is_not_notified(clock: FakeClock) -> None:
    store = JobsStore(clock=clock, notify_on_start=False)
    store.add_thing(A)
    store.create_job("one", A, DOCUMENT)
    store.take_notifications()
    store.device.start_next(A)
    assert notified(store) == []


def test_given_a_later_job_started_first_then_the_head_changes(store: JobsStore) -> None:
    store.create_job("one", A, DOCUMENT)
    store.create_job("two", A, DOCUMENT)
    store.take_notifications()
    store.device.update(A, "two", "IN_PROGRESS")
    assert ("notify-next", A, ["two", "one"]) in notified(store)


def test_given_a_listener_then_called_after_the_change_even_when_the_call_was_rejected(
    store: JobsStore, clock: FakeClock
) -> None:
    calls: list[int] = []
    store.create_job("j", A, DOCUMENT, in_progress_timeout_minutes=1)
    store.device.start_next(A)
    store.take_notifications()
    store.set_listener(lambda: calls.append(len(store.take_notifications())))
    clock.pass_minutes(2)
    rejected(lambda: store.device.update(A, "j", "SUCCEEDED"))
    assert calls == [2]


@contextmanager
def allowing(*codes: str) -> Iterator[None]:
    try:
        yield
    except JobsRejectedError as error:
        if error.code not in codes:
            raise


class StoreMachine(RuleBasedStateMachine):
    """Any order of calls keeps the store's promises."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.store = JobsStore(clock=self.clock)
        self.store.add_thing(A)
        self.seen: dict[tuple[str, int], tuple[int, ExecutionStatus]] = {}
        self.created = 0

    @rule(timeout=st.none() | st.integers(1, 5), retries=st.integers(0, 2))
    def create(self, timeout: int | None, retries: int) -> None:
        self.created += 1
        criteria = [RetryCriterion("ALL", retries)]
        self.store.create_job(
            f"j{self.created}", A, DOCUMENT, in_progress_timeout_minutes=timeout, retry_criteria=criteria
        )

    @rule(minutes=st.integers(0, 4))
    def time_passes(self, minutes: int) -> None:
        self.clock.pass_minutes(minutes)
        self.store.advance()

    @rule(step=st.none() | st.integers(1, 5))
    def start_next(self, step: int | None) -> None:
        self.store.device.start_next(A, step_timeout_minutes=step)

    @rule(
        number=st.integers(1, 5),
        status=st.sampled_from(["IN_PROGRESS", "SUCCEEDED", "FAILED"]),
        version=st.integers(1, 4),
    )
    def update(self, number: int, status: str, version: int) -> None:
        with allowing("ResourceNotFound", "VersionMismatch", "InvalidStateTransition"):
            self.store.device.update(A, f"j{number}", status, expected_version=version)

    @rule(number=st.integers(1, 5), force=st.booleans(), delete=st.booleans())
    def cancel_or_delete(self, number: int, force: bool, delete: bool) -> None:
        with allowing("ResourceNotFound", "InvalidRequest", "InvalidStateTransition"):
            (self.store.delete_job if delete else self.store.cancel_job)(f"j{number}", force=force)

    @invariant()
    def versions_rise_and_ends_are_final(self) -> None:
        for one in self.store.list_thing_executions(A):
            key = (one.job_id, one.execution_number)
            version, status = self.seen.get(key, (0, ExecutionStatus.QUEUED))
            assert one.version_number >= version
            assert one.version_number > version or one.status is status or not version
            assert not status.terminal or one.status is status
            self.seen[key] = (one.version_number, one.status)

    @invariant()
    def queue_is_in_order_and_within_its_deadlines(self) -> None:
        pending = self.store.device.pending(A)
        ranks = [(one.status is ExecutionStatus.QUEUED, one.sequence) for one in pending]
        assert ranks == sorted(ranks)
        assert all(one.deadline is None or one.deadline > self.clock.now for one in pending)

    @invariant()
    def a_job_is_completed_exactly_when_nothing_is_pending(self) -> None:
        for job in self.store.list_jobs():
            waiting = any(not one.status.terminal for one in self.store.list_executions(job.job_id))
            if job.status is not JobStatus.CANCELED:
                assert (job.status is JobStatus.IN_PROGRESS) is waiting


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStoreMachine = StoreMachine.TestCase
