"""Jobs and their executions as tables for people and as JSON members for machines."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from bridge.cloud.deploy_jobs import ExecutionState, JobState
    from bridge.cloud.deploy_watch import JobSnapshot

_COLOURS: Final = {
    "SUCCEEDED": "green",
    "COMPLETED": "green",
    "IN_PROGRESS": "cyan",
    "QUEUED": "white",
    "FAILED": "red",
    "TIMED_OUT": "red",
    "REJECTED": "yellow",
    "CANCELED": "yellow",
}


def job_members(job: "JobState") -> dict[str, object]:
    """A job for machines."""
    return {
        "job": job.job_id,
        "arn": job.arn,
        "status": job.status,
        "continuous": job.continuous,
        "created_at": _iso(job.created_at),
        "completed_at": _iso(job.completed_at),
        "targets": list(job.targets),
        "description": job.description,
        "comment": job.comment,
        "counters": dict(job.counters),
    }


def execution_members(execution: "ExecutionState") -> dict[str, object]:
    """An execution for machines."""
    return {
        "thing": execution.thing_name,
        "status": execution.status,
        "execution": execution.execution_number,
        "updated_at": _iso(execution.updated_at),
        "details": dict(execution.details),
    }


def snapshot_view(snapshot: "JobSnapshot") -> Group:
    """A job with its things, for people."""
    job = snapshot.job
    counts = ", ".join(f"{number} {status}" for status, number in job.counters.items()) or "no executions yet"
    kind = "continuous" if job.continuous else "snapshot"
    head = Text.assemble(
        ("job ", "bold"), (job.job_id, "bold"), f"  {kind}  ", status_text(job.status), f"  {counts}"
    )
    parts: list[Text | Table] = [head]
    if job.description or job.comment:
        parts.append(Text("  ".join(text for text in (job.description, job.comment) if text)))
    return Group(*parts, executions_table(snapshot.executions))


def executions_table(executions: "tuple[ExecutionState, ...]") -> Table:
    """One line a thing."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("thing", "status", "stage", "progress", "version", "what"):
        table.add_column(name, no_wrap=name != "what")
    for each in executions:
        again = f" #{each.execution_number}" if each.execution_number > 1 else ""
        details = each.details
        table.add_row(
            each.thing_name + again,
            status_text(each.status),
            details.get("stage", ""),
            _progress(details) if not each.ended else "",
            _versions(details),
            details.get("message") or details.get("reason", ""),
        )
    return table


def jobs_table(jobs: "list[JobState]") -> Table:
    """One line a job."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "status", "kind", "created", "ended"):
        table.add_column(name, no_wrap=True)
    for job in jobs:
        table.add_row(
            job.job_id,
            status_text(job.status),
            "continuous" if job.continuous else "snapshot",
            _short(job.created_at),
            _short(job.completed_at),
        )
    return table


def status_text(status: str) -> Text:
    """A status in its colour."""
    return Text(status, style=_COLOURS.get(status, "white"))


def _progress(details: Mapping[str, str]) -> str:
    percent, rate = details.get("percent"), details.get("rate")
    if percent is None:
        return ""
    speed = f" {int(rate) / 1000:.1f} kB/s" if rate is not None and rate.isdecimal() else ""
    return f"{percent} %{speed}"


def _versions(details: Mapping[str, str]) -> str:
    before, after = details.get("from_version"), details.get("running_version") or details.get("to_version")
    return f"{before or '?'} -> {after}" if after else ""


def _short(time: datetime | None) -> str:
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()
