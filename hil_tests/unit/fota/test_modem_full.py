"""Full modem updates by #XDFU through the whole line, on the virtual board: done, refused, cut off, and finished."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.dfu import XdfuTiming
from bridge.errors import BridgeError, InterruptedUpdateError
from bridge.fota import (
    Finished,
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
from bridge.fota.events import BoardIdentified
from bridge.image import FileSource
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan
from bridge.virtual.serial_modem_options import SerialModemOptions

NAME = "modem-full"
URL = f"virtual://{NAME}"


class Rig:
    """A board whose Serial Modem takes full modem images, and updates of it."""

    def __init__(
        self, samples: SampleImages, *, talkative: bool = False, faults: FaultPlan | None = None
    ) -> None:
        self.samples = samples
        self.board = VirtualBoard(
            factory_image=samples.application("1.0.0").read_bytes(),
            keys=[samples.public_key_pem],
            serial_modem=SerialModemOptions(modem_full=True, answers_before_reboot=talkative),
            faults=faults,
        )

    def __enter__(self) -> "Rig":
        registry.register(NAME, self.board)
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        registry.unregister(NAME)

    def prepare(
        self, image: Path, gate: Callable[[Stage], None] = lambda _: None, **options: object
    ) -> Update:
        wanted = UpdateOptions(confirm_timeout_s=0.1, **options)  # type: ignore[arg-type]
        return Update(FileSource(image), over_at(lambda: Board.open(URL)), options=wanted, commit_gate=gate)

    def update(
        self, image: Path, gate: Callable[[Stage], None] = lambda _: None, **options: object
    ) -> tuple[list[UpdateEvent], Finished, BridgeError | None]:
        update = self.prepare(image, gate, **options)
        events = list(update)
        assert isinstance(events[-1], Finished)
        return events, events[-1], update.error

    def cut_off(self, image: Path, done_bytes: int) -> None:
        """Run an update up to so many bytes, then cut the power, and give it back."""
        events = iter(self.prepare(image))
        for event in events:
            if isinstance(event, Progress) and event.done_bytes >= done_bytes:
                break
        self.board.power_cut()
        events.close()
        self.board.power_on()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "bridge.dfu.xdfu_modem_full.MODEM_TIMING",
        XdfuTiming(margin_s=1.0, flash_bytes_per_s=1_000_000, schedule_s=10.0),
    )
    monkeypatch.setattr("bridge.board.bootloader_mode._REFUSAL_S", 0.1)
    monkeypatch.setattr("bridge.board.boot._PROBE_EVERY_S", 0.5)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def rig(samples: SampleImages) -> Iterator[Rig]:
    with Rig(samples) as running:
        yield running


def notices(events: list[UpdateEvent]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice))


# --- done and refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("talkative", [False, True])
def test_a_full_image_is_written_and_the_modem_proves_its_version(
    samples: SampleImages, talkative: bool
) -> None:
    with Rig(samples, talkative=talkative) as rig:
        events, end, _ = rig.update(samples.modem_full("2.0.3"))
        assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "2.0.2", "2.0.3")
        stages = [event.stage for event in events if isinstance(event, StageStarted)]
        assert stages == [stage for stage in Stage if stage is not Stage.QUEUED]
        texts = [event for event in events if isinstance(event, (Notice, StageStarted))]
        told = next(
            i for i, event in enumerate(texts) if isinstance(event, Notice) and "no return" in event.text
        )
        assert told < texts.index(StageStarted(Stage.TRANSFER))
        # And once more, to something else.
        assert rig.update(samples.modem_full("2.0.4"))[1].running_version == "2.0.4"


def test_the_image_is_taken_out_of_a_release_zip(rig: Rig) -> None:
    _, end, _ = rig.update(rig.samples.modem_package("2.0.3"))
    assert (end.outcome, end.to_version, end.running_version) == (Outcome.SUCCEEDED, "2.0.3", "2.0.3")


def test_firmware_for_another_chip_is_refused_before_anything_changes(rig: Rig) -> None:
    for image in (
        rig.samples.modem_full("1.3.5", family="nrf9160"),
        rig.samples.modem_package("1.3.5", family="nrf9160"),
    ):
        events, end, _ = rig.update(image)
        assert (end.outcome, end.reason, end.running_version) == (Outcome.REJECTED, "wrong-board", "2.0.2")
        assert StageStarted(Stage.TRANSFER) not in events


def test_the_version_that_runs_is_refused_unless_it_is_allowed(rig: Rig) -> None:
    image = rig.samples.modem_full("2.0.2")
    assert rig.update(image)[1].reason == "same-version"
    allowed = Policy(allow_same_version=True)
    assert rig.update(image, policy=allowed)[1].outcome is Outcome.SUCCEEDED


def test_a_damaged_image_is_refused_before_the_point_of_no_return(rig: Rig) -> None:
    events, end, _ = rig.update(rig.samples.modem_full("2.0.3", corrupt=True))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "digest-mismatch")
    assert "no return" not in notices(events)
    assert rig.update(rig.samples.modem_full("2.0.3"))[1].from_version == "2.0.2"


def test_a_build_without_full_updates_says_so_and_keeps_its_modem(samples: SampleImages) -> None:
    with Rig(samples) as rig:
        rig.board._build.application = VirtualBoard()._build.application
        rig.board.reset()
        _, end, error = rig.update(samples.modem_full("2.0.3"))
        assert (end.outcome, end.reason) == (Outcome.FAILED, "not-supported")
        assert "CONFIG_SM_DFU_MODEM_FULL" in (error.hint if error and error.hint else "")
        assert rig.update(samples.application("2.0.0"))[1].outcome is Outcome.SUCCEEDED


# --- what goes wrong ---------------------------------------------------------------------------------------


def test_firmware_with_which_the_modem_does_not_start_is_no_success_and_the_next_run_repairs_it(
    rig: Rig,
) -> None:
    _, end, _ = rig.update(rig.samples.modem_full("2.0.3", dead=True))
    assert (end.outcome, end.reason, end.running_version) == (Outcome.FAILED, "modem-damaged", None)
    events, end, _ = rig.update(rig.samples.modem_full("2.0.4"))
    identified = next(event for event in events if isinstance(event, BoardIdentified))
    assert (identified.board, identified.modem_version) == (None, None)
    assert "does not tell its chip" in notices(events)
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, None, "2.0.4")


def test_a_board_that_waits_for_modem_firmware_takes_nothing_else(rig: Rig) -> None:
    rig.update(rig.samples.modem_full("2.0.3", dead=True))
    _, end, error = rig.update(rig.samples.application("2.0.0"))
    assert (end.outcome, end.reason) == (Outcome.FAILED, "modem-damaged")
    assert error is not None
    assert "full modem firmware" in (error.hint or "")


@pytest.mark.parametrize("position", [2_000, 12_000, 36_000])
def test_a_byte_that_is_lost_on_the_line_costs_a_new_start_and_nothing_else(
    samples: SampleImages, position: int
) -> None:
    with Rig(samples, faults=FaultPlan(rx={position: ByteFault.DROP})) as rig:
        events, end, _ = rig.update(samples.modem_full("2.0.3"))
        assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.3")
        assert {event.attempt for event in events if isinstance(event, Progress)} == {1, 2}


def test_a_modem_that_refuses_each_time_is_a_failure_that_says_what_is_left(samples: SampleImages) -> None:
    with Rig(samples, faults=FaultPlan(failing_writes=frozenset({1}))) as rig:  # of every start
        _, end, error = rig.update(samples.modem_full("2.0.3"))
        assert (end.outcome, end.reason) == (Outcome.FAILED, "write-failed")
        assert error is not None
        assert "no working firmware" in (error.hint or "")
        assert "again" in (error.hint or "")


# --- cut off, and finished by the next run -----------------------------------------------------------------


@pytest.mark.parametrize("done_bytes", [3_000, 8_000, 20_000, 36_000])
def test_a_power_cut_anywhere_is_repaired_by_the_next_run(rig: Rig, done_bytes: int) -> None:
    image = rig.samples.modem_full("2.0.3")
    rig.cut_off(image, done_bytes)
    _, end, _ = rig.update(image)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.3")


def test_a_host_that_dies_in_a_chunk_leaves_a_board_that_the_next_run_takes_up(rig: Rig) -> None:
    image = rig.samples.modem_full("2.0.3")
    with Board.open(URL) as board:
        board.enter_bootloader_mode()
        board.at.command("AT#XDFUWRITE=2,0,4000")
        board.at.write_raw(bytes(1_000), 5.0)  # and no more
    _, end, _ = rig.update(image)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.3")


def test_an_update_that_nobody_iterates_any_more_can_be_run_again(rig: Rig) -> None:
    image = rig.samples.modem_full("2.0.3")
    events = iter(rig.prepare(image))
    for event in events:
        if isinstance(event, Progress) and event.done_bytes > 20_000:
            break
    events.close()
    assert rig.update(image)[1].running_version == "2.0.3"


def test_an_update_that_ended_without_a_report_is_only_verified(rig: Rig) -> None:
    image = rig.samples.modem_full("2.0.3")
    rig.update(image)
    events, end, _ = rig.update(image, earlier=EarlierRun(Stage.REBOOT, "2.0.2"))
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "2.0.2", "2.0.3")
    assert StageStarted(Stage.TRANSFER) not in events


def test_a_job_that_is_gone_at_the_point_of_no_return_changes_nothing(rig: Rig) -> None:
    def gate(stage: Stage) -> None:
        raise UpdateCanceledError(f"cancelled at {stage}")

    _, end, _ = rig.update(rig.samples.modem_full("2.0.3"), gate)
    assert end.outcome is Outcome.CANCELED
    with Board.open(URL) as board:
        assert board.identify().modem_version == "mfw_nrf91x1_2.0.2"


@pytest.mark.parametrize("reason", [UpdateCanceledError("gone"), InterruptedUpdateError("stop")])
def test_behind_the_point_of_no_return_nothing_stops_the_update_any_more(
    rig: Rig, reason: UpdateCanceledError | InterruptedUpdateError
) -> None:
    asked: list[Stage] = []
    update = rig.prepare(rig.samples.modem_full("2.0.3"), asked.append)
    for event in update:
        if isinstance(event, Progress):
            update.stop(reason)
    assert isinstance(event, Finished)
    assert (event.outcome, event.running_version) == (Outcome.SUCCEEDED, "2.0.3")
    assert asked == [Stage.TRANSFER]
