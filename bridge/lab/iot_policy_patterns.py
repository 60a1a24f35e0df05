"""Patterns of AWS IoT policies: ``*`` and ``?``, and variables such as ``${iot:ClientId}``, against plain text.

Sources: AWS IoT Developer Guide, "Policy variables" (MQTT's ``+`` and ``#`` are plain characters in a policy; a
variable without a value is not replaced) and IAM User Guide, "Policy variables" (``${*}``, ``${?}``, ``${$}`` are the
characters themselves). A replaced value never acts as a wildcard.
"""

import re
from collections.abc import Mapping
from typing import Final

Context = Mapping[str, tuple[str, ...]]
"""Condition keys and variables of a request, such as ``iot:ClientId``; several values where AWS knows lists."""

_VARIABLE: Final = re.compile(r"\$\{([^{}]*)\}")
_ANY: Final = object()
_ONE: Final = object()
_WILDCARDS: Final = {"*": _ANY, "?": _ONE}


def matches(pattern: str, text: str, context: Context) -> bool:
    """Whether the whole text fits the pattern; a pattern with an unknown variable fits nothing."""
    tokens = _tokens(pattern, context)
    return tokens is not None and _fits(tokens, text)


def resolve(value: str, context: Context) -> str | None:
    """Replace the variables of a condition's value; None when one has no value."""
    resolved = [literal if name is None else _value(name, context) for literal, name in _parts(value)]
    return None if None in resolved else "".join(part for part in resolved if part is not None)


def _parts(pattern: str) -> list[tuple[str, str | None]]:
    """Cut into literals (text, None) and variables ("", name)."""
    parts: list[tuple[str, str | None]] = []
    position = 0
    for found in _VARIABLE.finditer(pattern):
        parts += [(pattern[position : found.start()], None), ("", found[1])]
        position = found.end()
    return [*parts, (pattern[position:], None)]


def _tokens(pattern: str, context: Context) -> list[object] | None:
    tokens: list[object] = []
    for literal, name in _parts(pattern):
        if name is None:
            tokens += [_WILDCARDS.get(character, character) for character in literal]
        elif (value := _value(name, context)) is None:
            return None
        else:
            tokens += value
    return tokens


def _value(name: str, context: Context) -> str | None:
    if name in {"*", "?", "$"}:
        return name
    name, separator, default = name.partition(",")
    values = context.get(name.strip(), ())
    if values:
        return values[0]
    return default.strip().strip("'") if separator else None


def _fits(tokens: list[object], text: str) -> bool:
    """Match with one step back to the last ``*``: no pattern is slower than its length times the text's."""
    token = character = 0
    star, resume = -1, 0
    while character < len(text):
        if token < len(tokens) and (tokens[token] is _ONE or tokens[token] == text[character]):
            token, character = token + 1, character + 1
        elif token < len(tokens) and tokens[token] is _ANY:
            star, resume, token = token, character, token + 1
        elif star >= 0:
            resume += 1
            token, character = star + 1, resume
        else:
            return False
    return all(one is _ANY for one in tokens[token:])
