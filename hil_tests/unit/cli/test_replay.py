"""``--record`` and ``replay``: a recorded board answers as it did."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.board import Link
from bridge.cli.app import run
from bridge.cli.replay import without_places
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.wire.answer_timer import AnswerTimer, WindowLimits

NAME = "recorded"
PORT = f"virtual://{NAME}"

Command = Callable[..., int]


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "images")


@pytest.fixture(params=["serial-modem", "smp"])
def board(request: pytest.FixtureRequest, samples: SampleImages) -> Iterator[VirtualBoard]:
    factory_image = samples.application("1.0.0").read_bytes()
    virtual = VirtualBoard(firmware=request.param, keys=[samples.public_key_pem], factory_image=factory_image)
    registry.register(NAME, virtual)
    with virtual:
        yield virtual
    registry.unregister(NAME)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def command_line(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *arguments])
        return run()

    return command_line


@pytest.fixture
def patient_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an upload over SMP sends depends on how soon answers come, and that on what else this computer does."""

    def start_patiently(timer: AnswerTimer, limits: WindowLimits) -> None:
        start(timer, limits)
        timer.timeout_s = timer.question_s = 60.0

    start = AnswerTimer.__init__
    monkeypatch.setattr(AnswerTimer, "__init__", start_patiently)
    monkeypatch.setattr(AnswerTimer, "measure", lambda _timer, _duration_s: False)


@pytest.mark.usefixtures("patient_uploads")
def test_a_recorded_update_succeeds_again_without_the_board(
    board: VirtualBoard,
    samples: SampleImages,
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    transcript = str(tmp_path / "t.jsonl")
    image = samples.application("1.1.0")
    assert command("--record", transcript, "flash", str(image), "--port", PORT) == 0
    registry.unregister(NAME)
    assert command("replay", transcript) == 0
    said = capsys.readouterr().err
    assert "all was said as recorded" in said
    assert "ended with 0, recorded 0: the same" in said


@pytest.mark.parametrize("board", ["serial-modem"], indirect=True)
def test_another_command_is_said_to_differ_where_it_does(
    board: VirtualBoard, command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transcript = str(tmp_path / "t.jsonl")
    assert command("--record", transcript, "at", "AT+CGMR", "--port", PORT) == 0
    assert command("replay", transcript, "at", "AT+CGMM") == 0
    assert "the host says something else from byte" in capsys.readouterr().err


def test_a_link_that_was_lost_in_the_field_is_lost_again_at_the_same_place(
    samples: SampleImages,
    command: Command,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transcript = str(tmp_path / "t.jsonl")
    write = Link.write

    def unplug(link: Link, data: bytes, timeout_s: float) -> None:
        if b"#XDFUWRITE" in data:
            registry.re_enumerate(NAME, None)
        write(link, data, timeout_s)

    factory_image = samples.application("1.0.0").read_bytes()
    with VirtualBoard(keys=[samples.public_key_pem], factory_image=factory_image) as virtual:
        registry.register(NAME, virtual)
        monkeypatch.setattr(Link, "write", unplug)
        image = str(samples.application("1.1.0"))
        recorded = command("--record", transcript, "flash", image, "--port", PORT)
        monkeypatch.setattr(Link, "write", write)
    assert recorded in {3, 4}
    first = capsys.readouterr().err
    assert command("replay", transcript) == recorded
    second = capsys.readouterr().err
    assert f"ended with {recorded}, recorded {recorded}: the same" in second
    reason = next(line for line in first.splitlines() if line.startswith("error:")).split("[")[-1]
    assert reason in second


def test_a_transcript_without_a_command_asks_for_one(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"format": "nrf91-bridge-transcript", "schema": 1, "command": []}\n')
    assert command("replay", str(file)) == 2
    assert command("replay", str(tmp_path / "none")) == 2


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--record", "t", "-vv", "info", "--port", "x", "--json"], ["info", "--json"]),
        (["flash", "f.bin", "-s=1", "--journal=j", "-p", "x"], ["flash", "f.bin"]),
        (["smp", "state", "--port=x"], ["smp", "state"]),
    ],
)
def test_places_of_the_recording_are_left_out(arguments: list[str], left: list[str]) -> None:
    assert list(without_places(arguments)) == left
