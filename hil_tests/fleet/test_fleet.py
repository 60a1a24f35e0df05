"""Two hundred agents with simulated boards: a continuous job ends truthfully everywhere, a bad one is stopped early."""

import json
import subprocess
import sys

import pytest

from hil_tests.fleet.fleet import ABORT_AFTER, RATE_PER_MINUTE

AGENTS = 200


# One test for both acts: workers of a test run share no fixtures, and the fleet is not to be raised twice.
@pytest.mark.timeout(600)
def test_given_200_agents_then_a_job_ends_truthfully_everywhere_and_a_bad_one_is_stopped_early() -> None:
    # A process of its own, whose hundreds of threads end with it.
    command = [sys.executable, "-m", "hil_tests.fleet", "--agents", str(AGENTS), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=540, check=False)
    assert done.returncode in {0, 1}, done.stderr
    good, bad = json.loads(done.stdout)["acts"]
    assert good["wrong"] == []
    assert (good["status"], good["reached"]) == ("IN_PROGRESS", AGENTS)
    assert good["throttled"] == AGENTS // 2
    assert good["statuses"] == {"SUCCEEDED": 180, "REJECTED": 10, "FAILED": 10}
    assert bad["wrong"] == []
    assert bad["status"] == "CANCELED"
    assert bad["reached"] == RATE_PER_MINUTE
    assert bad["written"] <= RATE_PER_MINUTE
    assert set(bad["statuses"]) <= {"FAILED", "CANCELED"}
    assert bad["statuses"]["FAILED"] >= ABORT_AFTER
