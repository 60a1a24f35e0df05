"""Jobs topics and bodies: limits kept whatever we are given, names checked before they become topics."""

import json
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cloud import JobStatus
from bridge.cloud.job_messages import (
    JobTopics,
    build_get,
    build_update,
    clean_details,
    clean_text,
    read_reply,
    read_state,
)
from bridge.errors import CloudError, UsageError
from hil_tests.unit.cloud.scripted import queued


def test_given_a_thing_when_asked_for_filters_then_one_subscribe_takes_them_all() -> None:
    prefix = "$aws/things/my:thing_1/jobs/"

    assert JobTopics("my:thing_1").filters == (
        f"{prefix}notify",
        f"{prefix}notify-next",
        f"{prefix}$next/get/+",
        f"{prefix}+/get/+",
        f"{prefix}+/update/+",
    )


@pytest.mark.parametrize("name", ["", "a" * 129, "a/b", "a+", "#", "a b", "ä"])
def test_given_something_that_is_no_thing_name_when_used_then_it_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        JobTopics(name)


def test_given_an_execution_number_when_describing_then_it_is_sent() -> None:
    assert json.loads(build_get("t", execution_number=2)) == {
        "executionNumber": 2,
        "includeJobDocument": True,
        "clientToken": "t",
    }


@pytest.mark.parametrize(
    "status", [JobStatus.QUEUED, JobStatus.CANCELED, JobStatus.TIMED_OUT, JobStatus.REMOVED]
)
def test_given_a_status_only_the_service_sets_when_updating_then_it_is_refused(status: JobStatus) -> None:
    with pytest.raises(UsageError):
        build_update("t", queued(), status, {})


@pytest.mark.parametrize("minutes", [0, -1, 10081])
def test_given_an_impossible_step_timeout_when_updating_then_it_is_refused(minutes: int) -> None:
    with pytest.raises(UsageError):
        build_update("t", queued(), JobStatus.IN_PROGRESS, {}, step_timeout_minutes=minutes)


@given(
    st.dictionaries(
        st.from_regex(r"[a-zA-Z0-9:_-]{1,128}", fullmatch=True), st.text(max_size=1500), max_size=14
    )
)
def test_given_any_details_when_cleaned_then_the_service_s_limits_hold(details: dict[str, str]) -> None:
    cleaned = clean_details(details)

    assert list(cleaned) == list(details)[:10]
    for value in cleaned.values():
        assert 1 <= len(value.encode("utf-16-le")) // 2 <= 1024
        assert not any(unicodedata.category(character).startswith("C") for character in value)
    assert clean_details(cleaned) == cleaned
    assert len(build_update("t", queued(), JobStatus.FAILED, cleaned)) < 128 * 1024


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("a\r\n  b\tc", "a b c"),
        ("a\x00\x07b", "ab"),
        ("  pad ", "pad"),
        ("\ud800", ""),
        ("12345", "12345"),
        ("123456", "1234…"),
        ("1234\N{GRINNING FACE}", "1234…"),
        ("123\N{GRINNING FACE}", "123\N{GRINNING FACE}"),
    ],
)
def test_given_a_text_when_cleaned_then_it_is_one_visible_line_of_the_right_length(
    text: str, cleaned: str
) -> None:
    assert clean_text(text, 5) == cleaned


def test_given_an_empty_value_when_cleaned_then_the_pair_stays() -> None:
    assert clean_details({"note": "\n"}) == {"note": "-"}


@pytest.mark.parametrize("key", ["", "a b", "ä", "k" * 129])
def test_given_a_key_the_service_refuses_when_cleaned_then_that_is_our_bug(key: str) -> None:
    with pytest.raises(UsageError):
        clean_details({key: "value"})


@given(st.text(max_size=60), st.binary(max_size=60))
def test_given_any_message_when_read_as_a_reply_then_only_a_cloud_error_comes_out(
    tail: str, payload: bytes
) -> None:
    for topic in (tail, f"{tail}/accepted", f"{tail}/rejected"):
        with suppress(CloudError):
            reply = read_reply(topic, payload)
            assert reply is None or reply.request_topic == tail


@pytest.mark.parametrize("state", ["text", {"status": "IN_PROGRESS"}, {"status": 1, "versionNumber": 1}])
def test_given_a_state_that_makes_no_sense_when_read_then_that_is_an_error(state: object) -> None:
    with pytest.raises(CloudError):
        read_state({"executionState": state})


def test_given_a_state_without_details_when_read_then_they_are_empty() -> None:
    read = read_state({"executionState": {"status": "QUEUED", "versionNumber": 1, "statusDetails": None}})

    assert read is not None
    assert read.status_details == {}
