"""The Jobs client's rules: correlation, versions, lost replies, executions that are gone."""

import json
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.cloud import TAKEN_OVER, JobGoneError, JobStatus, JobsTiming
from bridge.errors import CloudError, UsageError
from hil_tests.unit.cloud.scripted import (
    PREFIX,
    Answer,
    ScriptedConnection,
    always,
    client,
    execution_body,
    never,
    queued,
    state,
)

DETAILS = {"stage": "FETCH", "percent": "10"}
IMPATIENCE = JobsTiming(request_s=0.0, reply_s=0.0, busy_min_s=0.0, busy_max_s=0.0)


def test_given_a_queued_job_when_asked_for_the_next_then_it_is_read() -> None:
    connection = ScriptedConnection(always("accepted", execution=execution_body(statusDetails={"a": "b"})))
    with client(connection) as jobs:
        execution = jobs.next_job()

    assert execution is not None
    assert (execution.job_id, execution.execution_number, execution.version_number) == ("job-1", 1, 1)
    assert execution.status is JobStatus.QUEUED
    assert execution.status_details == {"a": "b"}
    assert execution.document == {"operation": "app_fw_update"}
    topic, request = connection.requests[0]
    assert topic == f"{PREFIX}$next/get"
    assert request["includeJobDocument"] is True


@pytest.mark.parametrize("body", [{}, {"execution": {}}, {"execution": None}])
def test_given_an_empty_queue_in_any_form_when_asked_for_the_next_then_there_is_none(
    body: dict[str, Any],
) -> None:
    with client(ScriptedConnection(always("accepted", **body))) as jobs:
        assert jobs.next_job() is None


def test_given_a_service_that_says_not_found_when_asked_for_the_next_then_there_is_none() -> None:
    with client(ScriptedConnection(always("rejected", code="ResourceNotFound", message=""))) as jobs:
        assert jobs.next_job() is None


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('{"size": 1}', {"size": 1}),
        ("not json", "not json"),
        ("[" * 100_000, "[" * 100_000),
        (["list"], ["list"]),
        (None, None),
    ],
)
def test_given_a_document_that_is_no_object_when_read_then_it_is_decoded_or_kept(
    sent: object, read: object
) -> None:
    with client(ScriptedConnection(always("accepted", execution=execution_body(jobDocument=sent)))) as jobs:
        execution = jobs.next_job()

    assert execution is not None
    assert execution.document == read


@pytest.mark.parametrize(
    "execution",
    [
        "text",
        {"jobId": 1},
        {"jobId": "a/b", "status": "QUEUED", "versionNumber": 1},
        execution_body(status="PAUSED"),
        execution_body(versionNumber="1"),
        execution_body(versionNumber=True),
        execution_body(executionNumber=None, versionNumber=None),
    ],
)
def test_given_an_execution_that_makes_no_sense_when_read_then_that_is_an_error(execution: object) -> None:
    with (
        client(ScriptedConnection(always("accepted", execution=execution))) as jobs,
        pytest.raises(CloudError) as caught,
    ):
        jobs.next_job()

    assert caught.value.reason == "bad-reply"


def test_given_replies_for_others_when_waiting_then_only_our_own_counts() -> None:
    def chatter(connection: ScriptedConnection, request: dict[str, Any]) -> Answer:
        mine = f"{PREFIX}$next/get"
        wrong = {"execution": execution_body(jobId="wrong")}
        connection.answer(mine, "accepted", wrong, token="somebody-else")
        connection.answer(f"{PREFIX}job-1/get", "accepted", wrong, token=request["clientToken"])
        connection.answer("$aws/things/other/jobs/$next/get", "accepted", wrong, token=request["clientToken"])
        connection.message(f"{mine}/accepted", json.dumps(wrong).encode())
        connection.message(f"{mine}/accepted", b"\xff not json")
        connection.message(f"{mine}/accepted", b"[]")
        connection.message(f"{PREFIX}what/ever", b"{}")
        return "accepted", {"execution": execution_body()}

    with client(ScriptedConnection(chatter)) as jobs:
        execution = jobs.next_job()

    assert execution is not None
    assert execution.job_id == "job-1"


def test_given_the_same_reply_twice_when_waiting_then_the_second_is_ignored() -> None:
    def twice(connection: ScriptedConnection, request: dict[str, Any]) -> Answer:
        connection.answer(f"{PREFIX}$next/get", "accepted", {}, token=request["clientToken"])
        return "accepted", {"execution": execution_body()}

    with client(ScriptedConnection(twice)) as jobs:
        assert jobs.next_job() is None


