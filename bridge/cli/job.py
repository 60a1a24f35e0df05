"""``nrf91-bridge job``: jobs of AWS IoT, or of a local cloud, from the operator's side."""

import json as json_module
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bridge.cli import job_create, job_document, job_watch
from bridge.cli.cloud_options import CloudOptions
from bridge.cli.job_view import execution_members, job_members, jobs_table, snapshot_view
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json

if TYPE_CHECKING:
    from bridge.cloud.deploy_jobs import ExecutionState

JobArgument = Annotated[str, typer.Argument(help="Id of the job.")]
JobStatusName = Literal["IN_PROGRESS", "CANCELED", "COMPLETED", "DELETION_IN_PROGRESS", "SCHEDULED"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Create and watch jobs, on AWS or on a local cloud: the same commands."
    )
    group.command("create")(job_create.create)
    group.command("list")(list_jobs)
    group.command("show")(show)
    group.command("watch")(job_watch.watch)
    group.command("cancel")(cancel)
    group.command("delete")(delete)
    group.command("document")(job_document.document)
    app.add_typer(group, name="job")


@takes_groups
def list_jobs(
    status: Annotated[JobStatusName | None, typer.Option(help="Only jobs with this status.")] = None,
    thing: Annotated[str | None, typer.Option(help="Jobs of this thing, with how they stand there.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """List jobs, or the jobs of one thing."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415

    with cloud.open() as plane:
        jobs = JobsControl(plane)
        if thing is not None:
            _list_of_thing(jobs.executions_of_thing(thing)[:limit], json=json)
            return
        found = [*islice(jobs.every(status=status), limit)]
    if json:
        for each in found:
            emit_json({"event": "job", **job_members(each)})
    else:
        out.print(jobs_table(found) if found else "no jobs")


def _list_of_thing(found: "list[tuple[str, ExecutionState]]", *, json: bool) -> None:
    if json:
        for job_id, each in found:
            emit_json({"event": "execution", "job": job_id, **execution_members(each)})
        return
    for job_id, each in found:
        number = f" #{each.execution_number}" if each.execution_number > 1 else ""
        out.print(f"{job_id}{number}  {each.status}")
    if not found:
        out.print("no jobs")


@takes_groups
def show(
    job: JobArgument,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Show a job, how it stands on each thing, and its document."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415
    from bridge.cloud.deploy_watch import JobWatch  # noqa: PLC0415

    with cloud.open() as plane:
        jobs = JobsControl(plane)
        snapshot = JobWatch(jobs, job).look()
        document = jobs.document(job)
    if json:
        executions = [execution_members(each) for each in snapshot.executions]
        emit_json(
            {"event": "job", **job_members(snapshot.job), "executions": executions, "document": document}
        )
        return
    out.print(snapshot_view(snapshot))
    out.print(json_module.dumps(document, indent=2, ensure_ascii=False), soft_wrap=True)


@takes_groups
def cancel(
    job: JobArgument,
    thing: Annotated[str | None, typer.Option(help="Cancel it on this thing only.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Also where it is in progress.")] = False,
    reason_code: Annotated[str | None, typer.Option(help="For machines: A-Z, 0-9, _.")] = None,
    comment: Annotated[str | None, typer.Option(help="For people.")] = None,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Cancel a job. A board that has begun goes on unless --force; the bridge never installs a cancelled image."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415

    with cloud.open() as plane:
        jobs = JobsControl(plane)
        if thing is None:
            jobs.cancel(job, force=force, reason_code=reason_code, comment=comment)
        else:
            jobs.cancel_execution(job, thing, force=force)
    _done("job-canceled", f"cancelled {job}" + (f" on {thing}" if thing else ""), job, json=json)


@takes_groups
def delete(
    job: JobArgument,
    force: Annotated[bool, typer.Option("--force", help="Also while it is in progress.")] = False,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Delete a job with all that is known about its executions."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415

    with cloud.open() as plane:
        JobsControl(plane).delete(job, force=force)
    _done("job-deleted", f"deleted {job}", job, json=json)


def _done(event: str, text: str, job: str, *, json: bool) -> None:
    if json:
        emit_json({"event": event, "job": job})
    else:
        console.print(text)
