"""What a campaign remembers of a job: since when our process could not be stopped any more."""

import pytest

from bridge.fota.events import Stage
from bridge.lab.campaign.rig import JobStory
from bridge.lab.campaign.scenario import Step


@pytest.fixture
def story() -> JobStory:
    return JobStory("job-1", Step("image.bin", b"image", "2.0.0"), "1.0.0")


def go_on(story: JobStory, *stages: Stage, from_s: float, in_place: bool) -> None:
    for number, stage in enumerate(stages):
        story.on_stage(stage, from_s + number, in_place=in_place)


def test_given_an_update_in_place_when_it_writes_once_more_then_it_was_beyond_recall_before(
    story: JobStory,
) -> None:
    go_on(story, Stage.FETCH, Stage.CHECK, Stage.TRANSFER, from_s=10.0, in_place=True)
    go_on(story, Stage.CHECK, Stage.TRANSFER, Stage.SCHEDULE, from_s=100.0, in_place=True)
    assert story.scheduled_s == 12.0


def test_given_an_update_in_place_when_it_is_begun_anew_then_it_could_have_been_stopped(
    story: JobStory,
) -> None:
    go_on(story, Stage.FETCH, Stage.CHECK, Stage.TRANSFER, from_s=10.0, in_place=True)
    go_on(story, Stage.FETCH, Stage.CHECK, Stage.TRANSFER, from_s=100.0, in_place=True)
    assert story.scheduled_s == 102.0


def test_given_an_update_beside_what_runs_then_each_time_that_it_is_scheduled_counts(story: JobStory) -> None:
    go_on(story, Stage.FETCH, Stage.TRANSFER, from_s=10.0, in_place=False)
    assert story.scheduled_s is None
    go_on(story, Stage.SCHEDULE, from_s=20.0, in_place=False)
    go_on(story, Stage.SCHEDULE, from_s=30.0, in_place=False)
    assert story.scheduled_s == 30.0
