"""The store's values as JSON rows, both ways."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from bridge.lab.jobs_limits import read_settings
from bridge.lab.jobs_model import Execution, ExecutionStatus, Job, JobStatus, ThingGroup
from bridge.lab.jobs_settings import Schedule, settings_body
from bridge.lab.jobs_tables import JobsTables, Row

Stored = Mapping[str, list[tuple[list[Any], Any]]]
"""Rows by table: key and body."""


def rows_of(tables: JobsTables) -> Iterator[Row]:
    """The keys of everything in the tables."""
    if tables.sequence:
        yield ("counters", ("sequence",))
    yield from (("things", (name,)) for name in tables.things)
    yield from (("thing_groups", (name,)) for name in tables.groups)
    yield from (("memberships", (name,)) for name in tables.memberships)
    yield from (("tags", (name,)) for name in tables.tags)
    for job_id in tables.jobs:
        yield ("jobs", (job_id,))
        for one in tables.executions_of_job(job_id):
            yield ("executions", (one.thing_name, one.job_id, one.execution_number))


def body_of(tables: JobsTables, row: Row) -> object:
    """What is to be written for a key; None if it is gone."""
    kind, key = row
    if kind == "executions":
        thing, job_id, number = key
        runs = tables.runs(str(thing), str(job_id))
        return next((asdict(one) for one in runs if one.execution_number == number), None)
    name = str(key[0])
    values: Mapping[str, object] = {
        "counters": tables.sequence,
        "things": tables.things.get(name),
        "thing_groups": asdict(tables.groups[name]) if name in tables.groups else None,
        "memberships": tables.memberships.get(name),
        "tags": tables.tags.get(name),
        "jobs": _job_body(tables.jobs[name]) if kind == "jobs" and name in tables.jobs else None,
    }
    return values[kind]


def restore(stored: Stored, tables: JobsTables) -> None:
    """Fill tables with what was stored; what they hold themselves stays."""
    for _, value in stored["counters"]:
        tables.sequence = max(tables.sequence, value)
    for (name,), created_at in sorted(stored["things"], key=lambda row: float(row[1])):
        tables.put_thing(name, created_at)
    for _, body in stored["thing_groups"]:
        tables.put_group(ThingGroup(**body))
    for (name,), groups in stored["memberships"]:
        tables.put_membership(name, tuple(groups))
    for (name,), tags in stored["tags"]:
        tables.put_tags(name, tags)
    for _, body in sorted(stored["jobs"], key=lambda row: int(row[1]["serial"])):
        tables.put_job(_read_job(body))
    for _, body in sorted(stored["executions"], key=lambda row: int(row[1]["sequence"])):
        tables.put_execution(Execution(**body | {"status": ExecutionStatus(body["status"])}))


def _job_body(job: Job) -> dict[str, Any]:
    body = asdict(job)
    schedule = job.settings.schedule
    body["settings"] = settings_body(job.settings)
    # As epoch seconds: the texts are only checked, and read, when a job is created.
    body["settings"].pop("schedulingConfig", None)
    body["schedule"] = None if schedule is None else asdict(schedule)
    return body


def _read_job(body: dict[str, Any]) -> Job:
    schedule = body.pop("schedule")
    settings = read_settings(body.pop("settings"), 0)
    if schedule is not None:
        settings = replace(settings, schedule=Schedule(**schedule))
    return Job(
        **body
        | {
            "status": JobStatus(body["status"]),
            "targets": tuple(body["targets"]),
            "waiting": tuple(body["waiting"]),
            "settings": settings,
        }
    )
