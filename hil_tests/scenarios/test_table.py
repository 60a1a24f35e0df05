"""docs/scenarios.md tells of the tests that there are."""

import subprocess
import sys

from hil_tests.scenarios.table import ROOT, Row, Shown, problems


def test_the_page_is_what_the_collected_tests_say() -> None:
    command = [sys.executable, "-m", "hil_tests.scenarios.table", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_row_without_a_test_or_with_a_reason_too_many_is_noticed() -> None:
    rows = [Row(number, "g", "s", "o") for number in range(1, 89)]
    tests = {number: [Shown("t", "any")] for number in range(1, 89)}
    assert problems(rows, tests) == []
    assert problems(rows, {number: found for number, found in tests.items() if number != 5}) == [
        "row 5 has neither a test nor a reason"
    ]
    rows[6] = Row(7, "g", "s", "o", left_out="no way")
    assert problems(rows, tests | {99: []}) == ["row 7 is left out and has a test", "there is no row 99"]
