"""Everything that a run needs, put together in one simulated world: bench, cloud, image server, and our own process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.fota.events import Stage
from bridge.fota.image_store import KnownImageStore
from bridge.lab.campaign.bench import Bench
from bridge.lab.campaign.cloud import THING, SimulatedCloud
from bridge.lab.campaign.host import IMAGE_STORE, Host
from bridge.lab.campaign.mishap import Extent, Mishap, MishapKind
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.scenario import Images, Scenario, Step
from bridge.lab.campaign.timeline import Timeline
from bridge.lab.campaign.truth import running_version
from bridge.lab.campaign.web import HOST, ImageServer
from bridge.lab.campaign.world import SimulatedWorld
from bridge.lab.jobs_model import Execution

FIRST_JOB: Final = "job-1"
_RESTART_S: Final = 2.0
_LOOK_AGAIN_S: Final = 5.0
_UP_S: Final = 600.0
_MESSAGES: Final = frozenset(
    {
        MishapKind.BROKER_LOST,
        MishapKind.SESSION_TAKEN,
        MishapKind.MESSAGE_DOUBLED,
        MishapKind.ANSWER_LOST,
        MishapKind.ANSWER_LATE,
    }
)


@dataclass
class JobStory:
    """What is known of one job, beyond what the Jobs service keeps.

    Attributes:
        job_id: The job.
        step: What it installs.
        before: What the board ran when it was created.
        unwanted_since_s: When it was cancelled or deleted.
        scheduled_s: When our process last went beyond the last moment at which it can be stopped (see :meth:`on_stage`).
        installed_again: Our process began to write what the board already ran.
        last: The execution as it was last seen; a deleted one is gone from the service.
    """

    job_id: str
    step: Step
    before: str | None
    unwanted_since_s: float | None = None
    scheduled_s: float | None = None
    installed_again: bool = False
    last: Execution | None = None
    was_deleted: bool = field(default=False)
    _committed: bool = field(default=False)

    def on_stage(self, stage: Stage, now_s: float, *, in_place: bool) -> None:
        """Our process begins a stage.

        An update in place is beyond recall with its first byte: it may have to write once more, wanted or not. Only a new
        attempt, which begins with a look at the job, can be stopped again.
        """
        if stage is Stage.FETCH:
            self._committed = False
        elif stage is (Stage.TRANSFER if in_place else Stage.SCHEDULE) and not (in_place and self._committed):
            self.scheduled_s = now_s
            self._committed = True


class Rig:
    """One run's world with everything in it.

    Args:
        world: The world, entered.
        plan: What happens.
        images: The files.
        disk: Empty folder: the host's disk.
    """

    def __init__(self, world: SimulatedWorld, plan: Plan, images: Images, disk: Path) -> None:
        self.world = world
        self.plan = plan
        self.timeline = Timeline(world)
        self.images = images
        mishaps = plan.mishaps
        self.bench = Bench(world, self.timeline, plan, images)
        self.server = ImageServer(
            self.timeline, [each for each in mishaps if each.kind.name.startswith("HTTP")]
        )
        self.cloud = SimulatedCloud(
            world, self.timeline, [each for each in mishaps if each.kind in _MESSAGES], self.server.sign
        )
        kills = tuple(each.where for each in mishaps if each.kind is MishapKind.HOST_KILLED)
        self.host = Host(world, self.timeline, self, disk, kills)
        if plan.scenario.kind == "app-delta":
            store = KnownImageStore(disk / IMAGE_STORE)
            for version in plan.scenario.versions:
                store.add(images.application_path(version))
        self.confirms = True
        self.story: JobStory | None = None
        self.bench.wait_up(_UP_S)
        self._flash_operations = self.bench.board.flash.operations
        self._began_s = world.elapsed_s

    @property
    def scenario(self) -> Scenario:
        """What is updated."""
        return self.plan.scenario

    def running(self) -> str | None:
        """What the board runs, from its memory."""
        return running_version(self.bench.board, self.scenario, self.images)

    # --- jobs -----------------------------------------------------------------------------------------------

    def work_job(self, job_id: str) -> JobStory:
        """Create a job, and wait until it has ended and our process has nothing left to do.

        Raises:
            StuckError: That takes for ever.
        """
        before = self.running()
        self.confirms = not (self.scenario.reverts and job_id == FIRST_JOB)
        step = self.images.step(self.scenario, before)
        if not self.confirms:
            step = self.images.unconfirmed_step()
        story = self.story = JobStory(job_id, step, before)
        self._began_s = self.world.elapsed_s
        self.server.files[step.file_name] = step.content
        following = self.images.step(self.scenario, self.scenario.versions[1])
        self.server.changed_to[step.file_name] = following.content
        self.cloud.store.create_job(job_id, THING, self._document(step))
        self.timeline.note("cloud", f"{job_id} created", to=step.version)
        if job_id == FIRST_JOB:
            self.bench.start_clock()
            self._plan_orders(story)
        self.host.start()
        self._supervise(story)
        story.last = self._execution(story)
        return story

    def calm_down(self) -> str | None:
        """End our process, let nothing go wrong any more, and switch the board off and on; tells what came up."""
        self.host.stop()
        self.bench.no_more_mishaps()
        self.cloud.no_more_mishaps()
        self.server.no_more_mishaps()
        self.bench.settle(_UP_S)
        self.bench.restart()
        return self.bench.wait_up(_UP_S)

    def extent(self) -> Extent:
        """What there was, now that a job has been worked."""
        board = self.bench.board
        assert self.story is not None
        return Extent(
            flash_operations=board.flash.operations - self._flash_operations,
            first_flash_operation=self._flash_operations,
            modem_operations=board.modem_operations.count,
            rx_bytes=board.rx_faults.position,
            tx_bytes=board.tx_faults.position,
            replies=board.replies.count,
            messages=self.cloud.messages,
            requests=self.server.requests,
            body_bytes=len(self.story.step.content),
            host_steps=self.host.steps,
            duration_ms=int(1000 * (self.world.elapsed_s - self._began_s)),
        )

    def _document(self, step: Step) -> dict[str, object]:
        url = f"https://{HOST}/{step.file_name}"
        return {
            "operation": self.scenario.operation,
            "size": len(step.content),
            "location": {"url": f"${{aws:iot:s3-presigned-url:{url}}}"},
            **({"sha256": step.sha256} if self.plan.with_digest else {}),
        }

    def _plan_orders(self, story: JobStory) -> None:
        for mishap in self.plan.mishaps:
            if mishap.kind in {MishapKind.JOB_CANCELED, MishapKind.JOB_DELETED}:
                self.cloud.at(mishap.where / 1000, self._order(story, mishap))

    def _order(self, story: JobStory, mishap: Mishap) -> Callable[[], None]:
        def order() -> None:
            story.last = self._execution(story)
            if story.last is None or story.last.status.terminal:
                return
            self.timeline.note("fault", str(mishap))
            story.unwanted_since_s = story.unwanted_since_s or self.world.elapsed_s
            if mishap.kind is MishapKind.JOB_CANCELED:
                self.cloud.store.cancel_job(story.job_id, force=True)
            else:
                story.was_deleted = True
                self.cloud.store.delete_job(story.job_id, force=True)

        return order

    def _execution(self, story: JobStory) -> Execution | None:
        found = [each for each in self.cloud.executions if each.job_id == story.job_id]
        return found[-1] if found else None

    def _supervise(self, story: JobStory) -> None:
        """Start our process again whenever it has ended, until the job has ended and it asks for work in vain."""
        asked: int | None = None
        while True:
            execution = self._execution(story)
            if execution is not None and not execution.status.terminal:
                asked = None
            elif asked is None:
                asked = self.cloud.asked_in_vain
            elif self.cloud.asked_in_vain > asked:
                return
            if not self.host.is_running:
                self.host.bury()
                self.world.sleep(_RESTART_S)
                self.host.start()
            with self.cloud.changed:
                self.cloud.changed.wait(_LOOK_AGAIN_S)

    # --- told by our process --------------------------------------------------------------------------------

    def on_stage(self, job_id: str, stage: Stage) -> None:
        """Our process has reached a stage."""
        story = self.story
        if story is None or story.job_id != job_id:
            return
        story.on_stage(stage, self.world.elapsed_s, in_place=self.scenario.in_place)
        if stage is Stage.TRANSFER and self.running() == story.step.version and not self.scenario.in_place:
            story.installed_again = True
