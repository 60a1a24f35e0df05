"""Each way in which a job can end: exit code, status and reason as read back from the Jobs service, and what the board runs."""

import fcntl
import json
import os
import tty
from pathlib import Path

import pytest

from bridge.lab.image_faults import ImageFault
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from hil_tests.scenarios.conftest import OLD_VERSION, Bench, image_facts, story


def assert_board_runs(bench: Bench, version: str) -> None:
    """The board runs a version for good: nothing is on trial, and nothing is pending."""
    assert running_version(bench.board.flash, bench.board.layout) == version
    assert swap_type(bench.board.flash, bench.board.layout) is SwapType.NONE


@pytest.mark.cli_scenario(1)
def test_an_application_is_updated_confirmed_and_reported(bench: Bench) -> None:
    image = bench.samples.application("2.0.0")
    code, execution = bench.run_job(bench.document(image, board="nrf9151dk", **image_facts(image)))
    status, reason, details = story(execution)
    assert (code, status, reason) == (0, "SUCCEEDED", None)
    assert (details["from_version"], details["to_version"], details["running_version"]) == (
        "1.0.0",
        "2.0.0",
        "2.0.0",
    )
    assert details["stage"] == "done"
    assert_board_runs(bench, "2.0.0")


@pytest.mark.cli_scenario(2)
def test_a_modem_delta_is_applied_and_reported(bench: Bench) -> None:
    image = bench.samples.modem_delta("2.0.2", "2.0.3")
    code, execution = bench.run_job(bench.document(image, **image_facts(image)))
    status, reason, details = story(execution)
    assert (code, status, reason) == (0, "SUCCEEDED", None)
    assert details["running_version"] == "2.0.3"
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(65)
def test_the_next_job_runs_after_one_that_failed(bench: Bench) -> None:
    bad, good = bench.samples.wrong_key("2.0.0"), bench.samples.application("2.0.0")
    assert bench.run_job(bench.document(bad))[0] == 7
    assert bench.run_job(bench.document(good))[0] == 0
    assert_board_runs(bench, "2.0.0")


@pytest.mark.cli_scenario(38)
def test_an_image_with_a_bad_signature_is_rejected_by_the_bootloader_and_we_notice(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.bad_signature("2.0.0")))
    status, reason, details = story(execution)
    assert (code, status, reason) == (7, "FAILED", "rejected-by-bootloader")
    assert details["message"].startswith("rejected by the bootloader")
    assert details["running_version"] == "1.0.0"
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(40)
def test_with_the_key_a_bad_signature_is_refused_before_it_is_scheduled(bench: Bench, tmp_path: Path) -> None:
    key = tmp_path / "public.pem"
    key.write_bytes(bench.samples.public_key_pem)
    code, execution = bench.run_job(bench.document(bench.samples.wrong_key("2.0.0")), "--image-key", str(key))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "wrong-key")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(73)
def test_an_image_that_never_confirms_is_reverted_and_told(bench: Bench) -> None:
    image = bench.samples.application("2.0.0", behaviour={"confirm": False})
    code, execution = bench.run_job(bench.document(image))
    assert (code, *story(execution)[:2]) == (7, "FAILED", "reverted")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(77)
def test_an_image_that_crashes_is_reverted_and_told(bench: Bench) -> None:
    image = bench.samples.application("2.0.0", behaviour={"crash_loop": True})
    code, execution = bench.run_job(bench.document(image))
    assert (code, *story(execution)[:2]) == (7, "FAILED", "rejected-by-bootloader")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(56)
def test_a_delta_for_another_base_is_rejected(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.modem_delta("2.0.1", "2.0.3")))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "wrong-delta-base")


def test_a_delta_whose_name_hides_its_base_is_refused_by_the_modem(bench: Bench, tmp_path: Path) -> None:
    delta = tmp_path / "modem.bin"
    delta.write_bytes(bench.samples.modem_delta("2.0.1", "2.0.3").read_bytes())
    code, execution = bench.run_job(bench.document(delta, operation="modem_fw_update"))
    status, reason, details = story(execution)
    assert (status, details["running_version"]) == ("FAILED", "2.0.2")
    assert (code, reason) in {(7, "wrong-delta-base"), (6, "write-failed")}


@pytest.mark.cli_scenario(42)
def test_the_running_version_is_rejected(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.application(OLD_VERSION, size_bytes=70_000)))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "same-version")


@pytest.mark.cli_scenario(43)
def test_an_older_version_is_rejected(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.application("0.9.0")))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "downgrade")


@pytest.mark.cli_scenario(43)
def test_the_bootloader_refuses_a_downgrade_that_we_were_told_to_try(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.application("0.9.0")), "--allow-downgrade")
    assert (code, *story(execution)[:2]) == (7, "FAILED", "rejected-by-bootloader")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(50)
def test_an_image_larger_than_the_slot_is_rejected_by_the_board(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.oversize("2.0.0")))
    assert (code, *story(execution)[:2]) == (6, "REJECTED", "too-large")


def test_an_image_larger_than_the_known_slot_is_rejected_by_us(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.oversize("2.0.0")), "--slot-size", "450560")
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "too-large")


