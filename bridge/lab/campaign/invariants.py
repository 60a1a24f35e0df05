"""What must hold after every run, whatever went wrong in it."""

from collections.abc import Iterator
from typing import Final

from bridge.lab.campaign.rig import JobStory, Rig
from bridge.lab.campaign.truth import application_version
from bridge.lab.jobs_model import ExecutionStatus

_LONGEST_QUESTION_S: Final = 35.0
"""So long the last answer may be old by which our process believes that a job is still wanted."""
_UNKNOWN: Final = frozenset({ExecutionStatus.TIMED_OUT, ExecutionStatus.REMOVED})


def broken_after_job(rig: Rig, story: JobStory, came_up: str | None) -> Iterator[str]:
    """What a run has broken, when its job has ended and the board was switched off and on.

    Args:
        rig: The run.
        story: Its job.
        came_up: What the board does since.
    """
    truth = rig.running()
    allowed = {story.before, story.step.version, *({None} if rig.scenario.in_place else ())}
    if truth not in allowed and not _was_changed(rig, truth):
        yield f"the board runs {truth}, neither {story.before} nor {story.step.version}"
    yield from _broken_application(rig, came_up)
    yield from _lies(rig, story, truth)
    if story.installed_again:
        yield f"{story.job_id} was written again although the board already ran {story.step.version}"


def broken_after_rerun(rig: Rig, story: JobStory, came_up: str | None) -> Iterator[str]:
    """What is broken if a run without mishaps does not succeed after all that."""
    status = None if story.last is None else story.last.status
    if status is not ExecutionStatus.SUCCEEDED:
        details = {} if story.last is None else story.last.status_details
        yield f"the rerun ended {status}: {details.get('reason')}: {details.get('message')}"
    else:
        yield from broken_after_job(rig, story, came_up)


def _broken_application(rig: Rig, came_up: str | None) -> Iterator[str]:
    in_place = rig.scenario.in_place and rig.scenario.part == "application"
    version = application_version(rig.bench.board, rig.scenario, rig.images)
    if version is None and not (in_place and came_up == "recovery"):
        yield f"no whole application is in the primary slot; the board came up with {came_up}"
    elif version is not None and came_up not in {"ready", "bootloader-mode"}:
        yield f"the board does not start its application: {came_up}"


def _lies(rig: Rig, story: JobStory, truth: str | None) -> Iterator[str]:
    """Where the cloud was told something else than what the board shows."""
    if story.was_deleted or story.last is None or story.last.status is ExecutionStatus.CANCELED:
        yield from _installed_unwanted(story, truth)
        return
    status, details = story.last.status, story.last.status_details
    new = story.step.version
    if not status.terminal:
        yield f"{story.job_id} is stuck: {status}"
    elif status is ExecutionStatus.SUCCEEDED and truth != new and not _was_changed(rig, truth):
        yield f"the cloud was told SUCCEEDED, but the board runs {truth}, not {new}"
    elif status is ExecutionStatus.SUCCEEDED and details.get("running_version", truth) != truth:
        yield f"the cloud was told that {details['running_version']} runs, but it is {truth}"
    elif status not in {ExecutionStatus.SUCCEEDED, *_UNKNOWN} and truth == new != story.before:
        yield f"the cloud was told {status} ({details.get('reason')}), but the board runs {new}"


def _installed_unwanted(story: JobStory, truth: str | None) -> Iterator[str]:
    if truth != story.step.version or truth == story.before or story.unwanted_since_s is None:
        return
    if story.scheduled_s is None or story.scheduled_s > story.unwanted_since_s + _LONGEST_QUESTION_S:
        yield f"{story.job_id} was unwanted since {story.unwanted_since_s:.1f} s, and installed at {story.scheduled_s} s"


def _was_changed(rig: Rig, truth: str | None) -> bool:
    """Whether the file changed on the server, to another image that was as good, in a job that did not say which."""
    return not rig.plan.with_digest and rig.server.was_changed and truth == rig.scenario.versions[2]
