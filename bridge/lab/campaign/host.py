"""Our own process in a run: agent, Jobs client, download and board link, all real; killed and started again."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from bridge.board.ports import find_port, ports_from
from bridge.cloud import JobDocument, JobExecution
from bridge.cloud.jobs import JobsClient
from bridge.errors import BridgeError
from bridge.fetch import Download
from bridge.fota.agent import Agent
from bridge.fota.choose_route import RouteOptions, route_opener
from bridge.fota.events import BoardIdentified, Finished, Stage, StageStarted, UpdateEvent
from bridge.fota.image_store import KnownImageStore
from bridge.fota.journal import Journal
from bridge.fota.update_options import UpdateOptions
from bridge.image import ImageSource
from bridge.lab.campaign.bench import SERIAL_NUMBER, Bench
from bridge.lab.campaign.channel import SimulatedChannel
from bridge.lab.campaign.cloud import THING, SimulatedCloud
from bridge.lab.campaign.scenario import Scenario
from bridge.lab.campaign.task import Process, Task
from bridge.lab.campaign.timeline import Timeline
from bridge.lab.campaign.web import ImageServer, SimulatedWeb
from bridge.lab.campaign.world import SimulatedWorld

IMAGE_STORE: Final = "images"


class Surroundings(Protocol):
    """What is around the process."""

    bench: Bench
    cloud: SimulatedCloud
    server: ImageServer

    @property
    def scenario(self) -> Scenario:
        """What it is told."""
        ...

    confirms: bool
    """Whether it confirms images that do not do that themselves."""

    def on_stage(self, job_id: str, stage: Stage) -> None:
        """It has reached a stage."""
        ...


class Host:
    """The bridge of one thing, and whoever starts it again.

    Args:
        world: Where it is.
        timeline: Gets notes.
        surroundings: Its board, its cloud, and where images come from.
        disk: What outlives it.
        kill_at_steps: At which step of each of its lives it is killed; afterwards it lives on.

    Attributes:
        steps: How many steps it has made in all its lives.
        lives: How often it was started.
    """

    def __init__(
        self,
        world: SimulatedWorld,
        timeline: Timeline,
        surroundings: Surroundings,
        disk: Path,
        kill_at_steps: tuple[int, ...] = (),
    ) -> None:
        self._world = world
        self._timeline = timeline
        self._around = surroundings
        self._disk = disk
        self._kill_at_steps = list(kill_at_steps)
        self._process: Process | None = None
        self._task: Task | None = None
        self._agent: Agent | None = None
        self._journal: Journal | None = None
        self._downloads: list[Download] = []
        self.steps = 0
        self.lives = 0

    def start(self) -> None:
        """Start the process."""
        kill_at = self._kill_at_steps.pop(0) if self._kill_at_steps else None
        self.lives += 1
        self._process = self._world.process(f"bridge {self.lives}", kill_at)
        self._timeline.note("host", "started")
        self._task = self._world.spawn(self._process, "bridge", self._main)

    @property
    def is_running(self) -> bool:
        """Whether the process is there: it ends with its main thread."""
        return self._task is not None and not self._task.done

    def bury(self) -> None:
        """Note how a process has ended, and do for it what the kernel does then."""
        assert self._process is not None
        steps, killed = self._process.steps, self._process.dead
        self.steps += steps
        step = self._process.kill_at_step if killed else steps
        self._timeline.note("host", "was killed" if killed else "ended", step=step)
        self._world.kill(self._process)
        self._process = self._task = self._agent = None
        self._around.bench.release_port()
        if self._journal is not None:
            self._journal.close()
        for download in self._downloads:
            download.close()
        self._downloads.clear()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._task is not None and self._agent is not None:
            self._agent.stop()
            self._world.join(self._task)
            self.bury()

    def _main(self) -> None:
        around = self._around
        with (
            ports_from(around.bench.ports),
            Journal(self._disk / "journal.sqlite3") as self._journal,
            SimulatedChannel(around.cloud, self._timeline) as channel,
            JobsClient(channel, THING) as jobs,
        ):
            self._agent = Agent(
                jobs,
                route_opener(self._route()),
                self._download,
                options=self._options(),
                on_event=self._on_event,
                journal=self._journal,
                thing=THING,
                place=SERIAL_NUMBER,
            )
            try:
                self._agent.run()
            except BridgeError as error:
                self._timeline.note("host", "gives up", reason=error.reason, message=error.message)

    def _route(self) -> RouteOptions:
        scenario = self._around.scenario
        return RouteOptions(
            lambda: find_port(SERIAL_NUMBER).device,
            scenario.transport,
            flow_control=scenario.flow_control,
            recovery=scenario.recovery,
            confirms=self._around.confirms,
            notes_file=self._disk / "uploads.json",
        )

    def _options(self) -> UpdateOptions:
        return UpdateOptions(
            transfer_baud=self._around.scenario.transfer_baud,
            image_store=KnownImageStore(self._disk / IMAGE_STORE),
        )

    def _download(self, document: JobDocument, fresh_url: Callable[[], str]) -> ImageSource:
        download = Download(
            document.url,
            cache_dir=self._disk / "cache",
            expected_size=document.size_bytes,
            expected_sha256=document.sha256,
            refresh_url=fresh_url,
            web=SimulatedWeb(self._around.server),
        )
        self._downloads.append(download)
        download.start()
        return download

    def _on_event(self, execution: JobExecution, event: UpdateEvent) -> None:
        match event:
            case StageStarted():
                self._timeline.note("host", f"{execution.job_id} stage {event.stage}")
                self._around.on_stage(execution.job_id, event.stage)
            case BoardIdentified():
                self._timeline.note(
                    "host", "identified", runs=event.application_version, modem=event.modem_version
                )
            case Finished():
                self._timeline.note(
                    "host",
                    f"{execution.job_id} {event.outcome}",
                    reason=event.reason,
                    running=event.running_version,
                    message=event.message,
                )
