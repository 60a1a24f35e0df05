"""The update line over SMP: an application with Zephyr's SMP server on the virtual board."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.board.smp_board import SmpBoard
from bridge.dfu import TransferImage
from bridge.dfu.smp import SmpTarget
from bridge.errors import BridgeError, InterruptedUpdateError
from bridge.fota import Finished, Outcome, Policy, Update, UpdateCanceledError, UpdateEvent, UpdateOptions
from bridge.fota.choose_route import RouteOptions, Transport, route_opener
from bridge.fota.earlier_run import EarlierRun
from bridge.fota.events import BoardIdentified, Notice, Progress, Stage
from bridge.fota.image_store import KnownImageStore
from bridge.image import FileSource, ImageKind, inspect_file
from bridge.image.app_delta_create import create_app_delta
from bridge.image.application_file import read_application
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.smp_options import SmpOptions

NAME = "smp-route"


class Rig:
    """A board with an SMP server, and updates of it."""

    def __init__(self, samples: SampleImages, options: SmpOptions) -> None:
        self.samples = samples
        self.board = VirtualBoard(
            firmware="smp",
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0", like="1.0.0").read_bytes(),
            smp=options,
        )

    def update(
        self,
        image: Path,
        *,
        transport: Transport = Transport.SMP,
        confirms: bool = True,
        gate: Callable[[Stage], None] = lambda _: None,
        **options: object,
    ) -> tuple[list[UpdateEvent], Finished, BridgeError | None]:
        route = RouteOptions(lambda: f"virtual://{NAME}", transport, confirms=confirms)
        wanted = UpdateOptions(confirm_timeout_s=0.1, **options)  # type: ignore[arg-type]
        update = Update(FileSource(image), route_opener(route), options=wanted, commit_gate=gate)
        events = list(update)
        assert isinstance(events[-1], Finished)
        return events, events[-1], update.error

    @property
    def version(self) -> str:
        return running_version(self.board.flash, self.board.layout)

    @property
    def next_swap(self) -> SwapType:
        return swap_type(self.board.flash, self.board.layout)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> SampleImages:
    return SampleImages(tmp_path_factory.mktemp("samples"))


@pytest.fixture
def rig(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[Rig]:
    rig = Rig(samples, getattr(request, "param", SmpOptions()))
    registry.register(NAME, rig.board)
    with rig.board:
        rig.board.wait_for_event("ready")
        yield rig
    registry.unregister(NAME)


@pytest.mark.parametrize("transport", [Transport.AUTO, Transport.SMP])
def test_given_an_smp_server_then_the_image_is_tested_proven_by_digest_and_confirmed(
    rig: Rig, transport: Transport
) -> None:
    events, end, _ = rig.update(rig.samples.application("2.0.0"), transport=transport)
    assert (end.outcome, end.from_version, end.running_version) == (Outcome.SUCCEEDED, "1.0.0", "2.0.0")
    assert (rig.version, rig.next_swap) == ("2.0.0", SwapType.NONE)
    identified = next(event for event in events if isinstance(event, BoardIdentified))
    assert identified.route == "smp"
    assert ("SMP server answers" in (identified.why or "")) == (transport is Transport.AUTO)


def test_given_an_image_that_must_confirm_itself_and_does_not_then_it_is_seen_to_revert(rig: Rig) -> None:
    _, end, _ = rig.update(rig.samples.application("2.0.0"), confirms=False)
    assert (end.outcome, end.reason, end.running_version) == (Outcome.FAILED, "reverted", "1.0.0")
    assert rig.version == "1.0.0"


def test_given_an_image_that_the_bootloader_refuses_then_the_old_one_is_seen_to_run(rig: Rig) -> None:
    _, end, _ = rig.update(rig.samples.bad_signature("2.0.0"))
    assert (end.outcome, end.reason) == (Outcome.FAILED, "rejected-by-bootloader")
    assert rig.version == "1.0.0"


def test_given_another_build_of_the_same_version_then_the_digest_tells_them_apart(rig: Rig) -> None:
    other = rig.samples.application("1.0.0", size_bytes=48 * 1024)
    _, refused, _ = rig.update(other)
    assert (refused.outcome, refused.reason) == (Outcome.REJECTED, "same-version")
    _, end, _ = rig.update(other, policy=Policy(allow_same_version=True))
    assert end.outcome is Outcome.SUCCEEDED


def test_given_a_cancelled_job_before_scheduling_then_the_slot_is_empty_again(rig: Rig) -> None:
    def gate(stage: Stage) -> None:
        raise UpdateCanceledError(f"cancelled at {stage}")

    _, end, _ = rig.update(rig.samples.application("2.0.0"), gate=gate)
    assert end.outcome is Outcome.CANCELED
    slot = rig.board.layout.secondary
    assert rig.board.call(lambda: rig.board.flash.is_erased(slot.address, slot.size))


def test_given_a_run_that_ended_after_scheduling_then_the_next_one_only_reboots_and_proves(rig: Rig) -> None:
    def killed(stage: Stage) -> None:
        if stage is Stage.REBOOT:
            raise InterruptedUpdateError("the process is gone")

    image = rig.samples.application("2.0.0")
    rig.update(image, gate=killed)
    assert rig.next_swap is SwapType.TEST
    events, end, _ = rig.update(image, earlier=EarlierRun(Stage.REBOOT, "1.0.0"))
    assert any(isinstance(event, Notice) and "waits for the reboot" in event.text for event in events)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.0")


def test_given_a_job_cancelled_after_scheduling_then_what_the_board_does_not_give_up_is_brought_to_its_end(
    rig: Rig,
) -> None:
    """It would else be installed by the next reset, whenever that comes, with nobody to see it or to confirm it."""

    def gate(stage: Stage) -> None:
        if stage is Stage.REBOOT:
            raise UpdateCanceledError("cancelled")

    _, end, _ = rig.update(rig.samples.application("2.0.0"), gate=gate)
    assert (end.outcome, end.running_version) == (Outcome.SUCCEEDED, "2.0.0")
    assert rig.next_swap is SwapType.NONE


def test_given_a_run_that_ended_after_the_reboot_then_the_digest_tells_even_the_same_version_apart(
    rig: Rig,
) -> None:
    again = rig.samples.application("1.0.0", size_bytes=48 * 1024)
    digest = inspect_file(again).mcuboot
    assert digest is not None
    anew = Policy(allow_same_version=True)
    earlier = EarlierRun(Stage.REBOOT, "1.0.0", digest.digest)
    events, end, _ = rig.update(again, policy=anew, earlier=earlier)
    assert end.outcome is Outcome.SUCCEEDED
    assert any(isinstance(event, Progress) for event in events)
    events, end, _ = rig.update(again, policy=anew, earlier=earlier)
    assert end.outcome is Outcome.SUCCEEDED
    assert not any(isinstance(event, Progress) for event in events)


def test_given_a_slot_that_is_taken_then_that_is_said_before_anything_is_written(rig: Rig) -> None:
    def killed(stage: Stage) -> None:
        if stage is Stage.REBOOT:
            raise InterruptedUpdateError("the process is gone")

    rig.update(rig.samples.application("2.0.0"), gate=killed)
    _, end, error = rig.update(rig.samples.application("3.0.0"))
    assert (end.outcome, end.reason) == (Outcome.FAILED, "slot-in-use")
    assert error is not None
    assert "confirm" in (error.hint or "")


def test_given_an_image_larger_than_the_slot_then_it_is_rejected(rig: Rig) -> None:
    _, end, _ = rig.update(rig.samples.oversize())
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "too-large")


def test_given_a_modem_delta_then_the_route_is_named_as_the_wrong_one(rig: Rig) -> None:
    _, end, error = rig.update(rig.samples.modem_delta())
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-route")
    assert error is not None
    assert "smp" in error.message


def test_given_an_application_delta_then_the_signed_image_is_rebuilt_sent_and_kept_for_the_next_one(
    rig: Rig, tmp_path: Path
) -> None:
    store = KnownImageStore(tmp_path / "store")
    first, second, third = (rig.samples.application(f"{major}.0.0", like="1.0.0") for major in (1, 2, 3))
    deltas = []
    for old, new in ((first, second), (second, third)):
        file = tmp_path / f"{new.stem}.delta"
        file.write_bytes(create_app_delta(read_application(old), read_application(new)))
        deltas.append(file)
    store.add(first)
    for delta, version in zip(deltas, ("2.0.0", "3.0.0"), strict=True):
        events, end, _ = rig.update(delta, image_store=store)
        assert (end.outcome, end.to_version, end.running_version) == (Outcome.SUCCEEDED, version, version)
        sent = max(event.total_bytes for event in events if isinstance(event, Progress))
        assert sent > 50 * delta.stat().st_size
    _, end, error = rig.update(deltas[0], image_store=store)
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "wrong-base")
    assert error is not None
    assert inspect_file(first).mcuboot.digest in error.message  # type: ignore[union-attr]


def test_given_a_delta_whose_base_is_not_known_here_then_it_is_named(rig: Rig, tmp_path: Path) -> None:
    first, second = (rig.samples.application(f"{major}.0.0", like="1.0.0") for major in (1, 2))
    delta = tmp_path / "app.delta"
    delta.write_bytes(create_app_delta(read_application(first), read_application(second)))
    _, end, error = rig.update(delta, image_store=KnownImageStore(tmp_path / "store"))
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "missing-base")
    assert error is not None
    assert "image store add" in (error.hint or "")


@pytest.mark.parametrize("rig", [SmpOptions(reset_busy=True)], indirect=True)
def test_given_an_application_that_refuses_to_restart_then_the_image_is_said_to_wait(rig: Rig) -> None:
    _, end, error = rig.update(rig.samples.application("1.1.0"))
    assert (end.outcome, end.reason, end.running_version) == (Outcome.FAILED, "not-restarted", "1.0.0")
    assert error is not None
    assert "smp confirm" in (error.hint or "")
    assert rig.next_swap is SwapType.TEST


def test_given_an_image_that_runs_on_trial_then_who_sends_it_again_is_told_how_to_keep_it(rig: Rig) -> None:
    image = rig.samples.application("1.1.0")
    with SmpBoard.open(f"virtual://{NAME}") as board:
        data = image.read_bytes()
        target = SmpTarget(board)
        target.begin(TransferImage(ImageKind.APPLICATION, len(data)))
        target.write(data)
        target.finish()
        target.schedule(inspect_file(image).mcuboot.digest)  # type: ignore[union-attr]
        board.reset()
        assert board.identify().on_trial
    _, end, error = rig.update(image)
    assert (end.outcome, end.reason) == (Outcome.REJECTED, "same-version")
    assert error is not None
    assert "smp confirm" in (error.hint or "")
    with SmpBoard.open(f"virtual://{NAME}") as board:
        board.client.confirm()
        assert not board.identify().on_trial


def test_given_an_image_number_that_the_board_does_not_have_then_nothing_is_written(rig: Rig) -> None:
    _, end, _ = rig.update(rig.samples.application("1.1.0"), image_index=1)
    assert (end.outcome, end.reason) == (Outcome.FAILED, "wrong-image-index")
    assert rig.board.call(
        lambda: rig.board.flash.is_erased(rig.board.layout.secondary.address, rig.board.layout.secondary.size)
    )
