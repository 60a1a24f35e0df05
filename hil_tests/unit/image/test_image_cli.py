"""``image inspect``: a table for people, one JSON object for machines, exit code 5 for what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from bridge.cli import image as image_commands
from bridge.cli import output
from bridge.errors import ImageRefusedError, UsageError
from bridge.image import inspect_bytes
from bridge.image.sample import encode_modem_delta
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import development_public_key_path
from hil_tests.unit.image.build import (
    DELTA,
    dfu_package,
    intel_hex,
    manifest,
    mcuboot,
    modem_full,
    tlv,
    zipped,
)

KEY = str(development_public_key_path())


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path)


@pytest.fixture(autouse=True)
def _text_mode(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(output.out, "width", 200)
    yield
    output.use_json(False)


def run(path: Path, *options: str) -> str:
    app = typer.Typer()
    image_commands.register(app)
    app.command("other")(lambda: None)  # one command alone would lose its name
    result = CliRunner().invoke(app, ["image", "inspect", str(path), *options])
    if result.exception is not None:
        raise result.exception
    return result.stdout


def save(tmp_path: Path, data: bytes, name: str = "image.bin") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_given_an_application_then_a_person_reads_version_digest_and_key(samples: SampleImages) -> None:
    path = samples.application("2.0.0", security_counter=3)
    text = run(path)
    digest = inspect_bytes(path.read_bytes()).to_dict()["mcuboot"]["digest"]
    for part in (
        "signed application",
        "2.0.0",
        digest,
        "ecdsa",
        "security counter",
        "not checked; give --key",
    ):
        assert part in text
    assert "verified with dev-ec-p256.pub.pem" in run(path, "--key", KEY)


def test_given_json_then_one_object_with_schema_and_everything(samples: SampleImages) -> None:
    lines = run(samples.application("2.0.0"), "--json", "--key", KEY).splitlines()
    assert len(lines) == 1
    shown = json.loads(lines[0])
    assert (shown["schema"], shown["kind"], shown["version"]) == (1, "application", "2.0.0")
    assert shown["signature_verified"] is True
    assert json.loads(run(samples.application("2.0.0"), "--json"))["signature_verified"] is False


@pytest.mark.parametrize("variant", ["wrong_key", "bad_signature"])
def test_given_a_signature_that_does_not_fit_then_it_is_refused_only_with_a_key(
    samples: SampleImages, variant: str
) -> None:
    path = getattr(samples, variant)()
    assert "not checked" in run(path)
    with pytest.raises(ImageRefusedError) as refused:
        run(path, "--key", KEY)
    assert refused.value.exit_code == 5


def test_given_no_image_then_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError, match="HTML"):
        run(save(tmp_path, b"<!DOCTYPE html>"))
    with pytest.raises(UsageError, match=r"missing\.bin cannot be read"):
        run(tmp_path / "missing.bin", "--json")


def test_given_a_package_then_members_are_shown_and_each_is_checked_with_the_key(
    samples: SampleImages, tmp_path: Path
) -> None:
    path = samples.dfu_package("2.0.0")
    text = run(path, "--key", KEY)
    for part in ("DFU package", "sample.signed.bin", "nrf9151dk/nrf9151/ns", "verified"):
        assert part in text
    with pytest.raises(ImageRefusedError):
        run(save(tmp_path, dfu_package(), "unsigned.zip"), "--key", KEY)
    empty = zipped({"manifest.json": manifest(), "x.bin": b"x"})
    assert "not listed" in run(save(tmp_path, empty, "empty.zip"))
    with pytest.raises(ImageRefusedError):
        run(tmp_path / "empty.zip", "--key", KEY)


def test_given_intel_hex_then_segments_are_shown_and_each_image_is_checked(
    samples: SampleImages, tmp_path: Path
) -> None:
    signed = samples.application("2.0.0", size_bytes=3000).read_bytes()
    both = intel_hex((0x20000, signed), (0x8F000, samples.application("1.0.0", size_bytes=3000).read_bytes()))
    text = run(save(tmp_path, both, "both.hex"), "--key", KEY)
    for part in ("2.0.0 at 0x20000", "1.0.0 at 0x8f000", "0x00020000", "verified"):
        assert part in text
    with pytest.raises(ImageRefusedError):
        run(save(tmp_path, intel_hex((0, signed), (0x8F000, mcuboot())), "one.hex"), "--key", KEY)
    with pytest.raises(ImageRefusedError):
        run(save(tmp_path, intel_hex((0, b"x")), "none.hex"), "--key", KEY)


def test_given_modem_firmware_then_versions_and_parts_are_shown(tmp_path: Path) -> None:
    name = "mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin"
    assert "2.0.1 -> 2.0.2" in run(save(tmp_path, DELTA, name))
    assert "does not say from and to" in run(save(tmp_path, DELTA, "delta.bin"))
    uuid = "25c95751-efa4-40d4-8b4a-1dcaab81fac9"
    sample = encode_modem_delta(
        base_uuid=uuid, target_uuid=uuid, base_version="1", target_version="2", payload=DELTA
    )
    assert "no real modem takes it" in run(save(tmp_path, sample, "sample.bin"))
    full = run(save(tmp_path, modem_full(10, 20), "full.cbor"))
    for part in ("full modem firmware", "bootloader", "firmware 1", "0x00060000", "(agrees)"):
        assert part in full
    release = run(save(tmp_path, zipped({name: DELTA, "a.segments.0.hex": b":"}), "mfw_nrf91x1_2.0.2.zip"))
    for part in ("modem release", "2.0.1 -> 2.0.2", "segments", "nrf91x1"):
        assert part in release


def test_given_names_with_markup_then_they_are_shown_as_they_are(tmp_path: Path) -> None:
    assert "[red]x.bin" in run(save(tmp_path, mcuboot(), "[red]x.bin"))


def test_given_unusual_images_then_their_marks_are_shown(samples: SampleImages, tmp_path: Path) -> None:
    assert "padded to a whole slot" in run(samples.application(confirmed_trailer=True))
    odd = mcuboot(flags=0x24, protected=(tlv(0xA0, b"x"),), extra=(tlv(0x32, bytes(113)),))
    broken = bytearray(odd)
    broken[4:8] = b"\0\0\2\0"
    text = run(save(tmp_path, bytes(broken)))
    for part in ("ram-load", "encrypted", "0x00020000", "0x00a0", "nothing"):
        assert part in text
    listed = zipped(
        {"a.bin": b"radio", "manifest.json": manifest({"file": "a.bin", "type": "mcuboot"}, name="N")}
    )
    text = run(save(tmp_path, listed, "x.zip"))
    for part in ("no MCUboot image", "MCUboot itself", "2023-11-14"):
        assert part in text
