"""What an answer's head means."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from bridge.errors import CloudError, ImageRefusedError
from bridge.fetch.answer import (
    Ask,
    Body,
    Changed,
    Denied,
    Known,
    Later,
    PastEnd,
    RangesUnusable,
    Redirect,
    Verdict,
    read_answer,
    retry_after_s,
    strong_etag,
)

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


ASK = Ask(100, 199)
NOTHING = Known()


def judge(status: int, headers: dict[str, str], ask: Ask = ASK, known: Known = NOTHING) -> Verdict:
    return read_answer(status, CaseInsensitiveDict(headers), ask, known)


def partial(content_range: str, **more: str) -> dict[str, str]:
    return {"Content-Range": content_range, **{name.replace("_", "-"): value for name, value in more.items()}}


def test_exactly_the_range_that_was_asked_for_is_taken() -> None:
    headers = partial("bytes 100-199/1000", Content_Length="100", ETag='"a"')
    assert judge(206, headers) == Body(100, 100, 1000, '"a"')


def test_a_shorter_range_is_taken_because_servers_may_send_less() -> None:
    assert judge(206, partial("bytes 100-149/1000", Content_Length="50")) == Body(100, 50, 1000, None)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        partial("bytes 0-99/1000"),
        partial("bytes 101-199/1000"),
        partial("bytes 100-200/1000"),
        partial("bytes 199-100/1000"),
        partial("bytes 100-199/150"),
        partial("bytes 100-199/*"),
        partial("bytes 100-199"),
        partial("lines 100-199/1000"),
        partial("bytes 100-199/1000", Content_Length="99"),
        partial("bytes 100-199/1000", Content_Length="101"),
        partial("bytes 100-199/" + "9" * 400),
    ],
)
def test_a_206_that_contradicts_the_question_is_not_believed(headers: dict[str, str]) -> None:
    assert isinstance(judge(206, headers), RangesUnusable)


def test_a_206_that_nobody_asked_for_is_not_believed() -> None:
    assert isinstance(judge(206, partial("bytes 0-999/1000"), Ask(0, None)), RangesUnusable)


def test_another_etag_or_size_is_another_object() -> None:
    headers = partial("bytes 100-199/1000", ETag='"b"')
    assert judge(206, headers, known=Known(etag='"a"')) == Changed()
    assert judge(206, headers, known=Known(size_bytes=999)) == Changed()
    assert isinstance(judge(206, headers, known=Known('"b"', 1000, 1000)), Body)


@pytest.mark.parametrize(
    ("status", "headers"), [(206, partial("bytes 100-199/1000")), (200, {"Content-Length": "1000"})]
)
def test_a_wrong_or_absurd_size_is_noticed_in_the_first_answer(status: int, headers: dict[str, str]) -> None:
    with pytest.raises(CloudError, match="1000 bytes, 999 are expected") as caught:
        judge(status, headers, known=Known(expected_size=999))
    assert caught.value.reason == "wrong-size"
    with pytest.raises(ImageRefusedError) as refused:
        judge(status, headers, known=Known(max_size_bytes=999))
    assert refused.value.reason == "too-large"


def test_a_200_is_the_whole_file() -> None:
    assert judge(200, {"Content-Length": "1000", "ETag": '"a"'}) == Body(0, 1000, 1000, '"a"')


def test_chunks_have_no_length_whatever_content_length_says() -> None:
    headers = {"Content-Length": "5", "Transfer-Encoding": "chunked"}
    assert judge(200, headers) == Body(0, None, None, None)


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
def test_an_encoded_body_is_refused(encoding: str) -> None:
    with pytest.raises(CloudError) as caught:
        judge(200, {"Content-Encoding": encoding})
    assert caught.value.reason == "content-encoding"
    assert isinstance(judge(200, {"Content-Encoding": "identity"}), Body)


def test_the_other_answers() -> None:
    assert judge(302, {"Location": "/x"}) == Redirect("/x")
    assert judge(412, {}) == Changed()
    assert judge(416, {"Content-Range": "bytes */7"}) == PastEnd(7)
    assert judge(416, {}) == PastEnd(None)
    assert judge(403, {}) == Denied(403)
    assert judge(503, {"Retry-After": "7"}) == Later(503, 7.0)
    assert judge(500, {}) == Later(500, None)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, "http-404"),
        (410, "http-410"),
        (204, "http-204"),
        (304, "http-304"),
        (501, "http-501"),
        (301, "bad-redirect"),
    ],
)
def test_answers_that_will_not_get_better(status: int, reason: str) -> None:
    with pytest.raises(CloudError) as caught:
        judge(status, {})
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("value", "strong"),
    [
        ('"a"', '"a"'),
        (' "a" ', '"a"'),
        ('""', '""'),
        ('W/"a"', None),
        ("a", None),
        ('"a"b"', None),
        ("", None),
        (None, None),
    ],
)
def test_only_strong_entity_tags_promise_the_same_bytes(value: str | None, strong: str | None) -> None:
    assert strong_etag(value) == strong


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("Tue, 24 Nov 2026 04:00:30 GMT", 30.0),
        ("Tue, 24 Nov 2026 04:00:30 -0000", 30.0),
        ("Tue, 24 Nov 2026 03:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("", None),
        (None, None),
        ("Tue, 99 Nov 2026 04:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(text: str) -> None:
    seconds = retry_after_s(text, NOW)
    assert seconds is None or seconds >= 0


@given(
    start=st.integers(0, 300),
    first=st.integers(0, 400),
    last=st.integers(0, 400),
    total=st.integers(0, 400) | st.just("*"),
    length=st.none() | st.integers(0, 400),
    size=st.none() | st.integers(0, 400),
)
def test_whatever_is_taken_lies_within_the_question(
    start: int, first: int, last: int, total: int | str, length: int | None, size: int | None
) -> None:
    headers = {"Content-Range": f"bytes {first}-{last}/{total}"}
    if length is not None:
        headers["Content-Length"] = str(length)
    verdict = judge(206, headers, Ask(start, start + 99), Known(size_bytes=size))
    if isinstance(verdict, Body):
        assert verdict.start == start == first
        assert verdict.length == last - first + 1
        assert length in {None, verdict.length}
        assert last <= start + 99
        assert verdict.size_bytes == total
        assert last < verdict.size_bytes
        assert size in {None, total}
    else:
        assert isinstance(verdict, RangesUnusable | Changed)


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["Content-Range", "ETag", "Location"]), st.text(max_size=20)),
)
def test_any_answer_is_a_verdict_or_a_cloud_error(status: int, headers: dict[str, str]) -> None:
    reason = "no error"
    try:
        judge(status, headers)
    except CloudError as error:
        reason = error.reason
    assert reason != CloudError.default_reason


def test_a_date_without_a_zone_is_gmt() -> None:
    text = (NOW + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S")
    assert retry_after_s(text, NOW) == 9.0
