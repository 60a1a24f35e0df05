"""What the cloud sees of an update."""

from bridge.fota import (
    BoardIdentified,
    Finished,
    ImageAccepted,
    Notice,
    Outcome,
    Progress,
    Stage,
    StageStarted,
)
from bridge.fota.status_details import StatusDetails


def test_a_stage_change_is_worth_a_report() -> None:
    details = StatusDetails()
    assert details.take(StageStarted(Stage.CHECK))
    assert details.to_dict() == {"stage": "check"}


def test_progress_is_worth_a_report_every_ten_percent_only() -> None:
    details = StatusDetails()
    reported = [
        done for done in range(0, 1001, 10) if details.take(Progress(Stage.TRANSFER, done, 1000, 123.4, 1))
    ]
    assert reported == [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]
    assert details.to_dict() == {"stage": "transfer", "percent": "100", "bytes": "1000", "rate": "123"}


def test_a_transfer_that_starts_again_is_reported() -> None:
    details = StatusDetails()
    details.take(Progress(Stage.TRANSFER, 500, 1000, 1.0, 1))
    assert details.take(Progress(Stage.TRANSFER, 0, 1000, 1.0, 2))
    assert details.to_dict()["percent"] == "0"


def test_notices_change_nothing_that_the_cloud_must_know_at_once() -> None:
    assert not StatusDetails().take(Notice(Stage.TRANSFER, "erasing"))


def test_the_whole_story_fits_into_ten_pairs() -> None:
    details = StatusDetails()
    details.take(
        BoardIdentified(Stage.CHECK, "nRF9151-LACA", "352656100367872", "1.0.0", "mfw_nrf91x1_2.0.1")
    )
    details.take(ImageAccepted(Stage.CHECK, "application", "app.bin", 1000, "1.0.0", "2.0.0"))
    details.take(Progress(Stage.TRANSFER, 1000, 1000, 99.0, 1))
    details.take(Finished(Stage.VERIFY, Outcome.FAILED, "reverted", "it reverted", "1.0.0", "2.0.0", "1.0.0"))
    pairs = details.to_dict()
    assert len(pairs) == 10
    assert pairs["reason"] == "reverted"
    assert (pairs["from_version"], pairs["to_version"], pairs["running_version"]) == (
        "1.0.0",
        "2.0.0",
        "1.0.0",
    )
