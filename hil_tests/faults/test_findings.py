"""What campaigns have found, each as the run that showed it: the mishaps stay, whatever seeds may mean some day."""

import pytest

from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.run import carry_out
from bridge.lab.campaign.scenario import SCENARIOS, Images

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
    "the session is taken over when the image is scheduled already": (
        "smp/application",
        Mishap(K.SESSION_TAKEN, 10, lasts_s=60.0),
    ),
}


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_stays_fixed(images: Images, finding: str) -> None:
    name, *mishaps = FINDINGS[finding]
    plan = Plan(1, _BY_NAME[str(name)], tuple(each for each in mishaps if isinstance(each, Mishap)))
    result = carry_out(plan, images)
    assert not result.broken, "\n".join((str(plan), *result.timeline, *result.broken))