def test_given_every_request_when_sent_then_its_token_is_new() -> None:
    connection = ScriptedConnection(never, always("accepted"), always("accepted"))
    with client(connection) as jobs:
        jobs.next_job()
        jobs.next_job()

    assert len({request["clientToken"] for _, request in connection.requests}) == 3


def test_given_a_job_when_described_then_it_is_read_with_its_own_topic() -> None:
    connection = ScriptedConnection(always("accepted", execution=execution_body(status="IN_PROGRESS")))
    with client(connection) as jobs:
        execution = jobs.describe("job-1")

    assert execution.status is JobStatus.IN_PROGRESS
    assert connection.requests[0][0] == f"{PREFIX}job-1/get"


@pytest.mark.parametrize("code", ["TerminalStateReached", "ResourceNotFound"])
def test_given_a_job_that_is_gone_when_described_then_that_is_said(code: str) -> None:
    with (
        client(ScriptedConnection(always("rejected", code=code, message="no more"))) as jobs,
        pytest.raises(JobGoneError, match="no more") as caught,
    ):
        jobs.describe("job-1")

    assert caught.value.execution is None
    assert caught.value.exit_code == 8


def test_given_no_execution_in_the_reply_when_described_then_the_job_is_gone() -> None:
    with client(ScriptedConnection(always("accepted"))) as jobs, pytest.raises(JobGoneError):
        jobs.describe("job-1")


@pytest.mark.parametrize("job_id", ["", "$next", "a/b", "a" * 65, "a+"])
def test_given_something_that_is_no_job_id_when_described_then_it_is_refused(job_id: str) -> None:
    with client(ScriptedConnection()) as jobs, pytest.raises(UsageError):
        jobs.describe(job_id)


def test_given_progress_when_updated_then_version_and_state_are_exchanged() -> None:
    connection = ScriptedConnection(always("accepted", executionState=state("IN_PROGRESS", 2, **DETAILS)))
    with client(connection) as jobs:
        updated = jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS, step_timeout_minutes=60)

    assert (updated.version_number, updated.status, updated.status_details) == (
        2,
        JobStatus.IN_PROGRESS,
        DETAILS,
    )
    topic, request = connection.requests[0]
    request.pop("clientToken")
    assert topic == f"{PREFIX}job-1/update"
    assert request == {
        "status": "IN_PROGRESS",
        "statusDetails": DETAILS,
        "expectedVersion": 1,
        "executionNumber": 1,
        "includeJobExecutionState": True,
        "stepTimeoutInMinutes": 60,
    }


def test_given_a_reply_without_state_when_updated_then_the_version_is_counted() -> None:
    with client(ScriptedConnection(always("accepted"))) as jobs:
        updated = jobs.update(queued(), JobStatus.FAILED, DETAILS)

    assert (updated.version_number, updated.status, updated.status_details) == (2, JobStatus.FAILED, DETAILS)


def test_given_a_lost_reply_when_the_repetition_is_a_mismatch_with_our_state_then_it_is_success() -> None:
    mismatch = always(
        "rejected", code="VersionMismatch", message="", executionState=state("IN_PROGRESS", 2, **DETAILS)
    )
    connection = ScriptedConnection(never, mismatch)
    with client(connection) as jobs:
        updated = jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS)

    assert (updated.version_number, updated.status) == (2, JobStatus.IN_PROGRESS)
    assert [request["expectedVersion"] for _, request in connection.requests] == [1, 1]


@pytest.mark.parametrize("code", ["VersionMismatch", "InvalidStateTransition"])
@pytest.mark.parametrize("details", [DETAILS, {}])
def test_given_a_lost_reply_to_the_end_when_repeated_then_it_is_success(
    code: str, details: dict[str, str]
) -> None:
    ended = always("rejected", code=code, message="", executionState=state("SUCCEEDED", 2, **details))
    with client(ScriptedConnection(never, ended)) as jobs:
        updated = jobs.update(queued(), JobStatus.SUCCEEDED, details)

    assert (updated.version_number, updated.status) == (2, JobStatus.SUCCEEDED)


