"""The update line through MCUboot's serial recovery on the virtual board."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.board.smp_board import SmpBoard
from bridge.dfu import TransferImage
from bridge.dfu.smp import SmpTarget
from bridge.dfu.upload_notes import UploadNotes
from bridge.errors import BridgeError
from bridge.fota import Finished, Outcome, Policy, Update, UpdateEvent, UpdateOptions
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.fota.events import Notice, Progress
from bridge.image import FileSource, ImageKind
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.smp_options import SmpOptions

NAME = "recovery-route"
URL = f"virtual://{NAME}"
ENTRIES = frozenset((RecoveryEntry.BOOT_MODE, RecoveryEntry.NO_APPLICATION, RecoveryEntry.PIN_RESET))


class Rig:
    """A board with recovery, and updates of it."""

    def __init__(self, samples: SampleImages, notes_file: Path, firmware: str, **bootloader: Any) -> None:
        self.samples = samples
        self.notes_file = notes_file
        self.board = VirtualBoard(
            firmware=firmware,
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0").read_bytes(),
            smp=SmpOptions(boot_mode=True),
            bootloader=BootloaderOptions(ENTRIES, **{"params": True, **bootloader}),
        )

    def update(
        self, image: Path, *, recovery: bool = False, transport: Transport = Transport.SMP, **options: Any
    ) -> tuple[list[UpdateEvent], Finished, BridgeError | None]:
        route = RouteOptions(lambda: URL, transport, recovery=recovery, notes_file=self.notes_file)
        wanted = UpdateOptions(confirm_timeout_s=0.1, **options)
        update = Update(FileSource(image), route_opener(route), options=wanted)
        events = list(update)
        assert isinstance(events[-1], Finished)
        return events, events[-1], update.error

    @property
    def version(self) -> str:
        return running_version(self.board.flash, self.board.layout)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.board.answering._AT_S", 0.3)
    monkeypatch.setattr("bridge.board.answering._SMP_S", 0.3)
    monkeypatch.setattr("bridge.board.smp_board._PROBE_S", 0.3)
    monkeypatch.setattr("bridge.fota.smp_route._FIRST_PAUSE_S", 0.3)


@pytest.fixture
def make_rig(samples: SampleImages, tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(firmware: str = "smp", **bootloader: Any) -> Rig:
        rig = Rig(samples, tmp_path / "uploads.json", firmware, **bootloader)
        rigs.append(rig)
        registry.register(NAME, rig.board)
        rig.board.start()
        rig.board.wait_for_event("ready")
        return rig

    yield make
    for rig in rigs:
        rig.board.stop()
        registry.unregister(NAME)


def into_recovery(rig: Rig) -> None:
    """Press the reset button, which this build of MCUboot takes for a wish to recover."""
    rig.board.reset()
    rig.board.wait_for_event("recovery")


def test_given_an_application_that_can_restart_into_recovery_then_its_slot_is_overwritten_and_proven(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    events, end, _ = rig.update(rig.samples.application("2.0.0"), recovery=True)
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "1.0.0", "2.0.0")
    assert any(isinstance(event, Notice) and "point of no return" in event.text for event in events)
    assert (rig.version, swap_type(rig.board.flash, rig.board.layout)) == ("2.0.0", SwapType.NONE)


@pytest.mark.parametrize("strict_marks", [False, True])
def test_given_direct_upload_and_image_states_then_the_old_image_is_kept_until_the_new_one_is_confirmed(
    make_rig: Callable[..., Rig],
    strict_marks: bool,
) -> None:
    rig = make_rig(direct_upload=True, image_state=True, slot_info=True, strict_marks=strict_marks)
    into_recovery(rig)
    events, end, _ = rig.update(rig.samples.application("2.0.0"), transport=Transport.AUTO)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.0")
    assert not any(isinstance(event, Notice) and "point of no return" in event.text for event in events)
    assert swap_type(rig.board.flash, rig.board.layout) is SwapType.NONE


def test_given_slots_told_but_no_direct_upload_then_the_image_goes_where_it_can(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(
        image_state=True, slot_info=True
    )  # MCUboot tells a number of the slot that it does not mean
    into_recovery(rig)
    events, end, _ = rig.update(rig.samples.application("2.0.0"))
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.0")
    assert any(isinstance(event, Notice) and "point of no return" in event.text for event in events)


def test_given_an_application_that_speaks_at_then_its_version_is_the_proof(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig("serial-modem")
    into_recovery(rig)
    _, end, _ = rig.update(rig.samples.application("2.0.0"), transport=Transport.AUTO)
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "1.0.0", "2.0.0")


def test_given_an_image_that_mcuboot_does_not_trust_then_it_is_noticed_and_the_board_can_be_saved(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    _, end, _ = rig.update(rig.samples.bad_signature("2.0.0"), recovery=True)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "rejected-by-bootloader")
    rig.board.reset()
    rig.board.wait_for_event("recovery", count=2)
    _, end, _ = rig.update(rig.samples.application("3.0.0"))
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "3.0.0")


def test_given_a_power_cut_in_mid_upload_then_the_board_comes_up_in_recovery_and_is_finished(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    image = rig.samples.application("2.0.0")
    into_recovery(rig)
    update = Update(FileSource(image), route_opener(RouteOptions(lambda: URL, Transport.SMP)))
    with closing(iter(update)) as events:
        for event in events:
            if isinstance(event, Progress) and event.done_bytes > event.total_bytes // 2:
                rig.board.power_cut()
                break
    rig.board.power_on()
    rig.board.wait_for_event("recovery", count=2)
    _, end, _ = rig.update(image)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.0")


def test_given_a_process_that_ended_in_mid_upload_then_the_next_one_sends_only_the_rest(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    data = rig.samples.application("2.0.0").read_bytes()
    image = TransferImage(ImageKind.APPLICATION, len(data), hashlib.sha256(data).hexdigest())
    into_recovery(rig)
    with SmpBoard.open(URL) as board:
        target = SmpTarget(board, notes=UploadNotes(rig.notes_file))
        target.begin(image)
        for offset in range(0, len(data) // 2, 4096):
            target.write(data[offset : offset + 4096])
    with SmpBoard.open(URL) as board:
        target = SmpTarget(board, notes=UploadNotes(rig.notes_file))
        start = target.begin(image)
        target.write(data[start:])
        target.finish()
        assert target.sent_bytes <= 0.55 * len(data)
    assert rig.board.call(lambda: rig.board.flash.read(rig.board.layout.primary.address, len(data))) == data


def test_given_another_image_after_half_an_upload_then_it_is_not_continued(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    first, second = (rig.samples.application(version).read_bytes() for version in ("2.0.0", "3.0.0"))
    into_recovery(rig)
    with SmpBoard.open(URL) as board:
        target = SmpTarget(board, notes=UploadNotes(rig.notes_file))
        target.begin(TransferImage(ImageKind.APPLICATION, len(first), hashlib.sha256(first).hexdigest()))
        target.write(first[: len(first) // 2])
    with SmpBoard.open(URL) as board:
        target = SmpTarget(board, notes=UploadNotes(rig.notes_file))
        assert (
            target.begin(
                TransferImage(ImageKind.APPLICATION, len(second), hashlib.sha256(second).hexdigest())
            )
            == 0
        )


def test_given_a_reset_after_the_upload_then_the_same_version_is_refused_only_when_it_is_whole(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig()
    into_recovery(rig)
    _, end, error = rig.update(rig.samples.application("1.0.0"))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "same-version")
    assert error is not None
    assert "smp reset" in (error.hint or "")
    _, end, _ = rig.update(rig.samples.application("1.0.0"), policy=Policy(allow_same_version=True))
    assert end.outcome is Outcome.SUCCEEDED
