"""Showing an update while it runs: a bar on a terminal, a line now and then elsewhere, JSON for machines."""

import logging

from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as ProgressBar
from rich.text import Text

from bridge.cli.output import console, emit_json
from bridge.fota import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
    UpdateEvent,
    Waiting,
)

_log = logging.getLogger(__name__)

_STAGE_TEXT = {
    Stage.FETCH: "fetching the image",
    Stage.CHECK: "asking the board",
    Stage.TRANSFER: "writing into the board's flash",
    Stage.SCHEDULE: "scheduling the new image",
    Stage.REBOOT: "rebooting",
    Stage.VERIFY: "reading the version back",
    Stage.CONFIRM: "waiting for the confirmation",
    Stage.DONE: "done",
}


class UpdateView:
    """Shows the events of one update; use as a context manager.

    Args:
        json: Emit each event as JSON on stdout instead.
        context: Members to add to every JSON event, such as the job id.
        label: Put before every line, to tell this board from others.
        bars: Where the bars of several boards are; the caller shows them. None for one of its own.
    """

    def __init__(
        self,
        *,
        json: bool,
        context: dict[str, object] | None = None,
        label: str = "",
        bars: ProgressBar | None = None,
    ) -> None:
        self._json = json
        self._context = context or {}
        self._label = label
        self._own_bar = bars is None
        self._bar = make_bars(json=json) if bars is None else bars
        self._task: TaskID | None = None
        self._printed_percent = 0
        self._waits_for = ""
        self._is_shown = True

    def __enter__(self) -> "UpdateView":
        """Start the bar."""
        if self._own_bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bar."""
        self._remove_bar()

    def show(self, event: UpdateEvent) -> None:
        """Show one event.

        A pipe that nobody reads any more, or a full disk behind it, does not end the update: its exit code tells how it ended.
        """
        try:
            self._show(event)
        except OSError as error:
            if self._is_shown:
                _log.warning("what happens cannot be shown any more: %s; the update goes on", error.strerror)
            self._is_shown = False

    def _show(self, event: UpdateEvent) -> None:
        if self._json:
            if isinstance(event, Waiting) and event.text == self._waits_for:
                return
            self._waits_for = event.text if isinstance(event, Waiting) else ""
            emit_json({**event.to_dict(), **self._context})
            return
        match event:
            case StageStarted():
                self._print((f"{event.stage:<9}", "bold"), f" {_STAGE_TEXT.get(event.stage, '')}")
            case BoardIdentified():
                self._show_board(event)
            case ImageAccepted():
                self._print(
                    f"          {event.kind} {event.name}, {event.size_bytes} bytes:"
                    f" {_known(event.from_version)} -> {_known(event.to_version)}"
                )
            case Progress():
                self._show_progress(event)
            case Notice():
                self._print(f"          {event.text}")
            case Waiting():
                if event.text != self._waits_for:
                    self._waits_for = event.text
                    self._print(f"          {event.text}")
            case Finished():
                self._show_end(event)

    def _remove_bar(self) -> None:
        if self._own_bar:
            self._bar.stop()
        elif self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()  # what is printed next would bring it back for a moment
            self._task = None

    def _print(self, *parts: str | tuple[str, str]) -> None:
        """A line of texts, or texts with their styles."""
        console.print(Text.assemble(self._label, *parts), soft_wrap=True)

    def _show_board(self, event: BoardIdentified) -> None:
        known = {
            "board": event.board,
            "IMEI": event.imei,
            "application": event.application_version,
            "modem": event.modem_version,
        }
        facts = [f"{name} {value}" for name, value in known.items() if value]
        route = f"by {event.route}" + (f" ({event.why})" if event.why else "")
        self._print(f"          {', '.join([*facts, route])}")

    def _show_progress(self, event: Progress) -> None:
        if self._task is None:
            self._task = self._bar.add_task(self._label, total=event.total_bytes)
        self._bar.update(self._task, completed=event.done_bytes)
        percent = 100 * event.done_bytes // max(1, event.total_bytes)
        restarted = percent < self._printed_percent
        if not console.is_terminal and (restarted or percent >= self._printed_percent + 10):
            self._printed_percent = percent
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            self._print(f"          {percent:3d} %  {event.rate_bytes_per_s / 1000:.1f} kB/s{again}")

    def _show_end(self, event: Finished) -> None:
        self._remove_bar()
        good = event.outcome is Outcome.SUCCEEDED
        colour = "green" if good else "red"
        self._print((event.outcome.upper(), f"bold {colour}"), f" {event.message}")
        self._print(
            f"          before {_known(event.from_version)}, image {_known(event.to_version)},"
            f" running {_known(event.running_version)}"
        )


def make_bars(*, json: bool) -> ProgressBar:
    """Bars for transfers; nothing is shown where no terminal is, or machines listen."""
    return ProgressBar(
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=json or not console.is_terminal,
    )


def _known(version: str | None) -> str:
    return version or "unknown"
