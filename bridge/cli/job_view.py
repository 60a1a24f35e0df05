"""Showing the jobs that agents work."""

import threading
from typing import TYPE_CHECKING

from bridge.cli.output import console, emit_json
from bridge.cli.view import UpdateView

if TYPE_CHECKING:
    from bridge.cloud import JobExecution
    from bridge.fota import UpdateEvent


class JobsView:
    """Shows the jobs that agents work, those of one thing one after the other.

    Args:
        json: Emit JSON on stdout instead.
        several: Whether there are several things: each line begins with its thing then, and there is no bar.
    """

    def __init__(self, *, json: bool, several: bool = False) -> None:
        self._json = json
        self._several = several
        self._lock = threading.Lock()
        self._jobs: dict[str, tuple[str, int]] = {}
        self._views: dict[str, UpdateView] = {}

    def __enter__(self) -> "JobsView":
        """Nothing to show yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars of unfinished jobs off the screen."""
        for view in self._views.values():
            view.__exit__()
        self._views.clear()

    def ready(self, things: list[str], endpoint: str) -> None:
        """Tell that the agents wait for jobs."""
        for thing in things:
            if self._json:
                emit_json({"event": "ready", "thing": thing, "endpoint": endpoint})
            else:
                console.print(f"working the jobs of [bold]{thing}[/bold] at {endpoint}; stop with Ctrl-C")

    def show(self, thing: str, execution: "JobExecution", event: "UpdateEvent") -> None:
        """Show one event of one job; from any thread."""
        with self._lock:
            job = (execution.job_id, execution.execution_number)
            if self._jobs.get(thing) != job:
                self._begin(thing, job)
            self._views[thing].show(event)

    def _begin(self, thing: str, job: tuple[str, int]) -> None:
        if (before := self._views.pop(thing, None)) is not None:
            before.__exit__()
        self._jobs[thing] = job
        context: dict[str, object] = {"job": job[0], "execution": job[1]}
        label = ""
        if self._several:
            context["thing"] = thing
            label = f"{thing}: "
        self._views[thing] = UpdateView(json=self._json, context=context, label=label)
        self._views[thing].__enter__()
        if not self._json:
            console.print(f"{label}job [bold]{job[0]}[/bold], execution {job[1]}")
