"""AWS IoT policy documents as values, checked when they are read.

Sources: AWS IoT Developer Guide, "AWS IoT Core policies", "Policy actions", "Action resources", "Policy
variables"; IAM User Guide, "JSON policy elements" for what both have in common (explicit Deny wins, no match is
a refusal, ``*`` and ``?`` are wildcards, the condition operators).
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from bridge.errors import UsageError

MAX_DOCUMENT_BYTES: Final = 2048
"""AWS IoT's quota for a policy document, white space not counted."""
_VERSIONS: Final = ("2012-10-17", "2008-10-17")
_OPERATORS: Final = frozenset(
    {
        "StringEquals",
        "StringNotEquals",
        "StringEqualsIgnoreCase",
        "StringNotEqualsIgnoreCase",
        "StringLike",
        "StringNotLike",
        "ArnEquals",
        "ArnNotEquals",
        "ArnLike",
        "ArnNotLike",
        "Bool",
    }
)
_QUALIFIERS: Final = frozenset({"", "ForAllValues", "ForAnyValue"})
_STATEMENT_KEYS: Final = frozenset({"Sid", "Effect", "Action", "Resource", "Condition"})


class Effect(StrEnum):
    """What a matching statement does."""

    ALLOW = "Allow"
    DENY = "Deny"


@dataclass(frozen=True)
class Condition:
    """``{operator: {key: values}}``: the key's value must satisfy the operator for one of the values."""

    operator: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Statement:
    """One statement; all of its conditions must hold."""

    effect: Effect
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class PolicyDocument:
    """The statements of one policy."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a policy document.

        Raises:
            UsageError: AWS IoT would answer ``MalformedPolicyException`` (reason ``bad-policy``); the message
                names the element.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _malformed(f"it is no JSON: {error}") from None
        if not isinstance(document, dict):
            raise _malformed("it is no JSON object")
        size = len("".join(json.dumps(document, separators=(",", ":"), ensure_ascii=False).split()).encode())
        if size > MAX_DOCUMENT_BYTES:
            raise _malformed(f"it has {size} bytes without white space, over {MAX_DOCUMENT_BYTES}")
        if document.get("Version") not in _VERSIONS:
            raise _malformed('"Version" must be "2012-10-17"')
        if unknown := sorted(document.keys() - {"Version", "Id", "Statement"}):
            raise _malformed(f"unknown element {unknown[0]!r}")
        statements = document.get("Statement")
        if isinstance(statements, dict):
            statements = [statements]
        if not isinstance(statements, list) or not statements:
            raise _malformed('"Statement" must hold at least one statement')
        return cls(tuple(_statement(index, item) for index, item in enumerate(statements)))


def _statement(index: int, item: Any) -> Statement:
    where = f"statement {index}"
    if not isinstance(item, dict):
        raise _malformed(f"{where} is no object")
    if unknown := sorted(item.keys() - _STATEMENT_KEYS):
        raise _malformed(f"{where} has the unknown element {unknown[0]!r}")
    if item.get("Effect") not in {"Allow", "Deny"}:
        raise _malformed(f'{where}: "Effect" must be "Allow" or "Deny"')
    actions = _strings(f'{where}, "Action"', item.get("Action"))
    if bad := next((action for action in actions if action != "*" and ":" not in action), None):
        raise _malformed(f'{where}: action {bad!r} has no service, such as "iot:"')
    return Statement(
        Effect(item["Effect"]),
        actions,
        _strings(f'{where}, "Resource"', item.get("Resource")),
        _conditions(where, item.get("Condition", {})),
    )


def _conditions(where: str, item: Any) -> tuple[Condition, ...]:
    if not isinstance(item, dict) or not all(isinstance(keys, dict) for keys in item.values()):
        raise _malformed(f'{where}: "Condition" must be {{operator: {{key: values}}}}')
    for operator in item:
        qualifier, _, name = operator.rpartition(":")
        if operator != "Null" and (
            qualifier not in _QUALIFIERS or name.removesuffix("IfExists") not in _OPERATORS
        ):
            raise _malformed(f"{where}: the condition operator {operator!r} is not known here")
    return tuple(
        Condition(operator, key, _strings(f"{where}, condition {key}", values))
        for operator, keys in item.items()
        for key, values in keys.items()
    )


def _strings(where: str, item: Any) -> tuple[str, ...]:
    """A string, or a list of them; JSON's booleans and numbers are as good as their text, as in IAM."""
    items = item if isinstance(item, list) else [item]
    if not items or not all(isinstance(each, str | bool | int | float) for each in items):
        raise _malformed(f"{where} must be a string or a list of strings")
    return tuple(json.dumps(each) if not isinstance(each, str) else each for each in items)


def _malformed(what: str) -> UsageError:
    return UsageError(f"no valid AWS IoT policy document: {what}", reason="bad-policy")
