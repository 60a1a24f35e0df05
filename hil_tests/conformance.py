"""The local cloud's rules, what AWS says, what we keep and which test shows it: from TOML into ``docs/local-cloud.md``.

``python -m hil_tests.conformance`` writes the tables; with ``--check`` it only compares. A rule names its tests as
``path::function``; every one must exist, and only what is not emulated may have none.
"""

import argparse
import ast
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal, get_args

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "docs" / "conformance"
PAGE: Final = ROOT / "docs" / "local-cloud.md"
BEGIN: Final = "<!-- conformance: begin (written by scripts/conformance) -->"
END: Final = "<!-- conformance: end -->"

Status = Literal["kept", "simplified", "not-emulated"]
_MEMBERS: Final = {"id", "rule", "source", "status", "note", "tests"}


@dataclass(frozen=True)
class Rule:
    """One rule of AWS's."""

    area: str
    id: str
    rule: str
    source: str
    status: Status
    note: str
    tests: tuple[str, ...]


def load(directory: Path = SOURCES) -> list[Rule]:
    """Read every area, in the order of its file's name.

    Raises:
        ValueError: A rule is not what it must be; the message names file and rule.
    """
    rules: list[Rule] = []
    for file in sorted(directory.glob("*.toml")):
        for number, item in enumerate(tomllib.loads(file.read_text()).get("rule", []), 1):
            try:
                rules.append(_rule(file.stem, item))
            except ValueError as error:
                raise ValueError(f"{file.name}, rule {item.get('id', number)}: {error}") from error
    if doubled := [name for name, count in Counter((one.area, one.id) for one in rules).items() if count > 1]:
        raise ValueError(f"the rule {doubled[0]} is there twice")
    return rules


def _rule(area: str, item: dict[str, Any]) -> Rule:
    if unknown := sorted(item.keys() - _MEMBERS):
        raise ValueError(f"unknown member {unknown[0]}")
    for name in ("id", "rule", "source", "status"):
        if not isinstance(item.get(name), str) or not item[name].strip():
            raise ValueError(f"{name} is missing")
    if item["status"] not in get_args(Status):
        raise ValueError(f"status {item['status']!r} is none of {', '.join(get_args(Status))}")
    tests = tuple(item.get("tests", ()))
    if not tests and item["status"] != "not-emulated":
        raise ValueError("no test shows it")
    for test in tests:
        check_test(test)
    return Rule(area, item["id"], item["rule"], item["source"], item["status"], item.get("note", ""), tests)


def check_test(test: str) -> None:
    """Whether a test is there.

    Raises:
        ValueError: The file or the function is not.
    """
    path, _, name = test.partition("::")
    if not (ROOT / path).is_file():
        raise ValueError(f"there is no {path}")
    if not name or name.split("::")[-1] not in _functions(ROOT / path):
        raise ValueError(f"there is no test {name!r} in {path}")


@cache
def _functions(path: Path) -> frozenset[str]:
    """Test functions of a file, and what a state machine's ``TestCase`` is called."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {
                one.id for one in node.targets if isinstance(one, ast.Name) and one.id.startswith("Test")
            }
    return frozenset(found)


def render(rules: list[Rule]) -> str:
    """The tables in Markdown."""
    lines: list[str] = []
    for area in dict.fromkeys(one.area for one in rules):
        own = [one for one in rules if one.area == area]
        counts = Counter(one.status for one in own)
        numbers = ", ".join(f"{counts[status]} {status.replace('-', ' ')}" for status in get_args(Status))
        lines += [f"### {area.capitalize()}", "", f"{len(own)} rules: {numbers}.", ""]
        lines += ["| AWS's rule | source | here | tests |", "| --- | --- | --- | --- |"]
        for one in own:
            here = one.status.replace("-", " ") + (f": {one.note}" if one.note else "")
            tests = "<br>".join(map(_link, one.tests)) or "-"
            lines.append(f"| {_cell(one.rule)} | {_cell(one.source)} | {_cell(here)} | {tests} |")
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    words = name.removeprefix("test_").replace("_", " ")
    return f"[{words}](../{path})"


def page(rules: list[Rule], text: str) -> str:
    """The page with its tables renewed.

    Raises:
        ValueError: The page has no place for them.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render(rules)}\n{END}{after}"


def main() -> int:
    """Write the page, or say that it is not up to date."""
    parser = argparse.ArgumentParser(description="Render docs/conformance/*.toml into docs/local-cloud.md.")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if something would change"
    )
    options = parser.parse_args()
    try:
        text = PAGE.read_text()
        wanted = page(load(), text)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if options.check:
        if text != wanted:
            sys.stderr.write(f"{PAGE.name} is not up to date: run scripts/conformance\n")
        return int(text != wanted)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
