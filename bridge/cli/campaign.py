"""``nrf91-bridge campaign``: updates by the thousand in simulated time, with everything going wrong that can."""

import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json
from bridge.errors import VerificationError

if TYPE_CHECKING:
    from bridge.lab.campaign.plan import Plan
    from bridge.lab.campaign.report import Report
    from bridge.lab.campaign.run import RunResult
    from bridge.lab.campaign.runner import Workshop
    from bridge.lab.campaign.scenario import Scenario

_USUAL_COUNT = 200
_SHOWN_BROKEN = 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("campaign")(campaign)


def campaign(
    seed: Annotated[int, typer.Option("--seed", min=1, help="First seed; each run has the next one.")] = 1,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help=f"How many runs; {_USUAL_COUNT} unless you say.")
    ] = None,
    route: Annotated[
        str | None, typer.Option("--route", help="Only this route: xdfu, smp, recovery or modem-smp.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only this kind of image, such as application or modem-delta."),
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="On how many processes.")] = 1,
    every_power_cut: Annotated[
        bool,
        typer.Option(
            "--every-power-cut",
            help="No dice: cut the power at every flash operation of one update, torn in each way.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run updates of virtual boards in simulated time, let things go wrong, and see that nothing is lost or untrue.

    One run alone (--count 1) shows its timeline.
    """
    use_json(json)
    from bridge.lab.campaign.report import Report  # noqa: PLC0415 - nobody else pays for the lab
    from bridge.lab.campaign.runner import Workshop, carry_out_all  # noqa: PLC0415
    from bridge.lab.campaign.scenario import Images, choose  # noqa: PLC0415

    scenarios = choose(route, kind)
    report = Report()
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="nrf91-campaign-images-") as directory:
        workshop = Workshop(Images(Path(directory)))
        plans = list(_plans(workshop, scenarios, seed, count, every_power_cut=every_power_cut))
        if count == 1:
            _show_one(workshop, plans[0], report, json=json)
        else:
            filters = [f"--{name}={value}" for name, value in (("route", route), ("kind", kind)) if value]
            with console.status("") as status:
                for result in carry_out_all(plans, Path(directory), workers=workers):
                    report.take(result)
                    status.update(f"{report.runs} of {len(plans)} runs, {len(report.broken)} broken")
                    if result.broken and len(report.broken) <= _SHOWN_BROKEN:
                        _show_broken(
                            result, _replay(result.plan, filters, by_seed=not every_power_cut), json=json
                        )
            _show_report(report, time.monotonic() - began_s, json=json)
    if report.broken:
        raise VerificationError(
            f"{len(report.broken)} of {report.runs} runs broke an invariant", reason="invariant-broken"
        )


def _plans(
    workshop: "Workshop",
    scenarios: "tuple[Scenario, ...]",
    seed: int,
    count: int | None,
    *,
    every_power_cut: bool,
) -> "Iterator[Plan]":
    if not every_power_cut:
        yield from (workshop.draw(each, scenarios) for each in range(seed, seed + (count or _USUAL_COUNT)))
        return
    for scenario in scenarios:
        cuts = list(workshop.every_power_cut(scenario))
        yield from cuts[seed - 1 : None if count is None else seed - 1 + count]


def _replay(plan: "Plan", filters: list[str], *, by_seed: bool) -> str:
    """The one command that does a run again, with its timeline."""
    if not by_seed:
        filters = [f"--route={plan.scenario.route}", f"--kind={plan.scenario.kind}", "--every-power-cut"]
    return shlex.join(["nrf91-bridge", "campaign", f"--seed={plan.seed}", "--count=1", *filters])


def _show_one(workshop: "Workshop", plan: "Plan", report: "Report", *, json: bool) -> None:
    result = workshop.carry_out(plan)
    report.take(result)
    if json:
        emit_json(_run_event(result))
        return
    out.print(str(plan), soft_wrap=True)
    for line in result.timeline:
        out.print(line, soft_wrap=True)
    out.print(f"{result.outcome}; {'; '.join(result.broken) or 'all invariants hold'}", soft_wrap=True)


def _show_broken(result: "RunResult", replay: str, *, json: bool) -> None:
    if json:
        emit_json({**_run_event(result), "replay": replay})
        return
    console.print(f"seed {result.plan.seed}: {result.plan}", style="red", soft_wrap=True)
    for text in result.broken:
        console.print(f"  {text}", soft_wrap=True)
    for line in result.timeline:
        console.print(f"    {line}", soft_wrap=True)
    console.print(f"  again: {replay}", soft_wrap=True)


def _run_event(result: "RunResult") -> dict[str, object]:
    plan = result.plan
    return {
        "event": "campaign-run",
        "seed": plan.seed,
        "scenario": plan.scenario.name,
        "mishaps": [str(mishap) for mishap in plan.mishaps],
        "outcome": result.outcome,
        "broken": list(result.broken),
        "simulated_s": round(result.simulated_s, 3),
        "timeline": list(result.timeline),
    }


def _show_report(report: "Report", duration_s: float, *, json: bool) -> None:
    rate = 60 * report.runs / duration_s
    if json:
        emit_json(
            {
                "event": "campaign",
                **report.to_dict(),
                "duration_s": round(duration_s, 1),
                "runs_per_minute": round(rate),
            }
        )
        return
    for title, rows in (("mishap", report.rows), ("update", report.scenarios)):
        table = Table(title, box=None)
        for column in report.columns:
            table.add_column(column, justify="right")
        for row in rows:
            table.add_row(row, *(str(each) if each else "·" for each in report.counts(row)))
        out.print(table)
    out.print(
        f"{report.runs} runs, {len(report.broken)} broke an invariant; {report.simulated_s / 3600:.1f} simulated hours in"
        f" {duration_s:.0f} s, {rate:.0f} runs a minute",
        soft_wrap=True,
    )
