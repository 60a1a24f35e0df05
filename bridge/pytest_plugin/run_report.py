"""What a whole run leaves behind: a page for people, and a table of metrics that grows from run to run."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bridge.pytest_plugin.report_page import ReportedTest, render_page

STAGES: Final = ("fetch", "check", "transfer", "schedule", "reboot", "verify", "confirm")
COLUMNS: Final = (
    *("began_at", "test", "outcome", "board", "model", "duration_s", "image", "job", "status", "update"),
    *("from_version", "to_version", "running_version", "bytes", "rate_bytes_per_s", "attempts"),
    *(f"{stage}_s" for stage in STAGES),
)
_LOG_TAIL_LINES: Final = 40
_OURS: Final = frozenset({"test", "outcome", "began_at", "duration_s", "board", "updates"})
_COPIED: Final = (
    "image",
    "job",
    "status",
    "from_version",
    "to_version",
    "running_version",
    "bytes",
    "attempts",
)


def write_run_report(root: Path, began_at: float, facts: Mapping[str, str]) -> Path:
    """Write ``report.html``, and add this run to ``metrics.csv``.

    Args:
        root: Directory of the artefacts; it may hold tests of earlier runs, which are left out.
        began_at: When this run began, epoch seconds.
        facts: What is said about the run as a whole.

    Returns:
        The page.
    """
    tests = list(_tests(root, began_at))
    began = datetime.fromtimestamp(began_at, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    page = root / "report.html"
    page.write_text(render_page(tests, {"begun": began, **facts}), encoding="utf-8")
    _add_metrics(root / "metrics.csv", [test.result for test in tests])
    return page


def _tests(root: Path, began_at: float) -> Iterator[ReportedTest]:
    for file in sorted(root.glob("*/result.json")):
        result = _read(file)
        if result is None or result["began_at"] < began_at - 0.001:
            continue
        directory = file.parent
        log = directory / "at.log"
        tail = log.read_text(encoding="utf-8").splitlines()[-_LOG_TAIL_LINES:] if log.exists() else []
        names = tuple(sorted(path.name for path in directory.iterdir() if path.is_file()))
        yield ReportedTest(result, directory.name, names, "\n".join(tail))


def _read(file: Path) -> dict[str, Any] | None:
    """A result; None for one that an earlier run could not finish, or that is none of ours."""
    try:
        result = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) and set(result) >= _OURS else None


def _add_metrics(file: Path, results: list[Mapping[str, Any]]) -> None:
    is_new = not file.exists()
    with file.open("a", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, COLUMNS)
        if is_new:
            writer.writeheader()
        for result in sorted(results, key=lambda each: float(each["began_at"])):
            writer.writerows(_metrics(result))


def _metrics(result: Mapping[str, Any]) -> Iterator[dict[str, object]]:
    common = {
        "began_at": datetime.fromtimestamp(result["began_at"], UTC).isoformat(timespec="milliseconds"),
        "test": result["test"],
        "outcome": result["outcome"],
        "board": result["board"]["name"],
        "model": result["board"]["model"],
        "duration_s": result["duration_s"],
    }
    updates: Sequence[Mapping[str, Any]] = result["updates"] or ({},)
    for update in updates:
        stages = update.get("stages_s") or {}
        yield {
            **common,
            **{name: update.get(name) for name in _COPIED},
            "update": update.get("outcome"),
            "rate_bytes_per_s": update.get("rate_bytes_per_s") or None,
            **{f"{stage}_s": stages.get(stage) for stage in STAGES},
        }
