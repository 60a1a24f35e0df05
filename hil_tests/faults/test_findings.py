"""What campaigns have found, each as the run that showed it: the mishaps stay, whatever seeds may mean some day."""

import pytest

from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.run import carry_out
from bridge.lab.campaign.scenario import SCENARIOS, Images
from bridge.virtual.flash import Tear
from hil_tests.faults.conftest import story

_BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
K = MishapKind

FINDINGS = {
    "the port goes away while the image is scheduled, so that it cannot be taken back": (
        "smp/application",
        Mishap(K.USB_RENAMED, 3206, lasts_s=60.0),
    ),
    "the port goes away while the modem applies a delta": (
        "xdfu/modem-delta",
        Mishap(K.USB_RENAMED, 42_687, lasts_s=2.0),
    ),
    "the supply fails between the proof and the confirmation": (
        "xdfu/application",
        Mishap(K.POWER_AT_TIME, 4870, lasts_s=60.0),
    ),
    "the supply fails for longer than a reset may take": (
        "xdfu/bootloader",
        Mishap(K.POWER_AT_TIME, 3667, lasts_s=400.0),
    ),
    "an answer that is very late shifts all that follow": (
        "xdfu/modem-delta",
        Mishap(K.REPLY_LATE, 10),
    ),
    "an answer that comes twice shifts all that follow": (
        "xdfu/application",
        Mishap(K.REPLY_DOUBLED, 36),
    ),
    "an IMEI with a digit too many makes it another board": (
        "xdfu/modem-delta",
        Mishap(K.BYTE_DOUBLED, 162, to_host=True),
        Mishap(K.USB_RENAMED, 2688, lasts_s=60.0),
    ),
    "the request to restart is lost, so that the board answers as if it were back": (
        "smp/application",
        Mishap(K.USB_RENAMED, 3250, lasts_s=2.0),
    ),
    "the last answer of an upload into the slot that runs is lost": (
        "recovery/application",
        Mishap(K.POWER_AT_TIME, 3721, lasts_s=2.0),
    ),
    "the board is led back into recovery to be asked for a confirmation that only its application can give": (
        "recovery/application",
        Mishap(K.BURST_LOST, 1810, to_host=True, size=300),
    ),
    "an image that waits in the secondary slot is not seen from recovery": (
        "recovery/application-direct",
        Mishap(K.BURST_LOST, 1645, to_host=True, size=2000),
    ),
    "the image goes back while it is being confirmed, and the old one is confirmed": (
        "smp/application",
        Mishap(K.POWER_AT_FLASH, 132, lasts_s=0.3, tear=Tear.BEFORE),
    ),
    "a torn trailer hides the revert, and Zephyr says that the next image is pending already": (
        "smp/application-unconfirmed",
        Mishap(K.POWER_AT_FLASH, 135, lasts_s=0.3, tear=Tear.HALF),
    ),
    "a modem that tells no version over SMP is lost when its firmware is whole": (
        "modem-smp/modem-full",
        Mishap(K.POWER_AT_TIME, 9087, lasts_s=400.0),
    ),
    "a digit too many in the version that is read last goes to the cloud": (
        "xdfu/modem-full",
        Mishap(K.BYTE_DOUBLED, 1270, to_host=True),
    ),
    "the session is taken over when the image is scheduled already": (
        "smp/application",
        Mishap(K.SESSION_TAKEN, 10, lasts_s=60.0),
    ),
    "the request to restart is spoilt, so that the board refuses it with the image scheduled": (
        "xdfu/bootloader",
        Mishap(K.BYTE_FLIPPED, 7300),
    ),
    "the supply fails before the modem's flash can be compared with what was sent": (
        "modem-smp/modem-full",
        Mishap(K.POWER_AT_BYTE, 3697, to_host=True, lasts_s=0.3),
    ),
    "the reset that shows whether an unconfirmed image stays is lost": (
        "xdfu/application-unconfirmed",
        Mishap(K.BURST_LOST, 17_334, size=40),
    ),
    "a modem that was written once more for a power cut is lost again when its firmware is whole": (
        "xdfu/modem-full-silent",
        Mishap(K.BURST_LOST, 1464, to_host=True, size=300),
        Mishap(K.POWER_IN_MODEM, 4, lasts_s=60.0, tear=Tear.AFTER),
    ),
}


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_stays_fixed(images: Images, finding: str) -> None:
    name, *mishaps = FINDINGS[finding]
    plan = Plan(1, _BY_NAME[str(name)], tuple(each for each in mishaps if isinstance(each, Mishap)))
    result = carry_out(plan, images)
    assert not result.broken, story(result)
