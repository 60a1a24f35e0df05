"""AWS IoT policies: what a document may say, what it allows, and the examples of AWS's own guide."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.lab.iot_policy import PolicyDocument
from bridge.lab.iot_policy_patterns import Context, matches
from bridge.lab.iot_policy_rules import LOCAL_ARN_PREFIX, Decision, evaluate
from bridge.lab.rest_values import thing_arn

ARN = LOCAL_ARN_PREFIX


def policy(*statements: dict[str, Any]) -> PolicyDocument:
    return PolicyDocument.parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def statement(
    effect: str, action: object, resource: object, condition: object | None = None
) -> dict[str, object]:
    found = {"Effect": effect, "Action": action, "Resource": resource}
    return found if condition is None else {**found, "Condition": condition}


def decide(document: PolicyDocument, action: str, resource: str, **context: str) -> Decision:
    full: Context = {f"iot:{key}": (value,) for key, value in context.items()}
    return evaluate([document], action, resource, full)


def test_given_the_arn_of_a_thing_then_policies_speak_of_the_same_account() -> None:
    assert thing_arn("x") == f"{ARN}:thing/x"


def test_given_nothing_that_matches_then_denied() -> None:
    document = policy(statement("Allow", "iot:Publish", f"{ARN}:topic/a"))
    assert decide(document, "iot:Publish", "topic/a") is Decision.ALLOWED
    assert decide(document, "iot:Publish", "topic/b") is Decision.IMPLICIT_DENY
    assert decide(document, "iot:Subscribe", "topic/a") is Decision.IMPLICIT_DENY
    assert evaluate([], "iot:Publish", "topic/a", {}) is Decision.IMPLICIT_DENY


@pytest.mark.parametrize("order", [1, -1])
def test_given_a_deny_then_it_wins_wherever_it_stands(order: int) -> None:
    both = [
        statement("Allow", "iot:Publish", f"{ARN}:topic/x/*"),
        statement("Deny", ["iot:Publish"], [f"{ARN}:topic/x/bar"]),
    ]
    document = policy(*both[::order])
    assert decide(document, "iot:Publish", "topic/x/foo") is Decision.ALLOWED
    assert decide(document, "iot:Publish", "topic/x/bar") is Decision.EXPLICIT_DENY
    apart = [policy(one) for one in both[::order]]
    assert evaluate(apart, "iot:Publish", "topic/x/bar", {}) is Decision.EXPLICIT_DENY


@pytest.mark.parametrize(
    ("action", "expected"),
    [("iot:*", True), ("*", True), ("iot:Pub*", True), ("IOT:publish", True), ("iot:Subscribe", False)],
)
def test_given_wildcards_in_the_action_then_they_match(action: str, expected: bool) -> None:
    decision = decide(policy(statement("Allow", action, "*")), "iot:Publish", "topic/a")
    assert (decision is Decision.ALLOWED) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("*", "", True),
        ("a*", "a/b/c", True),
        ("a?c", "abc", True),
        ("a?c", "ac", False),
        ("*/x/*", "a/x/b/x/c", True),
        ("a*b*c", "aXbYbZc", True),
        ("a*b*c", "aXcYb", False),
        # MQTT's wildcards are plain characters to a policy.
        ("some/+/topic", "some/+/topic", True),
        ("some/+/topic", "some/any/topic", False),
        ("some/#", "some/thing", False),
        ("${iot:ClientId}/*", "c-1/x", True),
        ("${iot:ClientId}/*", "c-2/x", False),
        ("${iot:Unknown}", "${iot:Unknown}", False),
        ("${iot:Unknown,'fallback'}", "fallback", True),
        ("${*}${?}${$}", "*?$", True),
        ("${*}", "anything", False),
        ("${iot:Star}", "anything", False),
        ("${iot:Star}", "*", True),
    ],
)
def test_given_a_pattern_then_it_matches_as_in_iam(pattern: str, text: str, expected: bool) -> None:
    context: Context = {"iot:ClientId": ("c-1",), "iot:Star": ("*",)}
    assert matches(pattern, text, context) is expected


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_given_any_pattern_then_it_agrees_with_a_naive_matcher(pattern: str, text: str) -> None:
    def naive(rest: str, left: str) -> bool:
        if not rest:
            return not left
        if rest[0] == "*":
            return any(naive(rest[1:], left[skip:]) for skip in range(len(left) + 1))
        return bool(left) and rest[0] in {"?", left[0]} and naive(rest[1:], left[1:])

    assert matches(pattern, text, {}) is naive(pattern, text)


def test_given_a_pattern_made_to_be_slow_then_it_is_not() -> None:
    assert not matches("*a" * 500 + "b", "a" * 20_000, {})


@pytest.mark.parametrize(
    ("operator", "key", "wanted", "expected"),
    [
        ("Bool", "IsAttached", "true", True),
        ("Bool", "IsAttached", ["True"], True),
        ("Bool", "IsAttached", "false", False),
        ("Bool", "Missing", "true", False),
        ("BoolIfExists", "Missing", "true", True),
        ("StringEquals", "ClientId", ["x", "c-1"], True),
        ("StringEquals", "ClientId", "C-1", False),
        ("StringEquals", "ClientId", "${iot:ClientId}", True),
        ("StringEquals", "ClientId", "${iot:Missing}", False),
        ("StringEqualsIgnoreCase", "ClientId", "C-1", True),
        ("StringNotEquals", "ClientId", ["x", "y"], True),
        ("StringNotEquals", "ClientId", ["x", "c-1"], False),
        ("StringNotEquals", "Missing", "x", True),
        ("StringLike", "ClientId", "c-?", True),
        ("StringNotLike", "ClientId", "c-*", False),
        ("ArnLike", "ClientId", "c*", True),
        ("Null", "Missing", "true", True),
        ("Null", "ClientId", "true", False),
        ("ForAllValues:StringEquals", "Missing", "x", True),
        ("ForAnyValue:StringEquals", "Missing", "x", False),
    ],
)
def test_given_a_condition_then_it_holds_as_in_iam(
    operator: str, key: str, wanted: object, expected: bool
) -> None:
    document = policy(statement("Allow", "iot:Connect", "*", {operator: {f"iot:{key}": wanted}}))
    decision = decide(document, "iot:Connect", "client/c-1", ClientId="c-1", IsAttached="true")
    assert (decision is Decision.ALLOWED) is expected


# AWS IoT Developer Guide, "Connect policy examples": policy, and for each way to connect whether it may.
_ONLY = "ForAllValues:StringEquals"
_ANY = "ForAnyValue:StringEquals"


def _attributes(operator: str, *values: str) -> dict[str, object]:
    return {operator: {"iot:ConnectAttributes": list(values)}}


@pytest.mark.parametrize(
    ("statements", "plain", "persistent", "will", "both"),
    [
        ([("Allow", _attributes(_ONLY, "PersistentConnect"))], True, True, False, False),
        (
            [("Allow", _attributes("ForAllValues:StringNotEquals", "PersistentConnect"))],
            True,
            False,
            True,
            False,
        ),
        ([("Allow", None), ("Deny", _attributes(_ANY, "PersistentConnect"))], True, False, True, False),
        ([("Allow", _attributes(_ONLY, "PersistentConnect", "LastWill"))], True, True, True, True),
        ([("Allow", _attributes(_ONLY, "LastWill"))], True, False, True, False),
        ([("Allow", _attributes(_ANY, "PersistentConnect"))], False, True, False, True),
        (
            [
                ("Allow", _attributes(_ONLY, "PersistentConnect", "LastWill")),
                ("Deny", _attributes(_ONLY, "PersistentConnect")),
                ("Deny", _attributes(_ONLY, "LastWill")),
            ],
            False,
            False,
            False,
            True,
        ),
    ],
)
def test_given_awss_examples_for_connect_attributes_then_they_mean_what_the_guide_says(
    statements: list[tuple[str, object]], plain: bool, persistent: bool, will: bool, both: bool
) -> None:
    document = policy(*(statement(effect, "iot:Connect", "*", condition) for effect, condition in statements))

    def may(*attributes: str) -> bool:
        context: Context = {"iot:ConnectAttributes": attributes}
        return evaluate([document], "iot:Connect", "client/c", context) is Decision.ALLOWED

    assert may() is plain
    assert may("PersistentConnect") is persistent
    assert may("LastWill") is will
    assert may("PersistentConnect", "LastWill") is both


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"Statement": []}', "Version"),
        ('{"Version": "2020-01-01", "Statement": []}', "Version"),
        ('{"Version": "2012-10-17"}', "Statement"),
        ('{"Version": "2012-10-17", "Statement": []}', "at least one"),
        ('{"Version": "2012-10-17", "Statement": [1]}', "statement 0"),
        ('{"Version": "2012-10-17", "Statements": []}', "Statements"),
    ],
)
def test_given_a_document_that_aws_refuses_then_the_message_names_the_element(
    document: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        PolicyDocument.parse(document)
    assert caught.value.reason == "bad-policy"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Effect": "allow"}, "Effect"),
        ({"Action": []}, "Action"),
        ({"Action": "Publish"}, "service"),
        ({"Resource": None}, "Resource"),
        ({"Resource": {"a": 1}}, "Resource"),
        ({"Principal": "*"}, "Principal"),
        ({"Condition": []}, "Condition"),
        ({"Condition": {"Bool": "x"}}, "Condition"),
        ({"Condition": {"DateEquals": {"a": "b"}}}, "DateEquals"),
        ({"Condition": {"For:StringEquals": {"a": "b"}}}, "For:StringEquals"),
        ({"Resource": "x" * 2048}, "2048"),
    ],
)
def test_given_a_statement_that_aws_refuses_then_the_message_names_the_element(
    change: dict[str, object], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        policy({**statement("Allow", "iot:Publish", "*"), **change})


def test_given_one_statement_without_a_list_then_taken() -> None:
    one = statement("Allow", "iot:Publish", "*", {"Bool": {"iot:Connection.Thing.IsAttached": True}})
    document = PolicyDocument.parse(json.dumps({"Version": "2012-10-17", "Statement": one}))
    assert document.statements[0].conditions[0].values == ("true",)