@pytest.mark.cli_scenario(44)
def test_an_image_for_another_board_is_rejected(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.application("2.0.0"), board="nrf9160dk"))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "wrong-board")


def test_an_image_of_another_kind_than_ordered_is_rejected(bench: Bench) -> None:
    document = bench.document(bench.samples.application("2.0.0"), operation="modem_fw_update")
    code, execution = bench.run_job(document)
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "wrong-kind")


def test_another_version_than_ordered_is_told_and_refused_only_if_strict(bench: Bench) -> None:
    document = bench.document(bench.samples.application("2.0.0"), fwversion="3.0.0")
    code, execution = bench.run_job(document, "--strict")
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "version-mismatch")
    assert bench.run_job(document)[0] == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(ImageFault(status=404, times=None), "http-404", id="404"),
        pytest.param(ImageFault(status=403, times=None), "http-403", id="403"),
        pytest.param(ImageFault(cut_after_bytes=0, times=None), "truncated", id="truncated"),
    ],
)
def test_a_server_that_does_not_deliver_fails_the_job(bench: Bench, fault: ImageFault, reason: str) -> None:
    image = bench.samples.application("2.0.0")
    document = bench.document(image)
    bench.cloud.images.faults.add(image.name, fault)
    code, execution = bench.run_job(document)
    assert (code, *story(execution)[:2]) == (8, "FAILED", reason)
    assert_board_runs(bench, OLD_VERSION)


def test_a_web_page_instead_of_an_image_is_rejected(bench: Bench) -> None:
    image = bench.samples.application("2.0.0")
    document = bench.document(image)
    del document["size"]
    bench.cloud.images.faults.add(
        image.name, ImageFault(page="<!DOCTYPE html><html>sign in</html>" * 20, times=None)
    )
    code, execution = bench.run_job(document)
    status, _, details = story(execution)
    assert (code, status) == (5, "REJECTED")
    assert "HTML" in details["message"]


def test_a_file_of_another_size_than_ordered_fails(bench: Bench) -> None:
    image = bench.samples.application("2.0.0")
    code, execution = bench.run_job(bench.document(image, size=image.stat().st_size + 1))
    assert (code, *story(execution)[:2]) == (8, "FAILED", "wrong-size")


@pytest.mark.cli_scenario(54)
def test_a_file_of_another_digest_than_ordered_fails_and_is_not_installed(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.application("2.0.0"), sha256="00" * 32))
    assert (code, *story(execution)[:2]) == (8, "FAILED", "wrong-sha256")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.cli_scenario(36)
def test_a_corrupt_image_is_rejected_and_not_installed(bench: Bench) -> None:
    code, execution = bench.run_job(bench.document(bench.samples.corrupted("2.0.0")))
    assert (code, *story(execution)[:2]) == (5, "REJECTED", "digest-mismatch")
    assert_board_runs(bench, OLD_VERSION)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"operation": "reboot_the_moon", "location": {"url": "https://127.0.0.1/x"}}, "unknown-operation"),
        ({"operation": "app_fw_update"}, "bad-document"),
        ({"operation": "app_fw_update", "location": {"url": "ftp://127.0.0.1/x"}}, "bad-document"),
        (["not", "an", "object"], "bad-document"),
    ],
)
def test_a_document_that_makes_no_sense_is_rejected(bench: Bench, document: object, reason: str) -> None:
    code, execution = bench.run_job(json.dumps(document) if isinstance(document, list) else document)
    assert (code, *story(execution)[:2]) == (5, "REJECTED", reason)


def test_without_a_board_on_the_port_the_job_fails(bench: Bench, tmp_path: Path) -> None:
    document = bench.document(bench.samples.application("2.0.0"))
    code, execution = bench.run_job(document, port=str(tmp_path / "no-such-port"))
    assert (code, *story(execution)[:2]) == (3, "FAILED", "port-missing")


@pytest.mark.cli_scenario(88)
def test_with_a_silent_board_the_job_fails(bench: Bench) -> None:
    ours, theirs = os.openpty()
    try:
        tty.setraw(theirs)
        document = bench.document(bench.samples.application("2.0.0"))
        code, execution = bench.run_job(document, "--timeout", "1", port=os.ttyname(theirs))
    finally:
        os.close(ours)
        os.close(theirs)
    assert (code, *story(execution)[:2]) == (3, "FAILED", "board-silent")


@pytest.mark.cli_scenario(86)
def test_with_a_port_that_someone_else_holds_the_job_fails(bench: Bench) -> None:
    descriptor = os.open(bench.port, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        code, execution = bench.run_job(bench.document(bench.samples.application("2.0.0")))
    finally:
        os.close(descriptor)
    assert (code, *story(execution)[:2]) == (9, "FAILED", "port-held")


@pytest.mark.cli_scenario(60)
def test_a_job_cancelled_before_it_starts_is_not_installed(bench: Bench) -> None:
    document = bench.document(bench.samples.application("2.0.0"))
    bench.cloud.jobs.create_job("unwanted", bench.thing.thing_name, document)
    bench.cloud.jobs.cancel_job("unwanted")
    code, execution = bench.run_job(bench.document(bench.samples.application("3.0.0")))
    assert (code, execution.status) == (0, "SUCCEEDED")
    assert_board_runs(bench, "3.0.0")
