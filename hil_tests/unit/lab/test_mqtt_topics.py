"""Topic filters: the standard's table of examples, AWS's exception, and agreement with a naive matcher."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.lab.mqtt_topics import (
    has_wildcard,
    is_topic_filter,
    is_topic_name,
    topic_matches,
    within_aws_limits,
)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "any/thing", True),
        ("#", "$SYS/broker", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/monitor", True),
        ("a/b", "a/b", True),
        ("a/b", "a/B", False),
        ("a/b", "a/b/c", False),
        # The standard would match the parent level here; AWS IoT Core does not.
        ("sport/#", "sport", False),
        ("sport/#", "sport/", True),
    ],
)
def test_given_a_filter_when_matched_then_as_the_standard_and_aws_say(
    topic_filter: str, topic: str, expected: bool
) -> None:
    assert topic_matches(topic_filter, topic) is expected


@pytest.mark.parametrize("good", ["#", "+", "/", "a/+/b", "a/#", "+/#", "$aws/things/+/jobs/#"])
def test_given_a_valid_filter_then_accepted(good: str) -> None:
    assert is_topic_filter(good)


@pytest.mark.parametrize(
    "bad", ["", "a#", "a/#/b", "a+", "+a/b", "#/a", "a\0", "$share/g", "$share/g/", "$share//a", "$share/+/a"]
)
def test_given_an_invalid_filter_then_refused(bad: str) -> None:
    assert not is_topic_filter(bad)


@pytest.mark.parametrize("bad", ["", "a/+", "#", "a\0b"])
def test_given_a_topic_with_wildcards_then_no_message_can_go_there(bad: str) -> None:
    assert not is_topic_name(bad)
    assert is_topic_name("a/b")


def test_given_topics_at_the_edge_then_aws_limits_hold() -> None:
    assert within_aws_limits("a" * 256)
    assert not within_aws_limits("ä" * 129)
    assert within_aws_limits("/".join("12345678"))
    assert not within_aws_limits("/".join("123456789"))
    assert within_aws_limits("$aws/rules/name/" + "/".join("12345678"))
    assert not within_aws_limits("$aws/rules/name/" + "/".join("123456789"))
    assert within_aws_limits(f"$share/{'n' * 128}/" + "a" * 256)
    assert within_aws_limits("$share/n/" + "/".join("12345678"))
    assert not within_aws_limits(f"$share/{'n' * 129}/a")
    assert has_wildcard("a/#")
    assert has_wildcard("a/+/b")
    assert not has_wildcard("a/b")


_level = st.sampled_from(["a", "b", "", "$x"])


@given(
    st.lists(st.one_of(_level, st.just("+")), min_size=1, max_size=5),
    st.booleans(),
    st.lists(_level, min_size=1, max_size=5),
)
def test_given_any_filter_when_matched_then_a_regular_expression_agrees(
    wanted: list[str], hash_end: bool, levels: list[str]
) -> None:
    pattern = "/".join("[^/]*" if level == "+" else re.escape(level) for level in wanted) + (
        "/.*" if hash_end else ""
    )
    topic_filter, topic = "/".join([*wanted, "#"] if hash_end else wanted), "/".join(levels)
    expected = re.fullmatch(pattern, topic) is not None and not (
        topic[:1] == "$" and topic_filter[:1] in {"+", "#"}
    )
    assert topic_matches(topic_filter, topic) is expected
