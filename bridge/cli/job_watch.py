"""``nrf91-bridge job watch``: all things of a job, live, and an exit code that tells whether all succeeded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live

from bridge.cli.cloud_options import CloudOptions
from bridge.cli.job_view import execution_members, job_members, snapshot_view
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.errors import InterruptedUpdateError

if TYPE_CHECKING:
    from bridge.cloud.deploy_watch import JobSnapshot


@takes_groups
def watch(
    job: Annotated[str, typer.Argument(help="Id of the job.")],
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = 2.0,
    until_idle: Annotated[
        bool,
        typer.Option(
            "--until-idle", help="End when every execution there is has ended; continuous jobs never end."
        ),
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Give up after so many seconds (exit code 8).")
    ] = None,
    *,
    cloud: CloudOptions,
    json: JsonOption = False,
) -> None:
    """Follow a job on all of its things until it has ended; exit code 0 only if all of them succeeded."""
    use_json(json)
    from bridge.cloud.deploy_jobs import JobsControl  # noqa: PLC0415
    from bridge.cloud.deploy_watch import JobWatch, require_success  # noqa: PLC0415

    with cloud.open() as plane:
        following = JobWatch(JobsControl(plane), job, interval_s=interval)
        last: JobSnapshot | None = None
        with _shown(json=json) as show:
            for snapshot in following.follow(until_idle=until_idle, timeout_s=timeout):
                last = snapshot
                show.take(snapshot)
    if last is None:
        raise InterruptedUpdateError("stopped by the user")
    if json:
        emit_json({"event": "job-ended", **job_members(last.job)})
    require_success(last)


class _View:
    """Shows each change once: as JSON lines, as a live table, or as lines where nobody can look at a table."""

    def __init__(self, live: Live | None, *, json: bool) -> None:
        self._live = live
        self._json = json
        self._seen: dict[str, object] = {}
        self._job: object = None

    def take(self, snapshot: "JobSnapshot") -> None:
        if self._live is not None:
            self._live.update(snapshot_view(snapshot), refresh=True)
            return
        job = (snapshot.job.status, dict(snapshot.job.counters))
        if job != self._job:
            self._job = job
            self._tell({"event": "job", **job_members(snapshot.job)}, f"job {snapshot.job.job_id}: {job[0]}")
        for each in snapshot.executions:
            state = (each.status, each.execution_number, dict(each.details))
            if self._seen.get(each.thing_name) != state:
                self._seen[each.thing_name] = state
                words = [each.details.get("stage", ""), each.details.get("message", "")]
                percent = each.details.get("percent")
                words += [f"{percent} %"] if percent and not each.ended else []
                self._tell(
                    {"event": "execution", "job": snapshot.job.job_id, **execution_members(each)},
                    f"{each.thing_name}: {each.status} {' '.join(word for word in words if word)}".rstrip(),
                )

    def _tell(self, event: dict[str, object], text: str) -> None:
        if self._json:
            emit_json(event)
        else:
            out.print(text, soft_wrap=True)


@contextmanager
def _shown(*, json: bool) -> Iterator[_View]:
    if json or not console.is_terminal:
        yield _View(None, json=json)
        return
    with Live(console=console, auto_refresh=False) as live:
        yield _View(live, json=False)
