"""Showing the jobs that agents work: those of one thing one after the other, those of several side by side."""

import threading
from typing import TYPE_CHECKING

from rich.text import Text

from bridge.cli.output import console, emit_json
from bridge.cli.view import UpdateView, make_bars

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from bridge.cloud import JobExecution
    from bridge.fota import UpdateEvent


class JobView:
    """Shows the jobs that an agent works, one after the other.

    Args:
        json: As JSON events on stdout.
        context: Members to add to every event.
        label: Put before every line.
        bars: Where the bars of several boards are.
    """

    def __init__(
        self,
        *,
        json: bool,
        context: dict[str, object] | None = None,
        label: str = "",
        bars: "ProgressBar | None" = None,
    ) -> None:
        self._json = json
        self._context = context or {}
        self._label = label
        self._bars = bars
        self._job: tuple[str, int] | None = None
        self._view: UpdateView | None = None

    def __enter__(self) -> "JobView":
        """Nothing to show yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar of an unfinished job off the screen."""
        self._close()

    def ready(self, thing: str, endpoint: str) -> None:
        """Tell that the agent waits for jobs."""
        if self._json:
            emit_json({"event": "ready", "thing": thing, "endpoint": endpoint})
        else:
            console.print(
                Text.assemble("working the jobs of ", (thing, "bold"), f" at {endpoint}; stop with Ctrl-C")
            )

    def show(self, execution: "JobExecution", event: "UpdateEvent") -> None:
        """Show one event of one job."""
        job = (execution.job_id, execution.execution_number)
        if self._view is None or job != self._job:
            self._close()
            self._job = job
            context = {**self._context, "job": job[0], "execution": job[1]}
            self._view = UpdateView(json=self._json, context=context, label=self._label, bars=self._bars)
            self._view.__enter__()
            if not self._json:
                console.print(Text.assemble(f"{self._label}job ", (job[0], "bold"), f", execution {job[1]}"))
        self._view.show(event)

    def _close(self) -> None:
        if self._view is not None:
            self._view.__exit__()
            self._view = None


class JobsView:
    """Shows the jobs of some things; use as a context manager.

    Args:
        things: Their names. With several, each line and event tells whose it is.
        json: Emit JSON on stdout instead.
    """

    def __init__(self, things: list[str], *, json: bool) -> None:
        self._lock = threading.Lock()
        several = len(things) > 1
        self._bars = make_bars(json=json) if several else None
        width = max(map(len, things))
        self._views = {
            thing: JobView(
                json=json,
                context={"thing": thing} if several else None,
                label=f"{thing:<{width}}  " if several else "",
                bars=self._bars,
            )
            for thing in things
        }

    def __enter__(self) -> "JobsView":
        """Show the bars, where there is a terminal."""
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take all bars off the screen."""
        for view in self._views.values():
            view.__exit__()
        if self._bars is not None:
            self._bars.stop()

    def ready(self, endpoint: str) -> None:
        """Tell that the agents wait for jobs."""
        for thing, view in self._views.items():
            view.ready(thing, endpoint)

    def show(self, thing: str, execution: "JobExecution", event: "UpdateEvent") -> None:
        """Show one event of one job; from any thread."""
        with self._lock:
            self._views[thing].show(execution, event)
