"""Full modem firmware and MCUboot itself: from a job or a file to a modem and a bootloader that prove what they are."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.board import Board
from bridge.lab.sample_bootloader_package import bootloader_package
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.pty_server import PtyServer
from bridge.virtual.serial_modem_options import SerialModemOptions
from hil_tests.scenarios.conftest import OLD_VERSION, Bench, image_facts, story


@contextmanager
def other_board(bench: Bench, **options: object) -> Iterator[Bench]:
    """The bench with another board on it."""
    options = {"factory_image": bench.samples.application(OLD_VERSION).read_bytes(), **options}
    board = VirtualBoard(keys=[bench.samples.public_key_pem], **options)  # type: ignore[arg-type]
    with board, PtyServer(board) as pty:
        board.wait_for_event("ready")
        yield replace(bench, board=board, port=pty.path)


@pytest.fixture
def modem_bench(bench: Bench) -> Iterator[Bench]:
    """A bench whose Serial Modem writes full modem firmware."""
    with other_board(bench, serial_modem=SerialModemOptions(modem_full=True)) as found:
        yield found


def modem_of(bench: Bench) -> str | None:
    with Board.open(bench.port) as board:
        return board.identify().modem_version


def job(bench: Bench, file: Path, **members: object) -> dict[str, object]:
    facts = image_facts(file)
    return bench.document(file, size=facts["size"], sha256=facts["sha256"], **members)


# --- jobs --------------------------------------------------------------------------------------------------


@pytest.mark.cli_scenario(4)
def test_a_job_with_a_modem_release_updates_the_whole_modem(modem_bench: Bench) -> None:
    release = modem_bench.samples.modem_package("2.0.3")
    code, execution = modem_bench.run_job(job(modem_bench, release, fwversion="2.0.3"))
    status, reason, details = story(execution)
    assert (code, status, reason) == (0, "SUCCEEDED", None)
    assert (details["from_version"], details["to_version"], details["running_version"]) == (
        "2.0.2",
        "2.0.3",
        "2.0.3",
    )
    assert modem_of(modem_bench) == "mfw_nrf91x1_2.0.3"


@pytest.mark.cli_scenario(44)
def test_a_job_with_modem_firmware_for_another_chip_is_rejected(modem_bench: Bench) -> None:
    code, execution = modem_bench.run_job(
        job(modem_bench, modem_bench.samples.modem_package("1.3.5", family="nrf9160"))
    )
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "wrong-board")
    assert modem_of(modem_bench) == "mfw_nrf91x1_2.0.2"


def test_a_job_whose_modem_does_not_start_fails_and_the_next_one_repairs_it(modem_bench: Bench) -> None:
    dead = modem_bench.samples.modem_full("2.0.3", dead=True)
    code, execution = modem_bench.run_job(job(modem_bench, dead))
    assert (code, *story(execution)[:2]) == (7, "FAILED", "modem-damaged")
    code, execution = modem_bench.run_job(job(modem_bench, modem_bench.samples.modem_full("2.0.4")))
    assert (code, story(execution)[0]) == (0, "SUCCEEDED")
    assert modem_of(modem_bench) == "mfw_nrf91x1_2.0.4"


def test_a_job_for_a_build_without_full_updates_fails_and_changes_nothing(bench: Bench) -> None:
    code, execution = bench.run_job(job(bench, bench.samples.modem_package("2.0.3")))
    assert (code, *story(execution)[:2]) == (6, "FAILED", "not-supported")
    assert modem_of(bench) == "mfw_nrf91x1_2.0.2"


@pytest.mark.cli_scenario(33, 35)
def test_a_bridge_that_is_killed_in_a_modem_update_finishes_the_job_at_its_next_start(bench: Bench) -> None:
    with other_board(bench, serial_modem=SerialModemOptions(modem_full=True), timing="real") as slow:
        release = slow.samples.modem_package("2.0.3")
        slow.cloud.jobs.create_job("killed", slow.thing.thing_name, job(slow, release))
        with subprocess.Popen(
            [sys.executable, "-m", "bridge", *slow.run_arguments()], stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            for line in running.stdout:
                event = json.loads(line)
                if event["event"] == "progress" and event["done_bytes"] > 3_500:
                    running.kill()  # firmware is being written: the old one is gone
        assert slow.work_next_job() == 0
        execution = slow.cloud.jobs.describe_execution("killed", slow.thing.thing_name)
        assert story(execution)[0] == "SUCCEEDED"
        assert modem_of(slow) == "mfw_nrf91x1_2.0.3"


def test_a_job_over_smp_proves_the_modem_by_what_its_flash_holds(bench: Bench) -> None:
    with other_board(bench, firmware="fmfu") as fmfu:
        release = fmfu.samples.modem_package("2.0.3")
        code, execution = fmfu.run_job(job(fmfu, release))
        status, reason, details = story(execution)
        assert (code, status, reason) == (0, "SUCCEEDED", None)
        assert details["message"].startswith("the modem's flash holds the new firmware")
        assert "running_version" not in details
        code, execution = fmfu.run_job(
            job(fmfu, fmfu.samples.modem_package("2.0.4", wrong_digests=True)), "--transport", "modem-smp"
        )
        assert (code, *story(execution)[:2]) == (7, "FAILED", "digest-mismatch")


@pytest.mark.cli_scenario(5)
def test_a_job_updates_mcuboot_by_the_image_for_its_inactive_slot(bench: Bench, tmp_path: Path) -> None:
    for version, slot in ((2, 1), (3, 0)):
        package = bootloader_package(bench.samples, tmp_path, version)
        code, execution = bench.run_job(job(bench, package, fwversion=str(version)))
        status, reason, details = story(execution)
        assert (code, status, reason) == (0, "SUCCEEDED", None)
        assert details["running_version"] == str(version)
        with Board.open(bench.port) as board:
            identity = board.identify()
        assert (identity.bootloader_version, identity.bootloader_slot) == (version, slot)
        assert identity.application_version == f"v{OLD_VERSION}"


def test_a_job_with_a_counter_that_does_not_rise_is_rejected(bench: Bench, tmp_path: Path) -> None:
    code, execution = bench.run_job(job(bench, bootloader_package(bench.samples, tmp_path, 1)))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "counter-not-higher")


def test_a_job_with_an_application_package_is_unpacked(bench: Bench) -> None:
    code, execution = bench.run_job(job(bench, bench.samples.dfu_package("2.0.0"), fwversion="2.0.0"))
    status, _, details = story(execution)
    assert (code, status, details["running_version"]) == (0, "SUCCEEDED", "2.0.0")


# --- the command line --------------------------------------------------------------------------------------


def events_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_flash_tells_of_the_point_of_no_return_before_it_writes(
    modem_bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    release = modem_bench.samples.modem_package("2.0.3")
    assert modem_bench.command("flash", str(release), "--port", modem_bench.port, "--json") == 0
    events = events_of(capsys)
    texts = [str(event.get("text", "")) for event in events]
    told = next(index for index, text in enumerate(texts) if "point of no return" in text)
    written = next(index for index, event in enumerate(events) if event["event"] == "progress")
    assert told < written
    assert events[-1]["running_version"] == "2.0.3"


def test_info_shows_a_board_that_waits_for_modem_firmware_and_flash_repairs_it(
    modem_bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    samples: SampleImages = modem_bench.samples
    port = ("--port", modem_bench.port)
    assert modem_bench.command("flash", str(samples.modem_full("2.0.3", dead=True)), *port) == 7
    assert "waits in bootloader mode" in capsys.readouterr().err.replace("\n", " ")
    assert modem_bench.command("info", *port, "--json") == 0
    (identity,) = events_of(capsys)
    assert (identity["firmware"], identity["modem_bootloader"]) == ("serial-modem", True)
    assert modem_bench.command("flash", str(samples.application("2.0.0")), *port) == 6
    assert modem_bench.command("flash", str(samples.modem_full("2.0.4")), *port) == 0
    assert modem_of(modem_bench) == "mfw_nrf91x1_2.0.4"


@pytest.mark.cli_scenario(45)
def test_flash_takes_the_member_that_is_named(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = bootloader_package(bench.samples, tmp_path, 2)
    arguments = ("flash", str(package), "--port", bench.port, "--json", "--member")
    assert bench.command(*arguments, "signed_by_mcuboot_and_b0_mcuboot.bin") == 5
    assert events_of(capsys)[-1]["reason"] == "wrong-slot"
    assert bench.command(*arguments, "signed_by_mcuboot_and_b0_s1_image.bin") == 0