def test_given_an_older_report_at_the_service_when_updated_then_its_version_is_adopted_and_ours_goes_in() -> (
    None
):
    connection = ScriptedConnection(
        always(
            "rejected",
            code="VersionMismatch",
            message="",
            executionState=state("IN_PROGRESS", 5, stage="OLD"),
        ),
        always("accepted", executionState=state("SUCCEEDED", 6, **DETAILS)),
    )
    with client(connection) as jobs:
        updated = jobs.update(queued(), JobStatus.SUCCEEDED, DETAILS)

    assert updated.version_number == 6
    assert [request["expectedVersion"] for _, request in connection.requests] == [1, 5]


def test_given_no_details_and_no_lost_reply_when_versions_differ_then_it_is_reported_again() -> None:
    connection = ScriptedConnection(
        always("rejected", code="VersionMismatch", message="", executionState=state("IN_PROGRESS", 3)),
        always("accepted", executionState=state("IN_PROGRESS", 4)),
    )
    with client(connection) as jobs:
        assert jobs.update(queued(), JobStatus.IN_PROGRESS, {}).version_number == 4

    assert "statusDetails" not in connection.requests[0][1]


def test_given_a_mismatch_without_state_when_updated_then_the_execution_is_read() -> None:
    connection = ScriptedConnection(
        always("rejected", code="VersionMismatch", message=""),
        always("accepted", execution=execution_body(versionNumber=7)),
        always("accepted", executionState=state("IN_PROGRESS", 8)),
    )
    with client(connection) as jobs:
        assert jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS).version_number == 8

    assert connection.requests[2][1]["expectedVersion"] == 7


def test_given_a_newer_execution_of_the_job_when_updated_then_ours_is_gone() -> None:
    connection = ScriptedConnection(
        always("rejected", code="VersionMismatch", message=""),
        always("accepted", execution=execution_body(executionNumber=2)),
    )
    with client(connection) as jobs, pytest.raises(JobGoneError) as caught:
        jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS)

    assert caught.value.execution is not None
    assert caught.value.execution.execution_number == 2


def test_given_versions_that_never_fit_when_updated_then_it_ends() -> None:
    def ahead(_connection: ScriptedConnection, request: dict[str, Any]) -> Answer:
        version = request["expectedVersion"] + 1
        return "rejected", {"code": "VersionMismatch", "executionState": state("IN_PROGRESS", version)}

    with client(ScriptedConnection(*[ahead] * 20)) as jobs, pytest.raises(CloudError) as caught:
        jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS)

    assert caught.value.reason == "version-conflict"


def test_given_another_client_at_work_when_updated_exclusively_then_we_give_way() -> None:
    foreign = always(
        "rejected", code="VersionMismatch", executionState=state("IN_PROGRESS", 5, stage="theirs")
    )
    connection = ScriptedConnection(foreign)
    with client(connection) as jobs, pytest.raises(JobGoneError) as caught:
        jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS, exclusive=True)

    assert caught.value.reason == TAKEN_OVER
    assert len(connection.requests) == 1


@pytest.mark.parametrize("known", [{"stage": "ours"}, {}], ids=["reported before", "as it was seen first"])
def test_given_a_report_of_ours_whose_reply_was_lost_when_updated_exclusively_then_we_go_on(
    known: dict[str, str],
) -> None:
    connection = ScriptedConnection(
        always("accepted", executionState=state("IN_PROGRESS", 2, stage="ours")),
        always("rejected", code="VersionMismatch", executionState=state("IN_PROGRESS", 3, **known)),
        always("accepted", executionState=state("IN_PROGRESS", 4, **DETAILS)),
    )
    with client(connection) as jobs:
        taken = jobs.update(queued(), JobStatus.IN_PROGRESS, {"stage": "ours"})
        assert jobs.update(taken, JobStatus.IN_PROGRESS, DETAILS, exclusive=True).version_number == 4


@pytest.mark.parametrize(
    ("reply", "taken"),
    [
        ({"code": "VersionMismatch", "executionState": state("SUCCEEDED", 9, **DETAILS)}, True),
        ({"code": "InvalidStateTransition", "executionState": state("SUCCEEDED", 9, **DETAILS)}, True),
        ({"code": "VersionMismatch", "executionState": state("SUCCEEDED", 9, by="someone else")}, False),
        ({"code": "VersionMismatch", "executionState": state("CANCELED", 9)}, False),
        ({"code": "VersionMismatch", "executionState": state("QUEUED", 1)}, False),
        ({"code": "ResourceNotFound"}, False),
    ],
)
def test_given_an_execution_that_ended_then_it_is_found_out_whether_it_was_by_our_report(
    reply: dict[str, Any], taken: bool
) -> None:
    connection = ScriptedConnection(always("rejected", message="", **reply))
    with client(connection) as jobs:
        assert jobs.has_taken("job-1", 1, JobStatus.SUCCEEDED, DETAILS) is taken

    ((_, request),) = connection.requests
    assert request["expectedVersion"] == 2**31 - 1


