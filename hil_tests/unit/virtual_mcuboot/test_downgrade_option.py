"""A bootloader that was built without downgrade prevention."""

from pathlib import Path

import pytest

from bridge.board import Board
from bridge.fota import Outcome, Policy, Update, UpdateOptions, over_at
from bridge.fota.events import Finished
from bridge.image import FileSource
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions


@pytest.mark.parametrize(("prevents", "outcome"), [(True, Outcome.FAILED), (False, Outcome.SUCCEEDED)])
def test_an_older_image_is_taken_by_a_build_without_downgrade_prevention_only(
    tmp_path: Path, prevents: bool, outcome: Outcome
) -> None:
    samples = SampleImages(tmp_path)
    board = VirtualBoard(
        factory_image=samples.application("2.0.0").read_bytes(),
        keys=[samples.public_key_pem],
        bootloader=BootloaderOptions(downgrade_prevention=prevents),
    )
    registry.register("older", board)
    try:
        with board:
            options = UpdateOptions(policy=Policy(allow_downgrade=True))
            source = FileSource(samples.application("1.0.0"))
            *_, last = Update(source, over_at(lambda: Board.open("virtual://older")), options=options)
    finally:
        registry.unregister("older")
    assert isinstance(last, Finished)
    assert last.outcome is outcome
