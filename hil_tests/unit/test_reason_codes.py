"""Every code that an error can carry is explained in ``docs/troubleshooting.md``, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import bridge

SOURCE: Final = Path(bridge.__file__).parent
DOCUMENT: Final = SOURCE.parent / "docs" / "troubleshooting.md"
CODE: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
NUMBERED: Final = re.compile(r"(http|cme|cms)-(\d+)?")
TABLES: Final = ("_REASONS", "_REASON", "_DELTA_RESULTS", "STILL_SCHEDULED", "TAKEN_OVER")
NOT_OF_ERRORS: Final = {SOURCE / "virtual" / "retention.py", SOURCE / "virtual" / "smp_errors.py"}


def raised_codes() -> set[str]:
    found = set[str]()
    for file in SOURCE.rglob("*.py"):
        if file not in NOT_OF_ERRORS:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                found.update(code for code in codes_of(node) if CODE.fullmatch(code))
    return found


def codes_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.keyword) and node.arg == "reason":
        yield from texts(node.value)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Meaning":
        yield from texts(node.args[1])
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and "reason" in names(node):
        yield from (
            text
            for each in ast.walk(node.value)
            if isinstance(each, ast.Tuple)
            for text in texts(each.elts[0])
        )
    elif isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        name = target.id if isinstance(target, ast.Name) else ""
        if name in ("default_reason", "reason") and not isinstance(node.value, ast.Call):
            yield from texts(node.value)
        elif name.endswith(TABLES):
            values = node.value.values if isinstance(node.value, ast.Dict) else [node.value]
            for value in values:
                yield from texts(value.elts[0] if isinstance(value, ast.Tuple) else value)


def names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def texts(node: ast.AST) -> Iterator[str]:
    """The texts that an expression can be; not those that only choose among them."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from texts(value)
    elif isinstance(node, ast.Call):
        for argument in node.args:
            yield from texts(argument)


def explained_codes() -> list[str]:
    rows = [
        line.split("|")[1]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def test_given_the_source_then_every_code_in_it_is_explained() -> None:
    raised = raised_codes()
    assert {
        "same-version",
        "voltage-low",
        "tls",
        "slot-in-use",
        "modem-refused",
        "no-target",
        "at-error",
    } <= raised  # the search finds all kinds
    assert sorted(code for code in raised - set(explained_codes()) if not NUMBERED.fullmatch(code)) == []


def test_given_the_document_then_every_code_in_it_can_happen() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in SOURCE.rglob("*.py"))
    missing = [
        code for code in explained_codes() if f'"{code}"' not in source and not NUMBERED.fullmatch(code)
    ]
    assert missing == []
