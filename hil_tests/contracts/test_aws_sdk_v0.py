"""AWSIoTPythonSDK, AWS's first SDK for Python, works a job on our broker."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.contracts.sdk_jobs import THING
from hil_tests.lab_rig import builtin_jobs

pytestmark = pytest.mark.contract


def test_given_the_first_sdk_then_it_works_a_job_and_hears_of_the_next(tmp_path: Path) -> None:
    with builtin_jobs(tmp_path) as rig:
        rig.store.add_thing(THING)
        rig.store.create_job("job-1", THING, {"operation": "x"})
        cert_file, key_file = rig.certificates.thing(THING)
        done = subprocess.run(
            [
                *(sys.executable, "-W", "default", "-m", "hil_tests.contracts.aws_sdk_v0_driver"),
                *("localhost", str(rig.port), str(rig.certificates.ca_file)),
                *(str(key_file), str(cert_file), THING),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert rig.store.describe_execution("job-1", THING).status == "SUCCEEDED"
    assert json.loads(done.stdout) == {
        "started": ["accepted", "job-1", {"operation": "x"}],
        "refused": ["rejected", "VersionMismatch"],
        "ended": "accepted",
        "notified": True,
    }
