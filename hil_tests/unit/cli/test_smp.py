"""The ``smp`` commands on a virtual board with an SMP server."""

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
from bridge.virtual.mcuboot import running_version

NAME = "smp-cli"


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "images")


@pytest.fixture
def board(samples: SampleImages) -> Iterator[VirtualBoard]:
    virtual = VirtualBoard(
        firmware="smp",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
    )
    registry.register(NAME, virtual)
    with virtual:
        virtual.wait_for_event("ready")
        yield virtual
    registry.unregister(NAME)


def smp(*arguments: str, fails: bool = False) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["smp", *arguments, "--port", f"virtual://{NAME}"])
    if fails:
        assert isinstance(result.exception, BridgeError), result.output
        raise result.exception
    assert result.exception is None, result.output
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def test_given_upload_test_reset_and_confirm_then_the_new_image_is_there_to_stay(
    board: VirtualBoard, samples: SampleImages
) -> None:
    running, new = smp("upload", str(samples.application("1.1.0")), "--test", "--json")
    assert (running["version"], new["version"], new["pending"]) == ("1.0.0", "1.1.0", True)
    smp("reset")
    board.wait_for_event("ready", count=2)
    assert smp("state", "--json")[0]["confirmed"] is False
    assert smp("confirm", "--json")[0] == {**smp("state", "--json")[0], "version": "1.1.0", "confirmed": True}


def test_given_an_uploaded_image_then_it_can_be_tested_by_digest_or_erased(
    board: VirtualBoard, samples: SampleImages
) -> None:
    new = smp("upload", str(samples.application("1.1.0")), "--json")[1]
    assert len(smp("erase", "--json")) == 1
    smp("upload", str(samples.application("1.1.0")))
    assert smp("test", str(new["digest"]), "--json")[1]["pending"] is True


@pytest.mark.parametrize(("digest", "reason"), [("nonsense", "bad-digest"), ("00" * 32, "unknown-digest")])
def test_given_a_digest_that_means_nothing_then_that_is_said(
    board: VirtualBoard, digest: str, reason: str
) -> None:
    with pytest.raises(BridgeError) as caught:
        smp("test", digest, fails=True)
    assert caught.value.reason == reason


def test_given_a_modem_delta_then_it_is_refused_before_the_board_is_asked(samples: SampleImages) -> None:
    with pytest.raises(BridgeError) as caught:
        smp("upload", str(samples.modem_delta()), fails=True)
    assert caught.value.reason == "wrong-kind"


@pytest.fixture
def make_recovery(
    samples: SampleImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], VirtualBoard]]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    boards: list[VirtualBoard] = []

    def make(model: str) -> VirtualBoard:
        virtual = VirtualBoard(
            model,
            firmware="mcuboot",
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0").read_bytes(),
        )
        boards.append(virtual)
        registry.register(NAME, virtual)
        virtual.start()
        virtual.wait_for_event("recovery")
        return virtual

    yield make
    for virtual in boards:
        virtual.stop()
        registry.unregister(NAME)


def test_given_recovery_that_writes_in_place_then_that_is_said_and_no_trial_promised(
    make_recovery: Callable[[str], VirtualBoard], samples: SampleImages
) -> None:
    board = make_recovery("nrf9151dk")
    image = samples.application("1.1.0")
    with pytest.raises(BridgeError) as caught:
        smp("upload", str(image), "--test", fails=True)
    assert caught.value.reason == "no-trial"
    assert running_version(board.flash, board.layout) == "1.0.0"
    result = CliRunner().invoke(app, ["smp", "upload", str(image), "--port", f"virtual://{NAME}"])
    assert "writes over the image that runs" in result.output
    assert running_version(board.flash, board.layout) == "1.1.0"


def test_given_an_image_that_mcuboot_does_not_know_then_the_upload_to_recovery_fails(
    make_recovery: Callable[[str], VirtualBoard], samples: SampleImages
) -> None:
    make_recovery("nrf9151dk")
    with pytest.raises(BridgeError) as caught:
        smp("upload", str(samples.wrong_key()), fails=True)
    assert caught.value.reason == "rejected-by-bootloader"


def test_given_recovery_that_reaches_the_secondary_slot_then_the_image_is_tried_from_there(
    make_recovery: Callable[[str], VirtualBoard], samples: SampleImages
) -> None:
    board = make_recovery("thingy91x")
    states = smp("upload", str(samples.application("1.1.0")), "--upload-image", "2", "--test", "--json")
    assert [(each["slot"], each["version"], each["pending"]) for each in states] == [
        (0, "1.0.0", False),
        (1, "1.1.0", True),
    ]
    assert running_version(board.flash, board.layout) == "1.0.0"


def test_given_a_port_on_which_nobody_speaks_smp_then_that_is_said(samples: SampleImages) -> None:
    virtual = VirtualBoard(firmware="at_client", factory_image=samples.application("1.0.0").read_bytes())
    registry.register(NAME, virtual)
    with virtual, pytest.raises(BridgeError) as caught:
        smp("state", fails=True)
    registry.unregister(NAME)
    assert (caught.value.reason, caught.value.exit_code) == ("board-silent", 3)
