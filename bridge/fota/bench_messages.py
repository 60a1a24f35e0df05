"""What is wrong in a bench file, in the file's own words: file, table, key, and what to do about it."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from bridge.errors import UsageError

_TYPES: Final = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "path_type": "must be a path, as text",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "missing": "is missing",
}
_PATTERNS: Final = {
    "hub": 'must be the location of a hub, such as "1-1.4"; uhubctl without options lists them',
    "name": "must begin with a letter or digit, and hold only those and . _ : - (64 at most)",
    "groups": "must hold names of letters, digits and . _ : - (64 at most)",
}
_MORE: Final = "docs/bench.md describes every key."


def refusal(file: Path, table: str, what: str, hint: str = _MORE) -> UsageError:
    """The error for something in a table of a bench file."""
    return UsageError(f"the bench file {file}: {table} {what}", reason="bad-bench", hint=hint)


def explain(errors: Sequence[ErrorDetails], file: Path, tables: Mapping[str, type[BaseModel]]) -> UsageError:
    """Turn pydantic's findings into the error for the one that is most likely the cause of the others.

    Args:
        errors: All findings; at least one.
        file: The file's name.
        tables: The models by table name: ``cloud``, ``boards``, the kinds of power, and the empty name for the top level.
    """
    # A misspelt key is also a missing one.
    error = min(errors, key=lambda one: one["type"] != "extra_forbidden")
    place = [str(part) for part in error["loc"]]
    kind = place.pop(3) if place[2:3] == ["power"] and place[3:4] and place[3] in tables else None
    place = [part for part in place if not part.startswith(("constrained-", "list["))]
    if place[:1] == ["boards"] and place[-1] == "[key]":
        hint = "A serial number holds letters, digits and . _ : - only."
        return refusal(file, f"[boards.{place[1]}]", "is no serial number", hint)
    if place == ["boards"]:
        hint = "Add a table [boards.SERIALNUMBER] for each board."
        return refusal(file, "the top level", "has no boards", hint)
    if error["type"] == "value_error":
        return refusal(file, _table(place), error["msg"].removeprefix("Value error, "))
    numbers = [part for part in place[-1:] if part.isdigit() and len(place) > 3]
    place = place[: len(place) - len(numbers)]
    table, key = _table(place[:-1]), place[-1]
    if error["type"] == "extra_forbidden":
        section = place[0] if len(place) > 1 and place[0] in tables else ""
        return _unknown_key(file, table, key, tables[kind or section])
    return refusal(file, table, f"{key} {_wrong(error, key)}")


def _unknown_key(file: Path, table: str, key: str, model: type[BaseModel]) -> UsageError:
    known = sorted(model.model_fields)
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Known keys there: {', '.join(known)}."
    return refusal(file, table, f"does not know the key {key}", hint)


def _wrong(error: ErrorDetails, key: str) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            return f"must be one of {context['expected']}"
        case "union_tag_invalid":
            return f"must have as kind one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "needs a kind, such as command"
        case "string_pattern_mismatch":
            return _PATTERNS.get(key, "must not hold control characters")
        case kind if kind in _TYPES:
            return _TYPES[kind]
        case _:
            return error["msg"].replace("Input should", "must").replace("String should", "must")


def _table(place: Sequence[str]) -> str:
    return f"[{'.'.join(place)}]" if place else "the top level"
