"""One run: a job with mishaps, a look at the board, a job without, another look."""

import gc
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.lab.campaign.invariants import broken_after_job, broken_after_rerun
from bridge.lab.campaign.mishap import Extent
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.rig import FIRST_JOB, Rig
from bridge.lab.campaign.scenario import Images, Scenario
from bridge.lab.campaign.scheduler import StuckError
from bridge.lab.campaign.world import SimulatedWorld

_LIMIT_S: Final = 12 * 3600.0
_FAST_DISK: Final = Path("/dev/shm")  # noqa: S108 - only if it is there; folders in it have random names


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    Attributes:
        plan: What was planned.
        outcome: Final status of its job, with the reason.
        broken: The invariants that did not hold; none is good.
        timeline: What happened.
        simulated_s: How long it took in simulated time.
    """

    plan: Plan
    outcome: str
    broken: tuple[str, ...]
    timeline: tuple[str, ...]
    simulated_s: float

    @property
    def status(self) -> str:
        """The outcome without its reason."""
        return self.outcome.partition(" ")[0]


def carry_out(plan: Plan, images: Images) -> RunResult:
    """Do a run and look whether the invariants hold."""
    outcome, broken = "STUCK", list[str]()
    with _no_finalizers(), _disk() as folder, SimulatedWorld(plan.seed, limit_s=_LIMIT_S) as world:
        rig = Rig(world, plan, images, Path(folder))
        try:
            story = rig.work_job(FIRST_JOB)
            outcome = _outcome(rig)
            broken += broken_after_job(rig, story, rig.calm_down())
            again = rig.work_job("job-2")
            broken += broken_after_rerun(rig, again, rig.calm_down())
        except StuckError as error:
            broken.append(f"the run does not end: {error}")
            for place in world.whereabouts():
                rig.timeline.note("stuck", place)
        finally:
            rig.bench.close()
        for name, cause in world.failures:
            broken.append(f"thread {name} died of {type(cause).__name__}: {cause}")
            for line in "".join(traceback.format_exception(cause)).splitlines():
                rig.timeline.note("died", line)
        return RunResult(plan, outcome, tuple(broken), tuple(rig.timeline.lines()), world.elapsed_s)


def measure(scenario: Scenario, images: Images) -> Extent:
    """How much of everything there is in a run of a scenario in which nothing goes wrong."""
    with _no_finalizers(), _disk() as folder, SimulatedWorld(0, limit_s=_LIMIT_S) as world:
        rig = Rig(world, Plan(0, scenario), images, Path(folder))
        rig.work_job(FIRST_JOB)
        rig.host.stop()
        extent = rig.extent()
        rig.bench.close()
        return extent


@contextmanager
def _no_finalizers() -> Iterator[None]:
    """What a killed process leaves behind must do nothing any more; its ports would close themselves as garbage."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _outcome(rig: Rig) -> str:
    story = rig.story
    assert story is not None
    if story.was_deleted or story.last is None:
        return "DELETED"
    reason = story.last.status_details.get("reason")
    return (
        f"{story.last.status} ({reason})"
        if reason and story.last.status != "SUCCEEDED"
        else str(story.last.status)
    )


def _disk() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(
        prefix="nrf91-campaign-", dir=_FAST_DISK if _FAST_DISK.is_dir() else None
    )
