"""Firmware by the part that it plays: from a user's directory, and spoiled on purpose."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import BenchError, ImageRefusedError
from bridge.image import inspect_bytes, inspect_file, verify_signature
from bridge.lab.sample_bootloader_package import bootloader_package
from bridge.lab.sample_images import SampleImages
from bridge.pytest_plugin import spoil
from bridge.pytest_plugin.images import own_images


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """What builds and downloads leave in a directory, with other files between."""
    samples = SampleImages(tmp_path / "firmware")
    for version in ("1.10.0", "1.9.0"):
        samples.application(version)
    parts = SampleImages(tmp_path / "parts")
    shutil.copy(parts.dfu_package("1.11.0"), samples.directory)
    samples.modem_delta("2.0.2", "2.0.3")
    samples.modem_package("2.0.3")
    bootloader_package(parts, samples.directory, 2)
    (tmp_path / "firmware" / "notes.txt").write_text("not firmware")
    return tmp_path / "firmware"


def test_files_are_told_apart_by_what_is_in_them(firmware: Path, tmp_path: Path) -> None:
    images = own_images(firmware, tmp_path / "made")
    assert images.kinds == {"application", "modem-delta", "modem-full", "mcuboot-bootloader"}
    versions = [inspect_file(path).version for path in (images.baseline, images.newer)]
    assert versions == ["1.9.0", "1.10.0"]
    assert images.newest.name == "dfu_application-1.11.0.zip"
    assert "from_2.0.2_to_2.0.3" in images.modem_delta("mfw_nrf91x1_2.0.2").name
    assert images.modem_full("mfw_nrf91x1_2.0.2").suffix == ".zip"
    assert "mcuboot" in images.bootloader.name


def test_what_is_missing_is_a_bench_error(firmware: Path, tmp_path: Path) -> None:
    images = own_images(firmware, tmp_path / "made")
    missing: list[Callable[[], object]] = [
        lambda: images.application(3),
        lambda: images.modem_delta("mfw_nrf91x1_2.0.1"),
        lambda: images.other_modem_delta("mfw_nrf91x1_2.0.3"),
        lambda: images.modem_full("mfw_nrf91x1_2.0.3"),
        lambda: images.build,
        lambda: own_images(tmp_path / "nowhere", tmp_path),
    ]
    for ask in missing:
        with pytest.raises(BenchError) as caught:
            ask()
        assert caught.value.reason == "no-image"


def test_spoiled_images_are_spoiled_in_one_way_only(tmp_path: Path) -> None:
    samples = SampleImages(tmp_path)
    good, key = samples.application("2.0.0").read_bytes(), samples.public_key_pem
    verify_signature(inspect_bytes(good), key)
    with pytest.raises(ImageRefusedError) as caught:
        inspect_bytes(spoil.corrupted(good))
    assert caught.value.reason == "digest-mismatch"
    for spoiled, reason in (
        (spoil.bad_signature(good), "bad-signature"),
        (spoil.wrong_key(good), "wrong-key"),
        (spoil.unsigned(good), "not-signed"),
    ):
        image = inspect_bytes(spoiled)
        assert image.mcuboot is not None
        assert image.mcuboot.digest_verified
        with pytest.raises(ImageRefusedError) as caught:
            verify_signature(image, key)
        assert caught.value.reason == reason
    large = inspect_bytes(spoil.oversize(good, 600_000))
    assert large.size_bytes > 600_000


def test_a_board_of_a_wider_scope_is_the_same_for_all_tests_in_it(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        seen = []

        def test_first(nrf91_board):
            seen.append(nrf91_board)

        def test_second(nrf91_board):
            assert (seen[0] is nrf91_board) == {same}
        """.replace("{same}", "True")
    )
    suite.runpytest("--nrf91-port", "virtual", "--nrf91-scope", "module").assert_outcomes(passed=2)
    suite.runpytest("--nrf91-port", "virtual").assert_outcomes(passed=1, failed=1)


def test_the_files_that_one_build_leaves_are_one_version(firmware: Path, tmp_path: Path) -> None:
    """``zephyr.signed.bin`` and ``dfu_application.zip`` lie beside each other."""
    again = SampleImages(tmp_path / "again")
    shutil.copy(again.dfu_package("1.9.0"), firmware / "dfu_application.zip")
    images = own_images(firmware, tmp_path / "made")
    versions = [inspect_file(path).version for path in (images.baseline, images.newer, images.newest)]
    assert versions == ["1.9.0", "1.10.0", "1.11.0"]
