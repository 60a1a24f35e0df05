"""The power fails at a flash operation of one update: erase, write, swap, revert, and the modem's own.

Here every few operations; all of them are ``nrf91-bridge campaign --every-power-cut --workers 2`` (5 minutes).
"""

import pytest

from bridge.lab.campaign.runner import Workshop
from bridge.lab.campaign.scenario import SCENARIOS, Images, Scenario
from hil_tests.faults.conftest import story

EVERY = 17


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_board_boots_a_whole_image_and_takes_the_next_update(images: Images, scenario: Scenario) -> None:
    workshop = Workshop(images)
    plans = list(workshop.every_power_cut(scenario))
    chosen = {
        *range(0, len(plans), min(EVERY, max(1, len(plans) // 6))),
        *range(max(0, len(plans) - 6), len(plans)),
    }
    for number in sorted(chosen):
        result = workshop.carry_out(plans[number])
        assert not result.broken, story(result)