@pytest.mark.parametrize("status", ["CANCELED", "TIMED_OUT", "REMOVED", "SUCCEEDED"])
@pytest.mark.parametrize("code", ["InvalidStateTransition", "VersionMismatch", "TerminalStateReached"])
def test_given_an_execution_that_ended_otherwise_when_updated_then_the_final_state_is_told(
    status: str, code: str
) -> None:
    ended = always("rejected", code=code, message="ended", executionState=state(status, 9, by="operator"))
    with client(ScriptedConnection(ended)) as jobs, pytest.raises(JobGoneError, match=status) as caught:
        jobs.update(queued(), JobStatus.SUCCEEDED, DETAILS)

    final = caught.value.execution
    assert final is not None
    assert (final.job_id, final.status, final.version_number) == ("job-1", JobStatus(status), 9)
    assert final.status_details == {"by": "operator"}


def test_given_a_deleted_job_when_updated_then_it_is_gone_without_a_state() -> None:
    with (
        client(ScriptedConnection(always("rejected", code="ResourceNotFound", message="deleted"))) as jobs,
        pytest.raises(JobGoneError) as caught,
    ):
        jobs.update(queued(), JobStatus.SUCCEEDED, DETAILS)

    assert caught.value.execution is None
    assert caught.value.reason == "job-gone"


@pytest.mark.parametrize("code", ["RequestThrottled", "InternalError"])
def test_given_a_busy_service_when_asked_then_it_is_asked_again_later(code: str) -> None:
    busy = always("rejected", code=code, message="later")
    with client(ScriptedConnection(busy, busy, always("accepted"))) as jobs:
        assert jobs.next_job() is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("RequestThrottled", "throttled"),
        ("InternalError", "service-error"),
        ("InvalidRequest", "invalid-request"),
        ("InvalidTopic", "service-refused"),
    ],
)
def test_given_a_refusal_that_stays_when_asked_then_the_service_s_words_are_told(
    code: str, reason: str
) -> None:
    refused = always("rejected", code=code, message="its own\nwords")
    with client(ScriptedConnection(refused), IMPATIENCE) as jobs, pytest.raises(CloudError) as caught:
        jobs.next_job()

    assert caught.value.reason == reason
    assert "its own words" in caught.value.message


def test_given_a_refusal_without_code_when_updated_then_it_is_an_error() -> None:
    with (
        client(ScriptedConnection(always("rejected"))) as jobs,
        pytest.raises(CloudError, match="no message"),
    ):
        jobs.update(queued(), JobStatus.IN_PROGRESS, DETAILS)


def test_given_a_silent_service_when_time_is_up_then_that_is_an_error() -> None:
    with (
        client(ScriptedConnection(lambda _connection, _request: None), IMPATIENCE) as jobs,
        pytest.raises(CloudError) as caught,
    ):
        jobs.next_job()

    assert caught.value.reason == "no-answer"


def test_given_a_connection_that_failed_for_good_when_used_then_its_error_comes_out() -> None:
    connection = ScriptedConnection()
    connection.broken = CloudError("another client", reason="client-id-taken")
    with client(connection) as jobs:
        for call in (jobs.next_job, lambda: jobs.wait_for_job_change(60.0)):
            with pytest.raises(CloudError) as caught:
                call()
            assert caught.value.reason == "client-id-taken"


@pytest.mark.parametrize("kind", ["notify", "notify-next"])
def test_given_a_notification_when_waiting_then_there_is_a_change_once(kind: str) -> None:
    connection = ScriptedConnection()
    with client(connection) as jobs:
        connection.message(f"{PREFIX}{kind}", b"anything")

        assert jobs.wait_for_job_change(60.0)
        assert not jobs.wait_for_job_change(0.0)


