"""What comes between: networks, brokers, supplies, cables, processes. Updates end well or honestly; boards stay whole."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from bridge.cloud import Connection
from bridge.fetch import DownloadOptions
from bridge.fota import Notice, Outcome, Stage
from bridge.fota.versions import modem_release, same_version
from bridge.lab.image_faults import ImageFault
from bridge.pytest_plugin.cloud import LabCloud
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.faults import BoardFaults
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.updates import Story, Updater
from bridge.virtual.faults import FaultPlan
from hil_tests.scenarios.rounds import FAST, bytes_written, once, started, version_of

pytestmark = pytest.mark.nrf91_route("xdfu")


def ranges_of(lab: LabCloud, name: str) -> list[str | None]:
    return [request.range for request in lab.local.images.requests if request.name == name]


# --- the way to the image server ---------------------------------------------------------------------------------


@pytest.mark.scenario(21)
@pytest.mark.nrf91_lab_cloud
def test_a_download_that_is_cut_once_goes_on_where_it_broke(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    image = nrf91_images.newer
    half = image.stat().st_size // 2
    lab.local.images.faults.add(image.name, ImageFault(cut_after_bytes=half))
    before = len(ranges_of(lab, image.name))
    assert nrf91_deploy(image).work(download=FAST).status == "SUCCEEDED"
    first, second = ranges_of(lab, image.name)[before:]
    assert (first or "bytes=0-").startswith("bytes=0-")
    assert second is not None
    assert second.startswith(f"bytes={half}-")


@pytest.mark.scenario(22)
@pytest.mark.nrf91_lab_cloud
def test_a_download_that_is_cut_early_and_late_fetches_no_byte_twice(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    image = nrf91_images.newer
    early, late = image.stat().st_size // 5, 4 * image.stat().st_size // 5
    for fault in (ImageFault(cut_after_bytes=early), ImageFault(cut_after_bytes=late - early)):
        lab.local.images.faults.add(image.name, fault)
    before = len(ranges_of(lab, image.name))
    assert nrf91_deploy(image).work(download=FAST).status == "SUCCEEDED"
    starts = [
        int((found or "bytes=0-")[6:].partition("-")[0]) for found in ranges_of(lab, image.name)[before:]
    ]
    assert starts == [0, early, late]


@pytest.mark.scenario(26)
@pytest.mark.nrf91_lab_cloud
def test_a_server_that_cannot_resume_is_asked_for_the_whole_file_again(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    image = nrf91_images.newer
    lab.local.images.faults.add(image.name, ImageFault(cut_after_bytes=20_000))
    lab.local.images.faults.add(image.name, ImageFault(ignore_range=True))
    assert nrf91_deploy(image).work(download=FAST).status == "SUCCEEDED"


@pytest.mark.scenario(28)
@pytest.mark.nrf91_lab_cloud
@pytest.mark.parametrize(("failures", "status"), [(2, "SUCCEEDED"), (None, "FAILED")])
def test_a_long_outage_is_ridden_out_or_given_up_after_a_bounded_number_of_tries(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_deploy: JobBench,
    lab: LabCloud,
    failures: int | None,
    status: str,
) -> None:
    image = nrf91_images.newer
    lab.local.images.faults.add(image.name, ImageFault(status=503, times=failures))
    before = len(ranges_of(lab, image.name))
    done = nrf91_deploy(image).work(download=FAST)
    assert done.status == status
    assert len(ranges_of(lab, image.name)) - before <= FAST.retries + 2
    if status == "FAILED":
        assert done.reason == "http-503"
        assert done.story.wrote == 0


# --- the way to the broker ---------------------------------------------------------------------------------------


@pytest.mark.scenario(23)
@pytest.mark.nrf91_lab_cloud
def test_a_session_that_another_client_took_over_is_taken_back_and_the_job_ends_well(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    def intrude() -> None:
        with Connection(nrf91_deploy.thing.endpoint):
            pass  # the same certificate and the same client id: the broker throws the first one out

    done = nrf91_deploy(nrf91_images.newer).work(on_event=once(bytes_written, intrude))
    assert done.status == "SUCCEEDED"
    assert done.story.attempts == 1  # the board never noticed


@pytest.mark.scenario(24)
@pytest.mark.nrf91_lab_cloud
def test_a_job_that_was_cancelled_while_the_bridge_was_cut_off_is_not_installed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    before = nrf91_board.version()
    job = nrf91_deploy(nrf91_images.newer)

    def cut_and_cancel() -> None:
        lab.local.broker.cut(nrf91_deploy.thing.endpoint.client_id)
        job.cancel(force=True)

    done = job.work(on_event=once(bytes_written, cut_and_cancel))
    assert (done.status, done.story.outcome) == ("CANCELED", Outcome.CANCELED)
    nrf91_board.reset()
    assert nrf91_board.version() == before


# --- the board ---------------------------------------------------------------------------------------------------


@pytest.mark.scenario(25)
@pytest.mark.nrf91_power
def test_a_board_that_loses_its_power_during_the_transfer_is_written_again_and_succeeds(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    cycle = once(bytes_written, nrf91_board.power.cycle)
    done = nrf91_deploy(nrf91_images.newer).work(on_event=cycle, transfer_baud=0)
    if done.status != "SUCCEEDED":
        assert done.story.error is not None
        assert done.story.error.exit_code in {4, 6}
        done = nrf91_deploy(nrf91_images.newer).work()
    assert done.status == "SUCCEEDED"
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


@pytest.mark.scenario(27)
@pytest.mark.nrf91_virtual("the board reports that it could not write a chunk")
@pytest.mark.nrf91_build(faults=FaultPlan(failing_writes=frozenset({2})))
def test_a_chunk_that_the_board_could_not_write_costs_a_new_transfer_and_nothing_else(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    done = nrf91_deploy(nrf91_images.newer).work()
    assert done.status == "SUCCEEDED"
    assert done.story.attempts >= 2


@pytest.mark.scenario(29)
@pytest.mark.parametrize("operation", [30, 111, 400])
def test_a_power_cut_anywhere_between_schedule_and_confirmation_leaves_a_whole_image(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_update: Updater,
    nrf91_faults: BoardFaults,
    operation: int,
) -> None:
    before, after = nrf91_board.version(), version_of(nrf91_images.newer)
    nrf91_faults.power_returns()
    arm = once(started(Stage.SCHEDULE), lambda: nrf91_faults.power_cut_at_flash_operation(operation))
    story = nrf91_update(nrf91_images.newer, on_event=arm)
    running = nrf91_board.version()
    assert same_version(running, before) or same_version(running, after)
    if story.outcome is Outcome.SUCCEEDED:
        assert same_version(running, after)
    else:
        assert nrf91_update(nrf91_images.newer, allow_same_version=True).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(30)
def test_a_swap_that_loses_its_power_is_finished_at_the_next_start(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_faults: BoardFaults
) -> None:
    nrf91_faults.power_returns()
    arm = once(started(Stage.REBOOT), lambda: nrf91_faults.power_cut_at_flash_operation(60))
    story = nrf91_update(nrf91_images.newer, on_event=arm)
    assert nrf91_faults.count("power-off") == 1
    assert story.outcome is Outcome.SUCCEEDED
    assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


# --- the cable ---------------------------------------------------------------------------------------------------


@pytest.mark.scenario(31)
def test_a_cable_that_is_pulled_is_told_with_stage_and_offset_and_the_next_run_succeeds(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_faults: BoardFaults
) -> None:
    before = nrf91_board.version()
    story = nrf91_update(nrf91_images.newer, on_event=once(bytes_written, nrf91_faults.unplug))
    assert story.outcome is Outcome.FAILED
    assert story.error is not None
    assert (story.error.exit_code, story.error.stage) == (4, "transfer")
    assert story.error.offset is not None
    assert 0 < story.error.offset < nrf91_images.newer.stat().st_size
    nrf91_faults.plug()
    assert nrf91_board.version() == before
    assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(32)
@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("xdfu", "drop"),
        ("xdfu", "flip"),
        ("xdfu", "duplicate"),
        pytest.param("smp", "flip", marks=pytest.mark.nrf91_route("smp")),
    ],
)
def test_a_byte_that_is_hit_on_the_line_never_becomes_running_firmware(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_update: Updater,
    nrf91_faults: BoardFaults,
    fault: str,
    route: str,
) -> None:
    before = nrf91_board.identify().application_version
    hit = once(bytes_written, lambda: nrf91_faults.to_board(5_000, fault))
    story = nrf91_update(nrf91_images.newer, transport=route, on_event=hit)
    if story.outcome is Outcome.SUCCEEDED:
        assert same_version(nrf91_board.identify().application_version, version_of(nrf91_images.newer))
    else:  # over #XDFU nothing checks a byte before MCUboot does, and that refuses the whole
        assert (route, story.reason) == ("xdfu", "rejected-by-bootloader")
        assert nrf91_board.identify().application_version == before
        assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(34)
def test_a_port_that_comes_back_under_another_name_at_the_reboot_is_followed(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_faults: BoardFaults
) -> None:
    names = []

    def re_enumerate() -> None:
        names.append(str(nrf91_faults.link.resolve()))
        nrf91_faults.unplug()
        threading.Timer(0.2, nrf91_faults.plug).start()

    story = nrf91_update(nrf91_images.newer, on_event=once(started(Stage.REBOOT), re_enumerate))
    assert story.outcome is Outcome.SUCCEEDED
    assert len(names) == 1


# --- this host ---------------------------------------------------------------------------------------------------


def bridge_process(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "bridge", *arguments, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(running: "subprocess.Popen[str]", when: Callable[[dict[str, Any]], bool]) -> bool:
    """Kill a process at an event; whether it came."""
    assert running.stdout is not None
    killed = False
    for line in running.stdout:
        if not killed and when(json.loads(line)):
            running.kill()
            killed = True
    running.communicate(timeout=60)
    return killed


def flash_arguments(device: DeviceUnderTest, image: object) -> tuple[str, ...]:
    spec = device.bench_board
    flow = "--flow-control" if spec.flow_control else "--no-flow-control"
    return ("flash", str(image), "--port", device.port, "--baud", str(spec.baud), flow)


@pytest.mark.scenario(33)
@pytest.mark.nrf91_build(timing="real", ideal_flash=True)
def test_a_bridge_that_is_killed_in_the_transfer_leaves_a_board_that_the_next_run_updates(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    before = nrf91_board.version()
    with nrf91_board.released():
        running = bridge_process(
            *flash_arguments(nrf91_board, nrf91_images.newer), "--transfer-baud", "460800"
        )
        assert kill_when(running, lambda event: event["event"] == "progress" and event["done_bytes"] > 0)
    assert nrf91_board.version() == before  # out of data mode again
    assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED


@pytest.mark.scenario(35)
@pytest.mark.nrf91_kind("modem-full")
@pytest.mark.nrf91_power
@pytest.mark.nrf91_slow
def test_a_full_modem_update_that_is_cut_off_was_announced_and_is_repaired_by_repeating_it(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    release = nrf91_images.modem_full(nrf91_board.modem.version())
    story: Story = nrf91_update(release, on_event=once(bytes_written, nrf91_board.power.cycle))
    told = [event.text for event in story.events if isinstance(event, Notice)]
    assert any("point of no return" in text for text in told)
    if story.outcome is not Outcome.SUCCEEDED:
        assert nrf91_board.identify().modem_bootloader
        story = nrf91_update(release)
    assert story.outcome is Outcome.SUCCEEDED
    assert modem_release(nrf91_board.modem.version()) == story.finished.to_version


@pytest.mark.scenario(71)
@pytest.mark.nrf91_lab_cloud
def test_a_download_that_stalls_for_too_long_is_told_and_the_next_job_may_try_again(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, lab: LabCloud
) -> None:
    image = nrf91_images.newer
    lab.local.images.faults.add(image.name, ImageFault(stall_after_bytes=1_000, times=None))
    impatient = DownloadOptions(
        read_timeout_s=0.3, no_progress_timeout_s=0.8, first_backoff_s=0.01, retries=3
    )
    done = nrf91_deploy(image).work(download=impatient)
    assert (done.status, done.reason) == ("FAILED", "stalled")
    lab.local.images.faults.clear()
    assert nrf91_deploy(image).work().status == "SUCCEEDED"
