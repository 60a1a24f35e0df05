"""Updates of MCUboot itself through the whole line, on the virtual board with its immutable bootloader."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.errors import BridgeError
from bridge.fota import (
    Finished,
    Outcome,
    Stage,
    StageStarted,
    Update,
    UpdateCanceledError,
    UpdateEvent,
    UpdateOptions,
    over_at,
)
from bridge.fota.earlier_run import EarlierRun
from bridge.fota.policy import Expectations, Policy
from bridge.image import FileSource
from bridge.lab.sample_bootloader_package import bootloader_package
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import other_key_pem
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import ByteFault, FaultPlan

NAME = "bootloader-update"
URL = f"virtual://{NAME}"


class Rig:
    """A board, and updates of its MCUboot."""

    def __init__(self, samples: SampleImages, folder: Path, faults: FaultPlan | None = None) -> None:
        self.samples = samples
        self.folder = folder
        self.board = VirtualBoard(
            factory_image=samples.application("1.0.0").read_bytes(),
            keys=[samples.public_key_pem],
            faults=faults,
        )

    def __enter__(self) -> "Rig":
        registry.register(NAME, self.board)
        self.board.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.board.stop()
        registry.unregister(NAME)

    def package(self, version: int, *, lists_slots: bool = True, b0_key: bytes | None = None) -> Path:
        return bootloader_package(self.samples, self.folder, version, lists_slots=lists_slots, b0_key=b0_key)

    def update(
        self, image: Path, gate: Callable[[Stage], None] = lambda _: None, **options: object
    ) -> tuple[list[UpdateEvent], Finished, BridgeError | None]:
        wanted = UpdateOptions(confirm_timeout_s=0.1, **options)  # type: ignore[arg-type]
        update = Update(FileSource(image), over_at(lambda: Board.open(URL)), options=wanted, commit_gate=gate)
        events = list(update)
        assert isinstance(events[-1], Finished)
        return events, events[-1], update.error

    def bootloader(self) -> tuple[int | None, int | None, str | None]:
        with Board.open(URL) as board:
            identity = board.identify()
        return identity.bootloader_version, identity.bootloader_slot, identity.application_version


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def rig(samples: SampleImages, tmp_path: Path) -> Iterator[Rig]:
    with Rig(samples, tmp_path) as running:
        yield running


@pytest.mark.parametrize("lists_slots", [True, False])
def test_the_image_for_the_inactive_slot_is_taken_and_proven_each_time(rig: Rig, lists_slots: bool) -> None:
    for version, slot in ((2, 1), (3, 0), (7, 1)):
        package = rig.package(version, lists_slots=lists_slots)
        events, end, _ = rig.update(package)
        assert end.outcome is Outcome.SUCCEEDED
        assert (end.to_version, end.running_version) == (str(version), str(version))
        assert StageStarted(Stage.CONFIRM) in events
        assert rig.bootloader() == (version, slot, "v1.0.0")


@pytest.mark.parametrize("version", [0, 1])
def test_a_counter_that_does_not_rise_is_refused_before_anything_is_written(rig: Rig, version: int) -> None:
    events, end, _ = rig.update(rig.package(version))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "counter-not-higher")
    assert StageStarted(Stage.TRANSFER) not in events
    assert rig.bootloader() == (1, 0, "v1.0.0")


def test_the_image_for_the_active_slot_is_refused_even_if_it_is_asked_for(rig: Rig) -> None:
    events, end, _ = rig.update(rig.package(2), member="signed_by_mcuboot_and_b0_mcuboot.bin")
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-slot")
    assert StageStarted(Stage.TRANSFER) not in events
    _, end, _ = rig.update(rig.package(2), member="signed_by_mcuboot_and_b0_s1_image.bin")
    assert end.outcome is Outcome.SUCCEEDED


def test_an_image_that_the_immutable_bootloader_does_not_trust_is_seen_not_to_run(rig: Rig) -> None:
    _, end, _ = rig.update(rig.package(2, b0_key=other_key_pem()))
    assert (end.outcome, end.reason) == (Outcome.FAILED, "rejected-by-bootloader")
    assert rig.bootloader() == (1, 0, "v1.0.0")


def test_a_required_key_is_held_against_mcuboot_s_signature(rig: Rig, samples: SampleImages) -> None:
    trusted = Policy(public_keys_pem=(samples.public_key_pem,))
    assert rig.update(rig.package(2), policy=trusted)[1].outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(("ordered", "reason"), [("2", None), ("0.0.2", None), ("5", "version-mismatch")])
def test_the_ordered_version_is_the_counter_or_mcuboot_s_version(
    rig: Rig, ordered: str, reason: str | None
) -> None:
    policy, order = Policy(strict_version=True), Expectations("app_fw_update", ordered)
    assert rig.update(rig.package(2), policy=policy, expected=order)[1].reason == reason


def test_bytes_lost_on_the_way_start_the_transfer_again(samples: SampleImages, tmp_path: Path) -> None:
    with Rig(samples, tmp_path, FaultPlan(rx={3_000: ByteFault.DROP})) as rig:
        _, end, _ = rig.update(rig.package(2))
        assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2")


@pytest.mark.parametrize("stage", [Stage.SCHEDULE, Stage.REBOOT])
def test_a_job_that_is_gone_at_the_gate_is_never_installed(rig: Rig, stage: Stage) -> None:
    def gate(at: Stage) -> None:
        if at is stage:
            raise UpdateCanceledError("cancelled meanwhile")

    assert rig.update(rig.package(2), gate)[1].outcome is Outcome.CANCELED
    rig.board.reset()
    assert rig.bootloader() == (1, 0, "v1.0.0")


def test_a_run_that_ended_after_the_reboot_is_only_verified(rig: Rig) -> None:
    package = rig.package(2)
    rig.update(package)
    events, end, _ = rig.update(package, earlier=EarlierRun(Stage.REBOOT, "1"))
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "1", "2")
    assert StageStarted(Stage.TRANSFER) not in events


def test_an_application_update_works_as_before_beside_it(rig: Rig) -> None:
    rig.update(rig.package(2))
    assert rig.update(rig.samples.application("2.0.0"))[1].outcome is Outcome.SUCCEEDED
    assert rig.bootloader() == (2, 1, "v2.0.0")
