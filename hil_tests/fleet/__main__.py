"""``python -m hil_tests.fleet --agents 200``: a fleet works a good job and a bad one; exit code 0 if all is as it should be."""

import argparse
import json
import logging
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

from hil_tests.fleet.act import Act
from hil_tests.fleet.fleet import running_fleet


def main() -> int:
    """Run both acts and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m hil_tests.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=200, help="how many things (default 200)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of a table")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # boards and connections that fail on purpose
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nrf91-fleet-") as directory:
        with running_fleet(arguments.agents, Path(directory)) as fleet:
            acts = [fleet.work_good_job(), fleet.work_bad_job()]
            threads = threading.active_count()
        size_kib = (Path(directory) / "cloud" / "jobs.sqlite3").stat().st_size // 1024
    usage = {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time(), 1),
        "threads": threads,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "database_kib": size_kib,
    }
    if arguments.json:
        sys.stdout.write(json.dumps({"acts": [_body(act) for act in acts], **usage}) + "\n")
    else:
        for act in acts:
            sys.stdout.write(_table(act))
        figures = ", ".join(f"{name} {value}" for name, value in usage.items())
        sys.stdout.write(f"\nAll together: {figures}\n")
    return 1 if any(act.wrong for act in acts) else 0


def _body(act: Act) -> dict[str, object]:
    return {
        "job": act.job_id,
        "status": act.status,
        "comment": act.comment,
        "things": act.things,
        "reached": act.reached,
        "written": act.written,
        "throttled": act.throttled,
        "statuses": dict(act.statuses),
        "seconds": round(act.seconds, 1),
        "wrong": act.wrong,
    }


def _table(act: Act) -> str:
    reach = f"reached {act.reached} of {act.things} things, wrote {act.written} boards"
    lines = [
        "",
        f"{act.job_id}: {act.status}, {reach}, {act.seconds:.1f} s",
        f"  {'thing':<42}{'status':<12}{'reason':<24}count",
    ]
    for (kind, status, reason), count in sorted(act.by_kind.items()):
        lines.append(f"  {kind:<42}{status:<12}{reason:<24}{count:>5}")
    lines += [f"  {act.throttled} reports were throttled, and sent again later"] if act.throttled else []
    lines += [f"  {act.comment}"] if act.comment else []
    lines += [f"  WRONG: {sentence}" for sentence in act.wrong] or [
        "  each thing once, and each told the truth"
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
