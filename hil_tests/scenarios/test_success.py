"""Updates that end well: each kind of firmware over each route, from a job or from a file, once or again and again."""

import time
from pathlib import Path

import pytest

from bridge.board.boot import BootReport
from bridge.fetch import DownloadOptions
from bridge.fota import Outcome, Progress, Stage, StageStarted, UpdateEvent
from bridge.fota.versions import modem_release, same_version
from bridge.image import inspect_file
from bridge.lab.image_faults import ImageFault
from bridge.pytest_plugin.cloud import LabCloud
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.faults import BoardFaults
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.log import BoardLog
from bridge.pytest_plugin.updates import Updater
from hil_tests.scenarios.rounds import FAST, image_of_size, version_of

pytestmark = pytest.mark.nrf91_route("xdfu")


@pytest.mark.scenario(1)
def test_an_application_job_ends_with_the_new_version_on_board_and_in_the_cloud(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    done = nrf91_deploy(nrf91_images.newer).work()
    assert (done.status, done.reason) == ("SUCCEEDED", None)
    assert same_version(done.cloud.details["from_version"], before)
    assert same_version(done.cloud.details["running_version"], version_of(nrf91_images.newer))
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))
    nrf91_board.reset()
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))  # confirmed: it stays


@pytest.mark.scenario(2, 3)
@pytest.mark.nrf91_kind("modem-delta")
@pytest.mark.nrf91_slow
def test_a_modem_delta_leads_to_the_next_version_and_another_one_back(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    base = nrf91_board.modem.version()
    forward = nrf91_images.modem_delta(base)
    assert nrf91_deploy(forward).work().status == "SUCCEEDED"
    after = nrf91_board.modem.version()
    assert modem_release(after) == version_of(forward)
    assert after != base
    done = nrf91_deploy(nrf91_images.modem_delta(after)).work(allow_downgrade=True)
    assert done.status == "SUCCEEDED"
    assert nrf91_board.modem.version() == base


@pytest.mark.scenario(4)
@pytest.mark.nrf91_kind("modem-full")
@pytest.mark.nrf91_slow
def test_full_modem_firmware_replaces_the_whole_modem_and_its_version_is_read_back(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    release = nrf91_images.modem_full(nrf91_board.modem.version())
    done = nrf91_deploy(release).work(allow_downgrade=True)
    assert done.status == "SUCCEEDED"
    assert modem_release(nrf91_board.modem.version()) == done.cloud.details["to_version"]


@pytest.mark.scenario(5)
@pytest.mark.nrf91_kind("mcuboot-bootloader")
def test_a_bootloader_update_takes_the_inactive_slot_and_leaves_the_application_alone(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.identify()
    done = nrf91_deploy(nrf91_images.bootloader).work()
    after = nrf91_board.identify()
    assert done.status == "SUCCEEDED"
    assert before.bootloader_version is not None
    assert after.bootloader_version is not None
    assert after.bootloader_version > before.bootloader_version
    assert after.bootloader_slot != before.bootloader_slot
    assert after.application_version == before.application_version


@pytest.mark.scenario(6)
@pytest.mark.nrf91_kind("modem-delta")
def test_modem_and_application_jobs_are_worked_in_the_order_of_the_queue(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    modem = nrf91_deploy(nrf91_images.modem_delta(nrf91_board.modem.version()))
    application = nrf91_deploy(nrf91_images.newer)
    assert modem.work().status == "SUCCEEDED"
    assert application.cloud.status == "QUEUED"  # nothing is begun before the first one is proven
    assert application.work().status == "SUCCEEDED"
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


@pytest.mark.scenario(7)
def test_update_after_update_leaves_nothing_behind(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    for image in (nrf91_images.newer, nrf91_images.newest):
        assert nrf91_deploy(image).work().status == "SUCCEEDED"
        assert same_version(nrf91_board.version(), version_of(image))
        assert nrf91_deploy.cloud.open_jobs(nrf91_deploy.thing.name) == []


@pytest.mark.scenario(8)
def test_the_place_of_the_image_may_be_a_url_in_one_round_and_its_parts_in_the_next(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
    url = nrf91_deploy.cloud.publish(nrf91_images.newest)
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    parts = {"protocol": f"{scheme}:", "host": host, "path": path}
    assert nrf91_deploy(nrf91_images.newest, location=parts).work().status == "SUCCEEDED"


@pytest.mark.scenario(9)
@pytest.mark.parametrize("fragment_bytes", [4096, 4 * 1024 * 1024], ids=["smallest", "largest"])
def test_small_and_large_download_requests_give_the_same_image(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, fragment_bytes: int
) -> None:
    download = DownloadOptions(fragment_bytes=fragment_bytes)
    done = nrf91_deploy(nrf91_images.newer).work(download=download)
    assert done.status == "SUCCEEDED"
    assert done.story.rate_bytes_per_s > 0


@pytest.mark.scenario(10)
@pytest.mark.nrf91_virtual("images are built in the wanted sizes")
@pytest.mark.parametrize("rest_bytes", [0, 4, 2048, 4092])
def test_the_last_chunk_may_be_of_any_length(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, rest_bytes: int
) -> None:
    image = image_of_size(nrf91_images.build, 4 * 4096 + rest_bytes)
    assert image.stat().st_size % 4096 == rest_bytes
    assert nrf91_update(image).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(11)
@pytest.mark.nrf91_lab_cloud
def test_a_server_that_does_not_tell_the_length_is_good_enough(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    lab.local.images.faults.add(nrf91_images.newer.name, ImageFault(chunked=True, times=None))
    assert nrf91_deploy(nrf91_images.newer, size=None).work().status == "SUCCEEDED"


@pytest.mark.scenario(12)
@pytest.mark.nrf91_lab_cloud
def test_a_chain_of_redirects_leads_to_the_image(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    goal = lab.publish(nrf91_images.newer)
    for name, to in (("second.bin", goal), ("first.bin", lab.local.images.url("second.bin"))):
        lab.publish(nrf91_images.newer, name)
        lab.local.images.faults.add(name, ImageFault(redirect_to=to, times=None))
    location = {"url": lab.local.images.url("first.bin")}
    assert nrf91_deploy(nrf91_images.newer, location=location).work().status == "SUCCEEDED"
    asked = [request.name for request in lab.local.images.requests if request.status in {200, 206, 302}]
    assert asked[-3:] == ["first.bin", "second.bin", nrf91_images.newer.name]


@pytest.mark.scenario(72)
def test_a_server_that_has_lost_the_image_is_followed_by_the_next_one_of_the_document(
    nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    good = nrf91_deploy.cloud.publish(nrf91_images.newer)
    lost = good.replace(nrf91_images.newer.name, "lost.bin")
    done = nrf91_deploy(nrf91_images.newer, location={"url": lost, "mirrors": [lost, good]}).work()
    assert done.status == "SUCCEEDED", done.story.finished.message
    assert done.cloud.details["running_version"] == version_of(nrf91_images.newer)


@pytest.mark.scenario(72)
@pytest.mark.nrf91_lab_cloud
def test_a_server_that_fails_in_the_midst_of_the_image_is_followed_at_the_same_byte(
    lab: LabCloud, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    first = lab.publish(nrf91_images.newer)
    second = lab.publish(nrf91_images.newer, "copy.bin")
    lab.local.images.faults.add(nrf91_images.newer.name, ImageFault(cut_after_bytes=30_000))
    lab.local.images.faults.add(nrf91_images.newer.name, ImageFault(status=404, times=None))
    job = nrf91_deploy(nrf91_images.newer, location={"url": first, "mirrors": [second]})
    done = job.work(download=FAST)
    assert done.status == "SUCCEEDED", done.story.finished.message
    asked = [request.range for request in list(lab.local.images.requests) if request.name == "copy.bin"]
    assert (asked[0] or "bytes=0-").startswith("bytes=30000-")


@pytest.mark.scenario(13)
@pytest.mark.nrf91_lab_cloud
def test_an_image_that_changes_during_its_download_is_never_mixed_and_the_next_job_installs_the_new_one(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    name, before = "changing.bin", nrf91_board.version()
    url = lab.publish(nrf91_images.newer, name)
    lab.local.images.faults.add(name, ImageFault(rate_bytes_per_s=60_000, times=None))
    changed: list[int] = []

    def change(event: UpdateEvent) -> None:
        if isinstance(event, Progress) and event.done_bytes and not changed:
            changed.append(event.done_bytes)
            lab.publish(nrf91_images.newest, name)

    document = {"operation": "app_fw_update", "location": {"url": url}}
    ranges = DownloadOptions(fragment_bytes=8 * 1024, first_backoff_s=0.01)
    done = nrf91_deploy.order(document).work(on_event=change, download=ranges)
    assert (done.status, done.story.error is not None) == ("FAILED", True)
    assert "changed on the server" in done.cloud.details["message"]
    assert nrf91_board.version() == before
    lab.local.images.faults.clear()
    assert nrf91_deploy.order(document).work(download=ranges).status == "SUCCEEDED"
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newest))


@pytest.mark.scenario(14)
@pytest.mark.nrf91_virtual("a delta between two builds is made for the test")
def test_an_application_delta_becomes_the_very_image_that_was_signed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, tmp_path: Path
) -> None:
    from bridge.fota.image_store import KnownImageStore  # noqa: PLC0415
    from bridge.image.app_delta_create import create_app_delta  # noqa: PLC0415
    from bridge.image.application_file import read_application  # noqa: PLC0415

    base = nrf91_images.build.application("1.0.0")
    target = nrf91_images.build.application("2.0.0", like="1.0.0")
    delta = tmp_path / "update.delta"
    delta.write_bytes(create_app_delta(read_application(base), read_application(target)))
    assert delta.stat().st_size < target.stat().st_size / 4
    store = KnownImageStore(tmp_path / "store")
    store.add(base)
    story = nrf91_update(delta, image_store=store)
    assert story.outcome is Outcome.SUCCEEDED
    assert nrf91_board.version() == "2.0.0"


@pytest.mark.scenario(15)
def test_an_update_goes_well_while_the_board_keeps_talking(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_update: Updater,
    nrf91_faults: BoardFaults,
    nrf91_log: BoardLog,
) -> None:
    said = 0

    def talk(event: UpdateEvent) -> None:
        nonlocal said
        if isinstance(event, Progress):
            nrf91_faults.say(f"\r\n%CESQ: {40 + said % 20},2,{15 + said % 10},2\r\n")
            said += 1

    assert nrf91_update(nrf91_images.newer, on_event=talk).outcome is Outcome.SUCCEEDED
    assert said > 5
    assert nrf91_log.text.count("%CESQ: ") == said  # none got lost


@pytest.mark.scenario(16)
@pytest.mark.nrf91_route("smp")
def test_an_application_with_an_smp_server_is_updated_tested_and_confirmed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    done = nrf91_deploy(nrf91_images.newer).work(transport="smp")
    identity = nrf91_board.identify()
    assert done.status == "SUCCEEDED"
    assert same_version(identity.application_version, version_of(nrf91_images.newer))
    assert not identity.on_trial


@pytest.mark.scenario(17)
@pytest.mark.nrf91_route("recovery")
@pytest.mark.nrf91_virtual("somebody must let the button go when the upload is done")
def test_mcuboots_serial_recovery_takes_an_image_that_then_boots(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_faults: BoardFaults
) -> None:
    def let_go(event: UpdateEvent) -> None:
        if isinstance(event, StageStarted) and event.stage is Stage.REBOOT:
            nrf91_faults.release_button()

    story = nrf91_update(nrf91_images.newer, on_event=let_go)
    assert story.outcome is Outcome.SUCCEEDED
    assert same_version(nrf91_board.identify().application_version, version_of(nrf91_images.newer))


@pytest.mark.scenario(18)
def test_every_stage_is_told_once_in_order_and_progress_never_goes_back(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    job = nrf91_deploy(nrf91_images.newer)
    seen: list[tuple[int, str]] = []

    def look(_event: UpdateEvent) -> None:
        view = job.cloud
        seen.append((view.version, view.details.get("stage", "")))

    done = job.work(on_event=look)
    assert done.story.stages == [
        "fetch",
        "check",
        "transfer",
        "schedule",
        "reboot",
        "verify",
        "confirm",
        "done",
    ]
    assert done.story.times_s == sorted(done.story.times_s)
    counts = [event.done_bytes for event in done.story.events if isinstance(event, Progress)]
    assert counts == sorted(counts)
    assert counts[-1] == nrf91_images.newer.stat().st_size
    versions = [version for version, _ in seen]
    assert versions == sorted(versions)
    stages = list(dict.fromkeys(stage for _, stage in seen if stage))
    assert stages == [stage for stage in done.story.stages if stage in stages]
    assert {"fetch", "schedule", "reboot"} <= set(stages)  # milestones are always told
    assert done.cloud.details["stage"] == "done"


@pytest.mark.scenario(19)
@pytest.mark.nrf91_lab_cloud
def test_a_thing_that_was_registered_a_moment_ago_works_its_first_job(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, lab: LabCloud, tmp_path: Path
) -> None:
    thing = lab.add_thing(f"fresh-{tmp_path.name}-{time.time_ns()}")
    bench = JobBench(nrf91_board, lab, thing, tmp_path / "fresh", lambda _story: None)
    assert bench(nrf91_images.newer).work().status == "SUCCEEDED"


_TAG = 16_842_700
_CREDENTIAL = "-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----"


@pytest.mark.scenario(20)
def test_identity_and_credentials_survive_an_update(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    mode = nrf91_board.modem.functional_mode()
    nrf91_board.modem.set_functional_mode(4)
    nrf91_board.at(f'AT%CMNG=0,{_TAG},0,"{_CREDENTIAL}"')
    try:
        before, stored = nrf91_board.identify(), nrf91_board.at(f"AT%CMNG=1,{_TAG}")
        assert nrf91_deploy(nrf91_images.newer).work().status == "SUCCEEDED"
        after = nrf91_board.identify()
        assert nrf91_board.at(f"AT%CMNG=1,{_TAG}") == stored
        assert any(str(_TAG) in line for line in stored)
        assert (after.imei, after.device_uuid, after.modem_version) == (
            before.imei,
            before.device_uuid,
            before.modem_version,
        )
    finally:
        nrf91_board.modem.set_functional_mode(4)
        nrf91_board.at(f"AT%CMNG=3,{_TAG},0")
        nrf91_board.modem.set_functional_mode(mode)


def test_the_package_of_a_build_is_unpacked(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    """The file that an nRF Connect SDK build leaves in its directory."""
    package = nrf91_images.package(nrf91_images.newer)
    assert inspect_file(package).kind == "dfu-package"
    assert nrf91_update(package).outcome is Outcome.SUCCEEDED


def test_a_dry_run_checks_everything_and_writes_nothing(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    before = nrf91_board.version()
    story = nrf91_update(nrf91_images.newer, check_only=True)
    assert (story.outcome, story.wrote) == (Outcome.SUCCEEDED, 0)
    report: BootReport = nrf91_board.reset()
    assert report.duration_s > 0
    assert nrf91_board.version() == before
