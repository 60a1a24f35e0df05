"""Is it really there, and does it stay? Confirmation, rollback, proof by two sources, and what the modem says of itself."""

from collections.abc import Callable

import pytest

from bridge.fota import Outcome
from bridge.fota.versions import modem_release, same_version
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.log import BoardLog
from bridge.pytest_plugin.updates import Updater
from hil_tests.scenarios.rounds import version_of

pytestmark = pytest.mark.nrf91_route("xdfu")

BOOT_MARGIN = 3.0
BOOT_SLACK_S = 5.0


@pytest.mark.scenario(73)
@pytest.mark.nrf91_virtual("an application that never confirms itself is built for the test")
def test_an_image_that_is_not_confirmed_is_gone_after_the_next_reset_and_the_job_fails(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    image = nrf91_images.build.application("2.0.0", behaviour={"confirm": False})
    done = nrf91_deploy(image).work(confirm_timeout_s=0.5)
    assert (done.status, done.reason) == ("FAILED", "reverted")
    assert nrf91_board.version() == before


@pytest.mark.scenario(74)
def test_a_confirmed_image_stays_after_two_resets(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater
) -> None:
    assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED
    for _ in range(2):
        nrf91_board.reset()
        assert same_version(nrf91_board.version(), version_of(nrf91_images.newer))


@pytest.mark.scenario(75)
@pytest.mark.nrf91_virtual(
    "an application that confirms itself only with a network, and finds none, is built for the test"
)
def test_an_application_that_finds_no_network_and_so_does_not_confirm_itself_is_rolled_back(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.version()
    image = nrf91_images.build.application("2.0.0", behaviour={"registers": False, "confirm": False})
    done = nrf91_deploy(image).work(confirm_timeout_s=0.5)
    assert (done.status, done.reason) == ("FAILED", "reverted")
    assert nrf91_board.version() == before


@pytest.mark.scenario(78)
def test_cloud_and_board_agree_on_the_version_and_neither_took_it_from_the_other(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench, nrf91_log: BoardLog
) -> None:
    done = nrf91_deploy(nrf91_images.newer).work()
    mark = nrf91_log.mark()
    identity = nrf91_board.identify()
    assert done.status == "SUCCEEDED"
    assert same_version(done.cloud.details["running_version"], identity.application_version)
    nrf91_log.wait_for(r"#XSMVER: ", since=mark)  # it was asked, just now


@pytest.mark.scenario(79)
def test_nothing_in_the_board_s_log_tells_of_a_crash_and_it_was_reset_no_more_than_asked(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_log: BoardLog
) -> None:
    nrf91_board.identify()  # what a start before the test had to say has come by then
    mark = nrf91_log.mark()
    assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED
    assert nrf91_log.faults() == []
    asked = sum(chunk.data.count(b"AT#XRESET") for chunk in nrf91_log.chunks if chunk.direction == "out")
    assert 1 <= nrf91_log.text[mark:].count("Ready\r\n") <= asked


@pytest.mark.scenario(81)
@pytest.mark.nrf91_kind("modem-delta")
@pytest.mark.nrf91_network
@pytest.mark.nrf91_slow
def test_the_modem_attaches_after_a_delta(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_log: BoardLog
) -> None:
    assert nrf91_update(nrf91_images.modem_delta(nrf91_board.modem.version())).outcome is Outcome.SUCCEEDED
    nrf91_board.modem.subscribe_registration(1)
    mark = nrf91_log.mark()
    nrf91_board.modem.set_functional_mode(1)
    nrf91_log.wait_for(r"\+CEREG: [15]", timeout_s=120, since=mark)
    assert nrf91_board.modem.registration().registered


@pytest.mark.scenario(82)
@pytest.mark.nrf91_virtual("a delta that the modem refuses with a result of its own is built for the test")
def test_the_result_of_a_refused_delta_is_read_and_told_and_the_modem_is_back(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    before = nrf91_board.modem.version()
    base = modem_release(before)
    assert base is not None
    delta = nrf91_images.build.modem_delta(base, "2.0.9", result=0x4400003)
    done = nrf91_deploy(delta).work()
    assert (done.status, done.reason) == ("FAILED", "modem-auth-error")
    assert nrf91_board.modem.version() == before
    assert nrf91_board.modem.manufacturer() == "Nordic Semiconductor ASA"


@pytest.mark.scenario(83)
def test_the_new_application_is_back_about_as_soon_as_the_old_one(
    nrf91_board: DeviceUnderTest,
    nrf91_images: Images,
    nrf91_update: Updater,
    measured: Callable[[str, object], None],
) -> None:
    before_s = nrf91_board.reset().duration_s
    assert nrf91_update(nrf91_images.newer).outcome is Outcome.SUCCEEDED
    after_s = nrf91_board.reset().duration_s
    measured("boot_before_s", round(before_s, 3))
    measured("boot_after_s", round(after_s, 3))
    assert after_s < BOOT_MARGIN * before_s + BOOT_SLACK_S
