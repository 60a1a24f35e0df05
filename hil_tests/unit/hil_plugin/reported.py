"""Results of tests, as the plugin writes them."""

from collections.abc import Mapping
from typing import Any

UPDATE: Mapping[str, Any] = {
    "image": "app_update.bin",
    "job": "job-17",
    "status": "SUCCEEDED",
    "outcome": "succeeded",
    "reason": None,
    "message": "the board runs the new image and has confirmed it",
    "from_version": "1.0.0",
    "to_version": "1.1.0",
    "running_version": "1.1.0",
    "sha256": "ab" * 32,
    "digest": "cd" * 32,
    "bytes": 204_800,
    "size_bytes": 204_800,
    "rate_bytes_per_s": 24_522,
    "attempts": 1,
    "stages_s": {"fetch": 0.02, "check": 0.9, "transfer": 8.4, "schedule": 0.3, "reboot": 3.1},
    "progress": [[1.0, 0], [5.0, 100_000], [9.4, 204_800]],
}


def result(name: str, outcome: str = "passed", **members: object) -> dict[str, Any]:
    """What ``result.json`` holds."""
    return {
        "test": f"suite/test_fota.py::{name}",
        "outcome": outcome,
        "began_at": 1_800_000_000.0,
        "duration_s": 12.345,
        "board": {"name": "desk-1", "port": "/dev/ttyACM0", "model": "nrf9151dk"},
        "updates": [UPDATE],
        "notes": [],
        "error": None,
        "failure": None,
        **members,
    }