def test_given_another_thing_s_notification_when_waiting_then_nothing_changed() -> None:
    connection = ScriptedConnection()
    with client(connection) as jobs:
        connection.message("$aws/things/thing-ab/jobs/notify-next", b"{}")

        assert not jobs.wait_for_job_change(0.0)


def test_given_a_reconnect_when_waiting_then_the_queue_must_be_read_again() -> None:
    connection = ScriptedConnection()
    with client(connection) as jobs:
        connection.reconnect()

        assert jobs.wait_for_job_change(60.0)


def test_given_a_notification_before_the_question_when_waiting_after_it_then_it_is_answered_already() -> None:
    connection = ScriptedConnection(always("accepted"))
    with client(connection) as jobs:
        connection.message(f"{PREFIX}notify", b"{}")
        jobs.next_job()

        assert not jobs.wait_for_job_change(0.0)


def test_given_a_notification_during_the_question_when_waiting_after_it_then_there_is_a_change() -> None:
    def notified(connection: ScriptedConnection, _request: dict[str, Any]) -> Answer:
        connection.message(f"{PREFIX}notify", b"{}")
        return "accepted", {}

    with client(ScriptedConnection(notified)) as jobs:
        jobs.next_job()

        assert jobs.wait_for_job_change(60.0)


def test_given_a_wake_up_before_the_question_when_waiting_after_it_then_the_wait_ends_without_a_change() -> (
    None
):
    with client(ScriptedConnection(always("accepted"))) as jobs:
        jobs.wake()
        jobs.next_job()

        assert not jobs.wait_for_job_change(60.0)


def test_given_a_client_that_is_closed_when_messages_come_then_they_are_not_its_own() -> None:
    connection = ScriptedConnection()
    with client(connection) as jobs:
        pass
    connection.message(f"{PREFIX}notify", b"{}")

    assert not jobs.wait_for_job_change(0.0)


def test_given_many_threads_when_they_update_at_once_then_each_gets_its_own_reply() -> None:
    def echo(_connection: ScriptedConnection, request: dict[str, Any]) -> Answer:
        return "accepted", {
            "executionState": {**state("IN_PROGRESS", 2), "statusDetails": request["statusDetails"]}
        }

    seen: list[bool] = []
    with client(ScriptedConnection(*[echo] * 200)) as jobs:

        def work(name: str) -> None:
            for step in range(20):
                details = {"who": name, "step": str(step)}
                updated = jobs.update(queued(), JobStatus.IN_PROGRESS, details)
                seen.append(updated.status_details == details)

        threads = [threading.Thread(target=work, args=(str(number),)) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert seen == [True] * 200


class OneJobService:
    """Keeps AWS's version rules for one execution, and loses requests and replies on order."""

    def __init__(self, fates: list[str]) -> None:
        self.fates = fates
        self.version = 1
        self.status = "QUEUED"
        self.details: dict[str, str] = {}
        self.applied: list[tuple[str, dict[str, str]]] = []

    def step(self, connection: ScriptedConnection, request: dict[str, Any]) -> Answer | None:
        fate = self.fates.pop(0) if self.fates else "fine"
        answer = None if fate == "request lost" else self._apply(request)
        if fate == "busy":
            return "rejected", {"code": "RequestThrottled"}
        if fate != "fine":
            connection.reconnect()
            return None
        return answer

    def _apply(self, request: dict[str, Any]) -> Answer:
        now = state(self.status, self.version, **self.details)
        if request["expectedVersion"] != self.version:
            return "rejected", {"code": "VersionMismatch", "executionState": now}
        self.version += 1
        self.status, self.details = request["status"], request["statusDetails"]
        self.applied.append((self.status, self.details))
        return "accepted", {"executionState": state(self.status, self.version, **self.details)}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["fine", "request lost", "reply lost", "busy"]), max_size=12), st.integers(1, 5)
)
def test_given_any_losses_when_reporting_then_each_status_is_taken_exactly_once_and_in_order(
    fates: list[str], steps: int
) -> None:
    service = OneJobService(list(fates))
    connection = ScriptedConnection(*[service.step] * 100)
    wanted = [("IN_PROGRESS", {"step": str(number)}) for number in range(steps)] + [
        ("SUCCEEDED", {"stage": "DONE"})
    ]
    with client(connection) as jobs:
        execution = queued()
        for status, details in wanted:
            execution = jobs.update(execution, JobStatus(status), details)

    assert service.applied == wanted
    assert execution.version_number == len(wanted) + 1
