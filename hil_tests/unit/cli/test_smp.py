"""The ``smp`` commands on a virtual board with an SMP server."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli.app import app
from bridge.errors import BridgeError
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard

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
