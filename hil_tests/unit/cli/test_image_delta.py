"""``image delta`` and ``image store`` from the command line: what people read, machines parse, and exit codes."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.cli import output
from bridge.cli.app import run
from bridge.image import inspect_file
from bridge.lab.sample_images import SampleImages

Command = Callable[..., int]


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "samples")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs the command line with a store of its own, and returns the exit code."""
    monkeypatch.setenv("NRF91_BRIDGE_IMAGE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr(output.out, "width", 200)

    def invoke(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["nrf91-bridge", *map(str, words)])
        output.use_json(False)
        return run()

    return invoke


def digest_of(image: Path) -> str:
    info = inspect_file(image).mcuboot
    assert info is not None
    return info.digest


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_given_two_builds_then_a_delta_is_made_and_inspected(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = samples.dfu_package("1.0.0"), samples.application("1.1.0", like="1.0.0")
    delta = tmp_path / "app.delta"
    assert command("image", "delta", old, new, "-o", delta) == 0
    text = capsys.readouterr().out
    base = digest_of(samples.application("1.0.0"))
    for part in ("1.0.0 -> 1.1.0", base, f"image store add {old}"):
        assert part in text
    assert command("image", "inspect", delta) == 0
    text = capsys.readouterr().out
    for part in (
        "application delta",
        "1.0.0 -> 1.1.0",
        base,
        digest_of(new),
        f"{new.stat().st_size:,} bytes",
    ):
        assert part in text
    assert command("image", "inspect", delta, "--json") == 0
    (shown,) = events(capsys.readouterr().out)
    assert shown["kind"] == "app-delta"
    assert shown["app_delta"]["base"]["digest"] == base  # type: ignore[index]


def test_given_json_then_making_a_delta_tells_both_digests(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = samples.application("1.0.0"), samples.application("1.1.0", like="1.0.0")
    delta = tmp_path / "app.delta"
    assert command("image", "delta", old, new, "--output", delta, "--json") == 0
    (made,) = events(capsys.readouterr().out)
    assert (made["event"], made["size_bytes"]) == ("delta", delta.stat().st_size)
    assert (made["base_digest"], made["target_digest"]) == (digest_of(old), digest_of(new))


def test_given_images_with_nothing_in_common_then_a_person_is_told(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = samples.application("1.0.0"), samples.application("1.1.0")
    assert command("image", "delta", old, new, "-o", tmp_path / "app.delta") == 0
    assert "send the whole image" in capsys.readouterr().out


def test_given_what_no_delta_can_be_made_of_then_it_is_refused_and_no_file_is_left(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, delta = samples.application("1.0.0"), tmp_path / "app.delta"
    for other, reason in [(samples.modem_delta(), "wrong-kind"), (old, "same-image")]:
        assert command("image", "delta", old, other, "-o", delta) == 5
        assert f"[{reason}]" in capsys.readouterr().err
    assert not delta.exists()


def test_given_an_output_that_cannot_be_or_must_not_be_written_then_nothing_is_overwritten(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = samples.application("1.0.0"), samples.application("1.1.0", like="1.0.0")
    before = new.read_bytes()
    for target in (new, tmp_path / "missing" / "app.delta"):
        assert command("image", "delta", old, new, "-o", target) == 2
        assert "[bad-output]" in capsys.readouterr().err
    assert new.read_bytes() == before


def test_given_no_detools_then_the_extra_is_named(
    command: Command,
    samples: SampleImages,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "detools", None)
    old, new = samples.application("1.0.0"), samples.application("1.1.0", like="1.0.0")
    assert command("image", "delta", old, new, "-o", tmp_path / "app.delta") == 2
    assert "pip install 'nrf91-bridge[delta]'" in capsys.readouterr().err.replace("\n", " ")


def test_given_images_then_they_are_stored_listed_and_removed(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = samples.application("1.0.0"), samples.dfu_package("2.0.0")
    assert command("image", "store", "list") == 0
    assert "no images in" in capsys.readouterr().out
    assert command("image", "store", "add", old, new) == 0
    assert command("image", "store", "list") == 0
    lines = [
        f"{digest_of(image)}  {version}  {image.stat().st_size:,} bytes"
        for version, image in (("1.0.0", old), ("2.0.0", samples.application("2.0.0")))
    ]
    assert capsys.readouterr().out.splitlines() == lines * 2
    assert command("image", "store", "remove", digest_of(old)[:8]) == 0
    assert digest_of(old) in capsys.readouterr().out
    assert command("image", "store", "list", "--json") == 0
    (listed,) = events(capsys.readouterr().out)
    assert (listed["event"], listed["version"], listed["problem"]) == ("stored-image", "2.0.0", None)
    assert Path(str(listed["path"])).parent == tmp_path / "store"


def test_given_what_the_store_cannot_take_or_does_not_have_then_the_exit_code_says_so(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("image", "store", "add", samples.modem_delta()) == 5
    assert command("image", "store", "add", tmp_path / "missing.bin") == 2
    assert command("image", "store", "remove", "0" * 64) == 2
    assert "[unknown-image]" in capsys.readouterr().err
    in_the_way = samples.application("1.0.0")
    assert command("image", "store", "add", in_the_way, "--store", in_the_way / "x") == 9


def test_given_an_image_that_went_bad_then_the_list_shows_it(
    command: Command, samples: SampleImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = samples.application("1.0.0")
    assert command("image", "store", "add", old) == 0
    (stored,) = (tmp_path / "store").iterdir()
    stored.write_bytes(old.read_bytes()[:-1])
    capsys.readouterr()
    assert command("image", "store", "list") == 0
    assert f"{digest_of(old)}  damaged: MCUboot image is truncated" in capsys.readouterr().out
