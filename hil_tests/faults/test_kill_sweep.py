"""A slice of the kill sweep; the whole of it is run by hand, see :mod:`hil_tests.faults.kill_sweep`."""

from pathlib import Path

import pytest

from hil_tests.faults.kill_sweep import Sweep
from hil_tests.faults.sweep_plan import KILL_EVENTS, Kind, make_plan

SEED = 20
KINDS = (Kind.GOOD, Kind.WRONG_KEY, Kind.UNCONFIRMED, Kind.SAME_VERSION)


@pytest.mark.timeout(600)
def test_an_agent_that_is_killed_in_every_stage_ends_each_job_truthfully(tmp_path: Path) -> None:
    result = Sweep(tmp_path, make_plan(SEED, len(KILL_EVENTS), KINDS), say=print).run()
    assert result.faults == []
    assert sum(result.kills.values()) >= len(KILL_EVENTS)
    assert len(result.kills) >= 5, "the kills are not spread over the stages"


def test_a_plan_is_the_same_for_the_same_seed_and_kills_in_every_stage() -> None:
    plan = make_plan(7, 120)
    assert plan == make_plan(7, 120)
    assert plan != make_plan(8, 120)
    kills = [kill for point in plan for kill in point.kills]
    assert len(kills) >= 120
    assert {kill.event for kill in kills} == set(KILL_EVENTS)
    assert {point.kind for point in plan} == set(Kind)
    assert plan[-1].kills == ()
