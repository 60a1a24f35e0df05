"""The command line finds a route into the board, says which and why, and keeps what deltas need."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli.app import app
from bridge.errors import BridgeError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry
from bridge.virtual.mcuboot import running_version
from bridge.virtual.smp_options import SmpOptions

NAME = "cli-routes"
PORT = ("--port", f"virtual://{NAME}")


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "images")


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def start(samples: SampleImages) -> Iterator[Callable[[str], VirtualBoard]]:
    boards: list[VirtualBoard] = []

    def make(firmware: str) -> VirtualBoard:
        board = VirtualBoard(
            firmware=firmware,
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0", like="1.0.0").read_bytes(),
            smp=SmpOptions(boot_mode=True),
            bootloader=BootloaderOptions(frozenset((RecoveryEntry.BOOT_MODE,))),
        )
        registry.register(NAME, board)
        boards.append(board)
        board.start()
        board.wait_for_event("ready")
        return board

    yield make
    for board in boards:
        board.stop()
        registry.unregister(NAME)


def run(*arguments: str, fails: type[BridgeError] | None = None) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    if fails is None:
        assert result.exception is None, result.output
    else:
        assert isinstance(result.exception, fails), result.output
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def event(events: list[dict[str, object]], name: str) -> dict[str, object]:
    return next(each for each in events if each["event"] == name)


@pytest.mark.parametrize(
    ("firmware", "route", "why"), [("smp", "smp", "SMP server"), ("serial-modem", "xdfu", "AT")]
)
def test_given_no_transport_then_the_board_is_asked_and_the_choice_explained(
    samples: SampleImages, start: Callable[[str], VirtualBoard], firmware: str, route: str, why: str
) -> None:
    board = start(firmware)
    events = run("flash", str(samples.application("2.0.0")), *PORT)
    identified = event(events, "board-identified")
    assert identified["route"] == route
    assert why in str(identified["why"])
    assert running_version(board.flash, board.layout) == "2.0.0"


def test_given_a_board_with_smp_then_info_tells_what_runs(
    samples: SampleImages, start: Callable[[str], VirtualBoard]
) -> None:
    start("smp")
    (identity,) = run("info", *PORT)
    assert (identity["firmware"], identity["application_version"]) == ("smp-server", "1.0.0")


def test_given_recovery_is_asked_for_then_the_application_restarts_into_it(
    samples: SampleImages, start: Callable[[str], VirtualBoard]
) -> None:
    board = start("smp")
    events = run("flash", str(samples.application("2.0.0")), *PORT, "--transport", "smp", "--recovery")
    assert any("point of no return" in str(each.get("text")) for each in events)
    assert running_version(board.flash, board.layout) == "2.0.0"


def test_given_a_delta_made_and_its_base_stored_then_it_is_flashed(
    samples: SampleImages, start: Callable[[str], VirtualBoard], tmp_path: Path
) -> None:
    board = start("serial-modem")
    old, new = (str(samples.application(version, like="1.0.0")) for version in ("1.0.0", "2.0.0"))
    patch = str(tmp_path / "app.delta")
    run("image", "delta", old, new, "-o", patch)
    run("image", "store", "add", old)
    assert event(run("flash", patch, *PORT), "finished")["running_version"] == "2.0.0"
    assert running_version(board.flash, board.layout) == "2.0.0"
    stored = run("image", "store", "list")
    assert "2.0.0" in json.dumps(stored), "what runs now is the base of the next delta"


def test_given_no_confirmation_is_wanted_then_an_image_that_does_not_confirm_itself_reverts(
    samples: SampleImages, start: Callable[[str], VirtualBoard]
) -> None:
    board = start("smp")
    events = run("flash", str(samples.application("2.0.0")), *PORT, "--no-confirm", fails=BridgeError)
    assert event(events, "finished")["reason"] == "reverted"
    assert running_version(board.flash, board.layout) == "1.0.0"
