"""What must be refused: firmware that is broken, foreign or old, jobs that make no sense, hosts without room."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import trustme

from bridge import clock
from bridge.cloud import Connection
from bridge.errors import BridgeError, CloudError
from bridge.fota import Expectations, Outcome
from bridge.fota.versions import same_version
from bridge.image import inspect_file
from bridge.lab.image_faults import ImageFault
from bridge.lab.sample_key import development_public_key_pem, other_key_pem
from bridge.pytest_plugin.cloud import LabCloud
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.updates import Updater
from hil_tests.scenarios.rounds import FAST, version_of

pytestmark = pytest.mark.nrf91_route("xdfu")


def _public(private_pem: bytes) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    key = serialization.load_pem_private_key(private_pem, None)
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


OTHER_PUBLIC_KEY: Final = _public(other_key_pem())
EMPTY_ZIP: Final = b"PK\x05\x06" + bytes(18)


def assert_runs(device: DeviceUnderTest, version: str) -> None:
    """It runs that version, also after another start: nothing is pending."""
    assert same_version(device.version(), version)
    device.reset()
    assert same_version(device.version(), version)


@pytest.mark.scenario(36)
def test_an_image_that_was_corrupted_after_signing_is_refused_before_it_is_scheduled(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    done = nrf91_deploy(nrf91_images.corrupted).work()
    assert (done.status, done.reason) == ("REJECTED", "digest-mismatch")
    assert "schedule" not in done.story.stages
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(37, 77)
@pytest.mark.nrf91_virtual("an image that is signed with the board's key and crashes is built for the test")
def test_an_image_that_is_signed_and_crashes_is_reverted_and_the_job_fails(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    garbage = nrf91_images.build.application("2.0.0", behaviour={"crash_loop": True})
    done = nrf91_deploy(garbage).work()
    assert done.status == "FAILED"
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(38, 39, 40)
@pytest.mark.parametrize("kind", ["bad_signature", "unsigned", "wrong_key"])
def test_the_bootloader_refuses_what_its_key_has_not_signed_and_the_job_says_so(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, kind: str
) -> None:
    before = nrf91_board.version()
    done = nrf91_deploy(getattr(nrf91_images, kind)).work()
    assert (done.status, done.reason) == ("FAILED", "rejected-by-bootloader")
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(38, 39, 40)
@pytest.mark.parametrize("kind", ["bad_signature", "unsigned", "wrong_key"])
def test_a_bridge_that_knows_the_key_refuses_such_an_image_before_it_is_scheduled(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, kind: str
) -> None:
    story = nrf91_update(getattr(nrf91_images, kind), public_keys_pem=(development_public_key_pem(),))
    assert story.outcome is Outcome.REJECTED
    assert "schedule" not in story.stages


@pytest.mark.scenario(41)
@pytest.mark.nrf91_virtual("MCUboot is built with two keys")
@pytest.mark.nrf91_build(keys=lambda images: [OTHER_PUBLIC_KEY, images.build.public_key_pem])
def test_a_bootloader_with_two_keys_takes_what_either_has_signed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    first = nrf91_images.build.application("2.0.0", key=other_key_pem())
    assert nrf91_update(first).outcome is Outcome.SUCCEEDED
    second = nrf91_images.build.application("3.0.0")
    assert nrf91_update(second).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(42)
def test_the_version_that_runs_is_refused_and_nothing_is_written(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    done = nrf91_deploy(nrf91_images.baseline).work()
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "same-version", 0)


@pytest.mark.scenario(43)
def test_an_older_version_is_refused_with_both_versions_in_the_message(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
    done = nrf91_deploy(nrf91_images.baseline).work()
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "downgrade", 0)
    assert version_of(nrf91_images.baseline) in done.cloud.details["message"]
    assert_runs(nrf91_board, version_of(nrf91_images.newer))


@pytest.mark.scenario(44)
@pytest.mark.parametrize("board", ["nrf9160dk", "nrf52840dk"])
def test_an_image_for_another_board_is_refused_before_any_write(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, board: str
) -> None:
    done = nrf91_deploy(nrf91_images.newer, board=board).work()
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "wrong-board", 0)


@pytest.mark.scenario(46)
def test_a_board_of_an_older_hardware_revision_than_the_job_requires_is_left_alone(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    device, _, _ = (nrf91_board.identify().hardware_version or "").rpartition(" ")
    later = {"hardware": f"{device} ZZZ"}
    done = nrf91_deploy(nrf91_images.newer, requires=later).work()
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "unmet-requirement", 0)
    assert "ZZZ or a later revision" in done.story.finished.message


@pytest.mark.scenario(55)
@pytest.mark.nrf91_kind("modem-delta")
def test_an_application_that_needs_newer_modem_firmware_waits_for_the_job_that_brings_it(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    """Refused before, and installed after: what is required is asked of the board each time."""
    delta = nrf91_images.modem_delta(nrf91_board.identify().modem_version)
    needed = {"modem": inspect_file(delta).version}
    too_early = nrf91_deploy(nrf91_images.newer, requires=needed).work()
    assert (too_early.status, too_early.reason, too_early.story.wrote) == (
        "REJECTED",
        "unmet-requirement",
        0,
    )
    modem, application = nrf91_deploy(delta), nrf91_deploy(nrf91_images.newer, requires=needed)
    assert [modem.work().status, application.work().status] == ["SUCCEEDED", "SUCCEEDED"]
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


@pytest.mark.scenario(44)
def test_modem_firmware_for_another_chip_is_refused_before_any_write(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    name = "mfw_nrf9160_update_from_1.3.5_to_1.3.6.bin"
    delta = nrf91_images.write(name, b"\0\0\0\0meDu" + b"\xff" * 4096)
    done = nrf91_deploy(delta, operation="modem_fw_update").work()
    assert (done.status, done.story.wrote) == ("REJECTED", 0)


@pytest.mark.scenario(45)
@pytest.mark.nrf91_kind("mcuboot-bootloader")
def test_a_bootloader_image_for_the_slot_that_runs_is_refused(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    slot = nrf91_board.identify().bootloader_slot
    member = {0: "signed_by_mcuboot_and_b0_mcuboot.bin", 1: "signed_by_mcuboot_and_b0_s1_image.bin"}[
        slot or 0
    ]
    story = nrf91_update(nrf91_images.bootloader, member=member)
    assert (story.outcome, story.reason, story.wrote) == (Outcome.REJECTED, "wrong-slot", 0)


@pytest.mark.scenario(47)
@pytest.mark.parametrize("size_is_told", [True, False])
def test_a_truncated_image_is_never_installed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, size_is_told: bool
) -> None:
    before, whole = nrf91_board.version(), nrf91_images.newer.stat().st_size
    half = nrf91_images.truncated(whole // 2)
    job = nrf91_deploy(half, size=whole if size_is_told else None)
    done = job.work(download=FAST)
    assert done.status in {"FAILED", "REJECTED"}
    assert done.reason == ("wrong-size" if size_is_told else "truncated")
    assert "schedule" not in done.story.stages
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(48, 49)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda images: images.truncated(1), id="single byte"),
        pytest.param(lambda images: images.truncated(20), id="half a header"),
        pytest.param(lambda images: images.noise(10_000), id="noise"),
        pytest.param(lambda images: images.write("empty.bin", b""), id="empty"),
        pytest.param(
            lambda images: images.write("page.bin", b"<!DOCTYPE html><html></html>" * 50), id="web page"
        ),
        pytest.param(lambda images: images.write("other.zip", EMPTY_ZIP), id="zip of nothing"),
    ],
)
def test_what_is_no_firmware_is_rejected_and_the_message_says_what_it_is(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, make: Callable[[Images], Path]
) -> None:
    done = nrf91_deploy(make(nrf91_images), size=None).work(download=FAST)
    assert done.status in {"REJECTED", "FAILED"}
    assert done.story.wrote == 0
    assert len(done.cloud.details["message"]) > 15


@pytest.mark.scenario(49)
def test_a_directory_is_no_firmware(tmp_path: Path) -> None:
    with pytest.raises(BridgeError) as caught:
        inspect_file(tmp_path)
    assert caught.value.exit_code in {2, 5}
    assert str(tmp_path.name) in caught.value.message


@pytest.mark.scenario(50)
def test_an_image_that_is_larger_than_any_slot_is_refused_before_anything_is_erased(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    done = nrf91_deploy(nrf91_images.oversize).work()
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "too-large", 0)
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(51)
def test_jobs_that_make_no_sense_are_rejected_with_a_reason_and_the_next_one_works(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    nonsense: list[tuple[object, str]] = [
        ({"operation": "app_fw_update"}, "bad-document"),
        ({"operation": "app_fw_update", "location": {"url": "not a url"}}, "bad-document"),
        ({"operation": "make_coffee", "location": {"url": "https://127.0.0.1/x"}}, "unknown-operation"),
        (json.dumps(["no", "object"]), "bad-document"),
    ]
    for document, reason in nonsense:
        done = nrf91_deploy.order(document).work()
        assert (done.status, done.reason) == ("REJECTED", reason)
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"


@pytest.mark.scenario(52)
@pytest.mark.nrf91_lab_cloud
@pytest.mark.parametrize("status", [403, 404, 410, 500])
def test_a_url_that_gives_no_image_fails_the_job_and_leaves_the_board_alone(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud, status: int
) -> None:
    lab.local.images.faults.add(nrf91_images.newer.name, ImageFault(status=status, times=None))
    done = nrf91_deploy(nrf91_images.newer).work(download=FAST)
    assert (done.status, done.reason, done.story.wrote) == ("FAILED", f"http-{status}", 0)


@pytest.mark.scenario(52)
@pytest.mark.nrf91_lab_cloud
def test_a_presigned_url_that_has_expired_fails_the_job(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    name = "signed.bin"
    lab.local.images.publish(nrf91_images.newer, name, presigned_only=True)
    location = {"url": lab.local.images.presigned_url(name, 1)}
    assert not clock.event().wait(1.5)
    done = nrf91_deploy(nrf91_images.newer, location=location).work(download=FAST)
    assert (done.status, done.reason) == ("FAILED", "http-403")


@pytest.mark.scenario(53)
@pytest.mark.nrf91_lab_cloud
def test_a_certificate_that_the_broker_does_not_take_is_told_in_one_sentence(
    lab: LabCloud, tmp_path: Path
) -> None:
    from dataclasses import replace  # noqa: PLC0415

    leaf = trustme.CA().issue_cert("client.invalid", common_name="stranger")
    cert, key = tmp_path / "stranger.pem", tmp_path / "stranger.key"
    leaf.cert_chain_pems[0].write_to_path(str(cert))
    leaf.private_key_pem.write_to_path(str(key))
    key.chmod(0o600)
    thing = lab.add_thing("known")
    stranger = replace(thing.endpoint, cert_file=cert, key_file=key, client_id="stranger")
    with Connection(stranger) as connection, pytest.raises(CloudError) as caught:
        connection.wait_ready(30)
    assert caught.value.exit_code == 8
    assert "certificate" in caught.value.message.lower() + (caught.value.hint or "").lower()


@pytest.mark.scenario(54)
def test_a_file_with_another_digest_than_the_job_says_is_not_installed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    done = nrf91_deploy(nrf91_images.newer, sha256="00" * 32).work(download=FAST)
    assert (done.status, done.reason) == ("FAILED", "wrong-sha256")
    assert "schedule" not in done.story.stages
    assert_runs(nrf91_board, before)


@pytest.mark.scenario(56)
@pytest.mark.nrf91_kind("modem-delta")
def test_a_delta_for_another_base_is_refused_on_the_host_and_the_modem_still_works(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.modem.version()
    done = nrf91_deploy(nrf91_images.other_modem_delta(before)).work(allow_downgrade=True)
    assert (done.status, done.reason, done.story.wrote) == ("REJECTED", "wrong-delta-base", 0)
    assert nrf91_board.modem.version() == before


@pytest.mark.scenario(57)
@pytest.mark.nrf91_kind("modem-delta")
@pytest.mark.nrf91_slow
def test_a_delta_to_the_version_that_runs_is_refused_on_the_host(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    delta = nrf91_images.modem_delta(nrf91_board.modem.version())
    assert nrf91_deploy(delta).work().status == "SUCCEEDED"
    done = nrf91_deploy(delta).work()
    assert (done.status, done.story.wrote) == ("REJECTED", 0)
    assert done.reason in {"same-version", "wrong-delta-base"}


@pytest.mark.scenario(58)
def test_a_host_that_cannot_keep_the_download_says_so_before_the_board_is_touched(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "a file"
    in_the_way.write_text("not a directory")
    nrf91_deploy.directory = in_the_way
    done = nrf91_deploy(nrf91_images.newer).work(bench_errors=True)
    assert (done.status, done.story.wrote) == ("FAILED", 0)
    assert done.story.error is not None
    assert done.story.error.exit_code == 9


def test_the_order_and_the_image_must_agree_on_what_it_is(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    story = nrf91_update(nrf91_images.newer, expected=Expectations(operation="modem_fw_update"))
    assert (story.outcome, story.reason, story.wrote) == (Outcome.REJECTED, "wrong-kind", 0)
