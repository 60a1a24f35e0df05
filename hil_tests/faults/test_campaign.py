"""A slice of the campaign, for every change: each scenario with some seeds, and the tools around it.

The whole is ``nrf91-bridge campaign --seed 1 --count 20000 --workers 2``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.lab.campaign.mishap import Mishap, MishapKind
from bridge.lab.campaign.plan import Plan
from bridge.lab.campaign.report import Report
from bridge.lab.campaign.run import RunResult, carry_out
from bridge.lab.campaign.runner import Workshop
from bridge.lab.campaign.scenario import SCENARIOS, Images, Scenario, choose
from bridge.virtual.flash import Tear
from hil_tests.faults.conftest import story

SEEDS_EACH = 18
FIRST_SEED = 500_000

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


@pytest.fixture(scope="module")
def workshop(images: Images) -> Workshop:
    return Workshop(images)


@every_scenario
def test_an_update_without_mishaps_succeeds_unless_nobody_confirms_it(
    workshop: Workshop, scenario: Scenario
) -> None:
    result = workshop.carry_out(Plan(1, scenario))
    assert not result.broken, story(result)
    assert result.outcome == ("FAILED (reverted)" if scenario.reverts else "SUCCEEDED")


@every_scenario
def test_whatever_goes_wrong_nothing_is_lost_and_nobody_is_lied_to(
    workshop: Workshop, scenario: Scenario
) -> None:
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS_EACH):
        result = workshop.carry_out(workshop.draw(seed, (scenario,)))
        assert not result.broken, story(result)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_a_seed_is_the_same_run_in_every_process(workshop: Workshop, hash_seed: str) -> None:
    """Seed 500003 of all scenarios: whichever that is, it must not depend on how this process shuffles its sets."""
    arguments = ["campaign", "--seed", "500003", "--count", "1"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "COLUMNS": "200"}
    shown = subprocess.run(
        [sys.executable, "-m", "bridge", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    result = workshop.carry_out(workshop.draw(500_003, SCENARIOS))
    assert shown[0] == str(result.plan)
    assert [line.split() for line in shown[1:-1]] == [line.split() for line in result.timeline]


def test_kills_and_power_cuts_do_strike(images: Images) -> None:
    """The invariants would hold just as well if nothing ever went wrong."""
    scenario = choose("xdfu", "application")[0]
    mishaps = (
        Mishap(MishapKind.HOST_KILLED, 600),
        Mishap(MishapKind.POWER_AT_FLASH, 70, lasts_s=2.0, tear=Tear.HALF),
        Mishap(MishapKind.BROKER_LOST, 6, lasts_s=2.0),
        Mishap(MishapKind.HTTP_RESET, 1, size=5000),
    )
    told = "\n".join(carry_out(Plan(1, scenario, mishaps), images).timeline)
    for sign in ("was killed step=600", "power cut, for 2 s", "broker lost", "HTTP reset 1"):
        assert sign in told


def test_a_lie_would_be_noticed(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that says SUCCEEDED whatever the proof says."""
    monkeypatch.setattr("bridge.fota.proving.Proving._check", lambda self, report: None)
    monkeypatch.setattr("bridge.fota.at_proofs.ApplicationProof.confirm", lambda *_: iter(()))
    scenario = choose("xdfu", "application-unconfirmed")[0]
    result = carry_out(Plan(1, scenario), images)
    assert any("told SUCCEEDED, but the board runs 1.0.0" in text for text in result.broken)


def test_a_report_counts_by_mishap_and_by_update(images: Images) -> None:
    scenario = choose("xdfu", "modem-delta")[0]
    plan = Plan(7, scenario, (Mishap(MishapKind.REPLY_LOST, 3), Mishap(MishapKind.BROKER_LOST, 2)))
    report = Report()
    for outcome, broken in (("SUCCEEDED", ()), ("FAILED (no-answer)", ()), ("SUCCEEDED", ("a lie",))):
        report.take(RunResult(plan, outcome, broken, (), 10.0))
    report.take(RunResult(Plan(8, scenario), "SUCCEEDED", (), (), 5.0))
    assert report.columns == ["runs", "SUCCEEDED", "FAILED", "broken"]
    assert report.rows == ["nothing", "reply lost", "broker lost"]
    assert report.counts("reply lost") == [3, 2, 1, 1]
    assert report.counts("xdfu/modem-delta") == [4, 3, 1, 1]
    assert report.to_dict()["simulated_s"] == 35.0


def test_the_command_shows_tables_and_refuses_what_does_not_exist(tmp_path: Path) -> None:
    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "bridge", "campaign", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

    done = command("--route", "xdfu", "--kind", "application", "--count", "4", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "4 runs, 0 broke an invariant" in done.stdout
    assert "xdfu/application" in done.stdout
    refused = command("--route", "smp", "--kind", "modem-delta")
    assert refused.returncode == 2
    assert "unknown-scenario" in refused.stderr
