"""Two hundred agents with simulated boards: a continuous job ends truthfully everywhere, a bad one is stopped early."""

import json
import subprocess
import sys
from typing import Any

import pytest

from hil_tests.fleet.fleet import ABORT_AFTER, RATE_PER_MINUTE

AGENTS = 200


@pytest.fixture(scope="module")
def report() -> Any:
    """What the command says; a process of its own, whose hundreds of threads end with it."""
    command = [sys.executable, "-m", "hil_tests.fleet", "--agents", str(AGENTS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(600)
def test_given_200_agents_and_a_continuous_job_then_all_end_truthfully_and_once(report: Any) -> None:
    good = report["acts"][0]
    assert good["wrong"] == []
    assert (good["status"], good["reached"]) == ("IN_PROGRESS", AGENTS)
    assert good["throttled"] == AGENTS // 2
    assert good["statuses"] == {"SUCCEEDED": 180, "REJECTED": 10, "FAILED": 10}


@pytest.mark.timeout(600)
def test_given_a_bad_image_then_the_abort_criterion_stops_it_after_the_first_things(report: Any) -> None:
    bad = report["acts"][1]
    assert bad["wrong"] == []
    assert bad["status"] == "CANCELED"
    assert bad["reached"] == RATE_PER_MINUTE
    assert bad["written"] <= RATE_PER_MINUTE
    assert set(bad["statuses"]) <= {"FAILED", "CANCELED"}
    assert bad["statuses"]["FAILED"] >= ABORT_AFTER
