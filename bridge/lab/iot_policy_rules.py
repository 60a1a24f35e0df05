"""Evaluate AWS IoT policies: may this action be done on this resource?

Sources: AWS IoT Developer Guide, "Policy actions", "Action resources", "Connect policy examples"; IAM User Guide,
"Policy evaluation logic" and "Condition operators". Pure functions of documents and request.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

from bridge.lab.iot_policy import Condition, Effect, PolicyDocument, Statement
from bridge.lab.iot_policy_patterns import Context, matches, resolve

LOCAL_ARN_PREFIX: Final = "arn:aws:iot:us-east-1:000000000000"
"""Region and account of the local cloud."""


class Decision(StrEnum):
    """Outcome of an evaluation: only ALLOWED allows."""

    ALLOWED = "allowed"
    EXPLICIT_DENY = "explicit-deny"
    IMPLICIT_DENY = "implicit-deny"


def evaluate(
    policies: Iterable[PolicyDocument],
    action: str,
    resource: str,
    context: Context,
    *,
    arn_prefix: str = LOCAL_ARN_PREFIX,
) -> Decision:
    """Decide a request: a matching Deny wins over every Allow, and what nothing allows is denied.

    Args:
        policies: Documents attached to the principal.
        action: Such as ``iot:Publish``.
        resource: Type and name, such as ``topic/lab/x``, ``topicfilter/lab/#`` or ``client/my-thing``.
        context: Values of variables and condition keys.
        arn_prefix: What stands before the resource in its ARN.
    """
    arn = f"{arn_prefix}:{resource}"
    decision = Decision.IMPLICIT_DENY
    for policy in policies:
        for statement in policy.statements:
            if _applies(statement, action, arn, context):
                if statement.effect is Effect.DENY:
                    return Decision.EXPLICIT_DENY
                decision = Decision.ALLOWED
    return decision


def _applies(statement: Statement, action: str, arn: str, context: Context) -> bool:
    return (
        any(matches(wanted.casefold(), action.casefold(), {}) for wanted in statement.actions)
        and any(matches(wanted, arn, context) for wanted in statement.resources)
        and all(_holds(condition, context) for condition in statement.conditions)
    )


def _holds(condition: Condition, context: Context) -> bool:
    operator = condition.operator
    values = context.get(condition.key, ())
    if operator == "Null":
        return (condition.values[0].casefold() == "true") is not bool(values)
    qualifier, _, operator = operator.rpartition(":")
    if operator.endswith("IfExists"):
        if not values:
            return True
        operator = operator.removesuffix("IfExists")
    negated, compare = _OPERATORS[operator]
    wanted = condition.values if qualifier or values else ()

    def satisfied(value: str) -> bool:
        return any(compare(one, value, context) for one in wanted) is not negated

    if qualifier == "ForAllValues":
        return all(map(satisfied, values))
    if qualifier == "ForAnyValue":
        return any(map(satisfied, values))
    return satisfied(values[0]) if values else negated


_Compare = Callable[[str, str, Context], bool]


def _equals(wanted: str, value: str, context: Context) -> bool:
    return resolve(wanted, context) == value


def _equals_ignoring_case(wanted: str, value: str, context: Context) -> bool:
    resolved = resolve(wanted, context)
    return resolved is not None and resolved.casefold() == value.casefold()


_OPERATORS: Final[dict[str, tuple[bool, _Compare]]] = {
    "StringEquals": (False, _equals),
    "StringNotEquals": (True, _equals),
    "StringEqualsIgnoreCase": (False, _equals_ignoring_case),
    "StringNotEqualsIgnoreCase": (True, _equals_ignoring_case),
    "StringLike": (False, matches),
    "StringNotLike": (True, matches),
    "ArnEquals": (False, matches),
    "ArnNotEquals": (True, matches),
    "ArnLike": (False, matches),
    "ArnNotLike": (True, matches),
    "Bool": (False, _equals_ignoring_case),
}
