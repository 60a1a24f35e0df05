"""The update line as a library: a virtual board, a local file, no cloud."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.errors import CloudError, InterruptedUpdateError
from bridge.fota import (
    Finished,
    ImageAccepted,
    Notice,
    Outcome,
    Policy,
    Progress,
    Stage,
    StageStarted,
    Update,
    UpdateCanceledError,
    UpdateEvent,
    UpdateOptions,
    over_at,
)
from bridge.fota.earlier_run import EarlierRun
from bridge.fota.supply import SupplyRules
from bridge.image import BytesSource, FileSource
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import FaultPlan
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.modem import ModemOptions
from bridge.virtual.pty_server import PtyServer


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


Opener = Callable[[], Board]


class Rig:
    """A board on a pty."""

    def __init__(
        self, samples: SampleImages, faults: FaultPlan | None = None, modem: ModemOptions | None = None
    ) -> None:
        self.samples = samples
        self.board = VirtualBoard(
            factory_image=samples.application("1.0.0").read_bytes(),
            keys=[samples.public_key_pem],
            faults=faults,
            modem=modem,
        )
        self.pty = PtyServer(self.board)

    def __enter__(self) -> "Rig":
        self.board.start()
        self.pty.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.pty.stop()
        self.board.stop()

    def charge(self) -> None:
        """Give the modem a full battery from its next start on."""
        self.board._build.modem = ModemOptions()

    def open_board(self) -> Board:
        return Board.open(self.pty.path)

    def update(self, image: Path, options: UpdateOptions | None = None) -> Update:
        return Update(FileSource(image), over_at(self.open_board), options=options)

    @property
    def version(self) -> str:
        return running_version(self.board.flash, self.board.layout)

    def swaps_next(self) -> SwapType:
        return swap_type(self.board.flash, self.board.layout)


@pytest.fixture
def rig(samples: SampleImages) -> Iterator[Rig]:
    with Rig(samples) as running:
        yield running


def stages(events: list[UpdateEvent]) -> list[Stage]:
    return [event.stage for event in events if isinstance(event, StageStarted)]


def end(events: list[UpdateEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def test_an_update_passes_every_stage_and_ends_confirmed(rig: Rig) -> None:
    update = rig.update(rig.samples.application("2.0.0"))
    events = list(update)
    assert stages(events) == [stage for stage in Stage if stage is not Stage.QUEUED]
    assert end(events).outcome is Outcome.SUCCEEDED
    assert update.error is None
    done = [event.done_bytes for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert done[-1] == rig.samples.application("2.0.0").stat().st_size
    assert (rig.version, rig.swaps_next()) == ("2.0.0", SwapType.NONE)


def test_events_are_json_objects_that_name_themselves(rig: Rig) -> None:
    names = [event.to_dict()["event"] for event in rig.update(rig.samples.application("2.0.0"))]
    assert {
        "stage-started",
        "board-identified",
        "image-accepted",
        "image-judged",
        "progress",
        "finished",
    } == set(names)


def test_a_dry_run_writes_nothing(rig: Rig) -> None:
    operations = rig.board.flash.operations
    events = list(rig.update(rig.samples.application("2.0.0"), UpdateOptions(check_only=True)))
    assert stages(events) == [Stage.FETCH, Stage.CHECK]
    assert any(isinstance(event, ImageAccepted) for event in events)
    assert end(events).outcome is Outcome.SUCCEEDED
    assert rig.board.flash.operations == operations


def test_the_same_version_can_be_installed_again_if_allowed(rig: Rig) -> None:
    image = rig.samples.application("1.0.0", size_bytes=70_000)
    options = UpdateOptions(policy=Policy(allow_same_version=True))
    assert end(list(rig.update(image, options))).outcome is Outcome.SUCCEEDED
    assert rig.board.flash.read(rig.board.layout.primary.address, image.stat().st_size) == image.read_bytes()


def test_the_same_version_that_the_bootloader_refuses_is_not_taken_for_the_new_one(rig: Rig) -> None:
    image = rig.samples.wrong_key("1.0.0")
    events = list(rig.update(image, UpdateOptions(policy=Policy(allow_same_version=True))))
    assert (end(events).outcome, end(events).reason) == (Outcome.FAILED, "rejected-by-bootloader")


def test_an_image_that_never_confirms_is_seen_to_revert(rig: Rig) -> None:
    image = rig.samples.application("2.0.0", behaviour={"confirm": False})
    events = list(rig.update(image, UpdateOptions(confirm_timeout_s=0.1)))
    assert (end(events).outcome, end(events).reason) == (Outcome.FAILED, "reverted")
    assert end(events).running_version == "1.0.0"
    assert any(isinstance(event, Notice) and event.stage is Stage.CONFIRM for event in events)


@pytest.mark.parametrize("stage", [Stage.SCHEDULE, Stage.REBOOT])
def test_a_job_that_is_gone_at_the_gate_is_never_installed(rig: Rig, stage: Stage) -> None:
    def gate(at: Stage) -> None:
        if at is stage:
            raise UpdateCanceledError("cancelled meanwhile")

    image = rig.samples.application("2.0.0")
    events = list(Update(FileSource(image), over_at(rig.open_board), commit_gate=gate))
    assert end(events).outcome is Outcome.CANCELED
    rig.board.reset()
    with rig.open_board() as board:
        assert board.identify().application_version == "v1.0.0"
    assert rig.swaps_next() is SwapType.NONE


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [(UpdateCanceledError("gone"), Outcome.CANCELED), (InterruptedUpdateError("stop"), Outcome.INTERRUPTED)],
)
def test_an_update_that_is_stopped_in_the_transfer_leaves_a_usable_board(
    rig: Rig, reason: UpdateCanceledError | InterruptedUpdateError, outcome: Outcome
) -> None:
    update = rig.update(rig.samples.application("2.0.0", size_bytes=200_000))
    events = []
    for event in update:
        events.append(event)
        if isinstance(event, Progress) and event.done_bytes:
            update.stop(reason)
    assert end(events).outcome is outcome
    assert rig.swaps_next() is SwapType.NONE
    assert end(list(rig.update(rig.samples.application("2.0.0")))).outcome is Outcome.SUCCEEDED


def test_an_update_that_nobody_iterates_any_more_leaves_a_usable_board(rig: Rig) -> None:
    events = iter(rig.update(rig.samples.application("2.0.0", size_bytes=200_000)))
    for event in events:
        if isinstance(event, Progress) and event.done_bytes:
            break
    events.close()
    assert end(list(rig.update(rig.samples.application("2.0.0")))).outcome is Outcome.SUCCEEDED


def test_an_update_cut_off_after_the_reboot_is_only_verified(rig: Rig) -> None:
    image = rig.samples.application("2.0.0")
    assert end(list(rig.update(image))).outcome is Outcome.SUCCEEDED
    operations = rig.board.flash.operations
    events = list(rig.update(image, UpdateOptions(earlier=EarlierRun(Stage.REBOOT, "1.0.0"))))
    assert end(events).outcome is Outcome.SUCCEEDED
    assert (end(events).from_version, end(events).running_version) == ("1.0.0", "2.0.0")
    assert Stage.TRANSFER not in stages(events)
    assert rig.board.flash.operations == operations


def test_an_update_cut_off_before_the_reboot_is_done_again(rig: Rig) -> None:
    events = list(
        rig.update(rig.samples.application("2.0.0"), UpdateOptions(earlier=EarlierRun(Stage.REBOOT, "1.0.0")))
    )
    assert Stage.TRANSFER in stages(events)
    assert end(events).outcome is Outcome.SUCCEEDED


def test_a_failed_write_starts_again_from_the_beginning(samples: SampleImages) -> None:
    with Rig(samples, FaultPlan(failing_writes=frozenset({1}))) as rig:
        events = list(rig.update(samples.application("2.0.0")))
        assert end(events).outcome is Outcome.SUCCEEDED
        assert {event.attempt for event in events if isinstance(event, Progress)} == {1, 2}
        assert rig.version == "2.0.0"


def test_a_corrupt_image_is_refused_when_its_last_byte_has_come(rig: Rig) -> None:
    events = list(rig.update(rig.samples.corrupted("2.0.0")))
    assert (end(events).outcome, end(events).reason) == (Outcome.REJECTED, "digest-mismatch")
    assert (rig.version, rig.swaps_next()) == ("1.0.0", SwapType.NONE)


def test_a_source_that_fails_in_the_middle_fails_the_update(rig: Rig) -> None:
    class Failing(BytesSource):
        def read(self, offset: int, size: int) -> bytes:
            if offset > 40_000:
                raise CloudError("the server is gone", reason="stalled")
            return super().read(offset, size)

    source = Failing(rig.samples.application("2.0.0").read_bytes(), "app.bin")
    update = Update(source, over_at(rig.open_board))
    events = list(update)
    assert (end(events).outcome, end(events).reason) == (Outcome.FAILED, "stalled")
    assert update.error is not None
    assert update.error.stage == Stage.TRANSFER
    assert end(list(rig.update(rig.samples.application("2.0.0")))).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("data", [b"", b"<html>", b"\x3d\xb8\xf3\x96", bytes(100)])
def test_what_is_no_image_is_rejected_before_the_board_is_opened(data: bytes) -> None:
    def never() -> Board:
        raise AssertionError("the board must not be opened")

    assert end(list(Update(BytesSource(data, "x.bin"), over_at(never)))).outcome is Outcome.REJECTED


def test_a_modem_delta_that_the_modem_refuses_leaves_the_old_modem_firmware(rig: Rig, tmp_path: Path) -> None:
    delta = tmp_path / "delta.bin"
    delta.write_bytes(rig.samples.modem_delta("2.0.0", "2.0.3").read_bytes())
    finished = end(list(rig.update(delta)))
    assert finished.outcome is Outcome.FAILED
    assert finished.running_version == "2.0.2"
    good = rig.samples.modem_delta("2.0.2", "2.0.3")
    assert end(list(rig.update(good))).outcome is Outcome.SUCCEEDED


def test_a_delta_that_low_voltage_postponed_is_not_applied_after_its_job_failed(
    samples: SampleImages,
) -> None:
    with Rig(samples, modem=ModemOptions(battery_mv=2500)) as rig:
        # The voltage was sufficient when it was looked at last, or nobody looked.
        options = UpdateOptions(policy=Policy(supply=SupplyRules(minimum_mv=0)))
        finished = end(list(rig.update(samples.modem_delta("2.0.2", "2.0.3"), options)))
        assert (finished.outcome, finished.reason) == (Outcome.FAILED, "voltage-low")
        rig.charge()
        with rig.open_board() as board:
            board.reset()
            assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"
        assert end(list(rig.update(samples.modem_delta("2.0.2", "2.0.3")))).outcome is Outcome.SUCCEEDED


def test_an_image_for_another_image_index_is_rejected_where_only_image_0_is_reached(rig: Rig) -> None:
    update = rig.update(rig.samples.application("2.0.0"), UpdateOptions(image_index=1))
    last = end(list(update))
    assert (last.outcome, last.reason) == (Outcome.REJECTED, "wrong-image-index")
    assert rig.version == "1.0.0"
