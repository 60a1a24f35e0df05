"""``scripts/scenarios``: rows of the scenario table and the collected tests that show them; makes docs/scenarios.md."""

import argparse
import contextlib
import io
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ROWS: Final = Path(__file__).with_name("rows.toml")
PAGE: Final = ROOT / "docs" / "scenarios.md"

_HEAD: Final = """# Scenarios

What a suite for firmware updates should show, and the tests in `hil_tests/scenarios` that show it. The list was collected from
the public suites of Nordic, Golioth, Espressif, Zephyr, MCUboot, AWS and others. This page is made by `scripts/scenarios` from
`hil_tests/scenarios/rows.toml` and the tests' `scenario` markers; CI compares it with the tests that pytest collects.

`any` runs on virtual and on real boards; a real bench may lack firmware, power control or a network for it, and says so.
`virtual` needs a virtual board: it injects faults, the firmware is built for it, or it runs commands on boards of its own.

```
pytest hil_tests/scenarios                                        # virtual boards
pytest hil_tests/scenarios --nrf91-port=/dev/ttyACM0 --nrf91-images=firmware/
pytest hil_tests/scenarios -m 'scenario and not nrf91_slow'       # the quick ones
```
"""


@dataclass(frozen=True)
class Row:
    """One scenario.

    Attributes:
        number: Its number.
        group: Heading under which it stands.
        scenario: What happens.
        outcome: What must come of it.
        left_out: Why there is no test; None if there is one.
        note: How far the tests go, where that is not obvious.
    """

    number: int
    group: str
    scenario: str
    outcome: str
    left_out: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Shown:
    """A test that shows a scenario.

    Attributes:
        name: ``file::function``.
        where: ``any`` or ``virtual``.
    """

    name: str
    where: str


class _Collector:
    """A pytest plugin that looks at what was collected."""

    def __init__(self) -> None:
        self.tests: defaultdict[int, dict[str, Shown]] = defaultdict(dict)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            name = item.nodeid.partition("[")[0].removeprefix("hil_tests/scenarios/")
            needs_virtual = "nrf91_faults" in getattr(item, "fixturenames", ()) or item.get_closest_marker(
                "nrf91_virtual"
            )
            for marker in item.iter_markers("scenario"):
                for number in marker.args:
                    self.tests[number][name] = Shown(name, "virtual" if needs_virtual else "any")
            for marker in item.iter_markers("cli_scenario"):
                for number in marker.args:
                    self.tests[number][name] = Shown(name, "virtual")


def read_rows() -> list[Row]:
    """All rows, in the order of their numbers."""
    tables: list[dict[str, Any]] = tomllib.loads(ROWS.read_text(encoding="utf-8"))["row"]
    return [Row(**table) for table in tables]


def collect() -> dict[int, list[Shown]]:
    """Have pytest collect the scenarios; row -> tests.

    Raises:
        RuntimeError: It cannot.
    """
    collector = _Collector()
    arguments = [
        "--collect-only",
        "-qq",
        "-p",
        "no:cacheprovider",
        "--nrf91-port",
        "virtual",
        str(ROWS.parent),
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        code = pytest.main(arguments, plugins=[collector])
    if code != pytest.ExitCode.OK:
        raise RuntimeError(f"pytest could not collect the scenarios ({code!r})")
    return {
        number: sorted(found.values(), key=lambda shown: shown.name)
        for number, found in collector.tests.items()
    }


def problems(rows: list[Row], tests: Mapping[int, list[Shown]]) -> list[str]:
    """What does not fit together: rows with neither tests nor a reason, rows with both, tests of no row."""
    numbers = [row.number for row in rows]
    found = [f"row {number} is missing or out of order" for number in range(1, 89) if number not in numbers]
    found += [
        f"row {row.number} has neither a test nor a reason"
        for row in rows
        if not (row.left_out or tests.get(row.number))
    ]
    found += [
        f"row {row.number} is left out and has a test"
        for row in rows
        if row.left_out and tests.get(row.number)
    ]
    return found + [f"there is no row {number}" for number in sorted(set(tests) - set(numbers))]


def render(rows: list[Row], tests: Mapping[int, list[Shown]]) -> str:
    """The page."""
    covered = sum(row.number in tests for row in rows)
    names = {shown.name for found in tests.values() for shown in found}
    lines = [
        _HEAD,
        f"{len(rows)} scenarios: {covered} shown by {len(names)} tests, {len(rows) - covered} left out.",
    ]
    group = ""
    for row in rows:
        if row.group != group:
            group = row.group
            lines += [
                "",
                f"## {group}",
                "",
                "| # | scenario | expected | tests | board |",
                "|---|---|---|---|---|",
            ]
        found = tests.get(row.number, [])
        shown = "<br>".join(f"`{each.name}`" for each in found) or f"left out: {row.left_out}"
        where = "<br>".join(each.where for each in found)
        note = f" *({row.note})*" if row.note else ""
        lines.append(f"| {row.number} | {row.scenario}{note} | {row.outcome} | {shown} | {where} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or with ``--check`` compare it."""
    parser = argparse.ArgumentParser(description="make docs/scenarios.md")
    parser.add_argument(
        "--check", action="store_true", help="only compare; exit code 1 when the page is not up to date"
    )
    arguments = parser.parse_args()
    rows, tests = read_rows(), collect()
    found = problems(rows, tests)
    page = render(rows, tests)
    if arguments.check and (not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page):
        found.append("docs/scenarios.md is not up to date; run scripts/scenarios")
    if not arguments.check:
        PAGE.write_text(page, encoding="utf-8")
    for problem in found:
        sys.stderr.write(f"{problem}\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
