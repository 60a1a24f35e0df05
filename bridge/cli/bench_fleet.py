"""``nrf91-bridge bench fleet``: many boards in one process against one."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, print_table, use_json
from bridge.errors import BenchError

if TYPE_CHECKING:
    from bridge.lab.benchmark.fleet import FleetRun


def fleet(
    boards: Annotated[int, typer.Option(min=1, help="How many boards are compared to one.")] = 50,
    baud: Annotated[int, typer.Option(help="Bit rate of the boards.")] = 115_200,
    size_kib: Annotated[int, typer.Option("--size-kib", min=8, help="Image size in KiB.")] = 128,
    json: JsonOption = False,
) -> None:
    """Measure how much longer the jobs of many virtual boards take than one, in one bridge process.

    Boards and cloud run beside it on this machine, in processes of their own; on a real bench they do not. A high number of
    late events says that this machine was too busy for the boards, and that the figures are worth little.
    """
    use_json(json)
    from bridge.lab.benchmark.fleet import FleetSetup, measure_fleet  # noqa: PLC0415

    runs: list[FleetRun] = []
    for run in measure_fleet(FleetSetup(boards, baud, 1024 * size_kib)):
        runs.append(run)
        if json:
            ratio = round(run.seconds / runs[0].seconds, 3)
            emit_json({"event": "fleet-run", **run.to_dict(), "to_one": ratio})
        else:
            console.print(f"{run.boards} boards: {run.seconds:.1f} s, {run.succeeded} jobs succeeded")
    if not json:
        print_table(_table(runs))
    failed = sum(run.boards - run.succeeded for run in runs)
    if failed:
        raise BenchError(
            f"{failed} jobs did not succeed", reason="fleet-failed", hint="Is this computer overloaded?"
        )


def _table(runs: "list[FleetRun]") -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in (
        *("boards", "succeeded", "time", "to one", "CPU of the bridge", "its memory", "CPU of the boards"),
        *("CPU of the cloud", "late events", "downloads"),
    ):
        table.add_column(heading, justify="right")
    for run in runs:
        table.add_row(
            *(
                str(run.boards),
                str(run.succeeded),
                f"{run.seconds:.1f} s",
                f"{run.seconds / runs[0].seconds:.3f}",
            ),
            *(f"{run.cpu_s:.1f} s", f"{run.rss_mib:.0f} MiB", f"{run.boards_cpu_s:.1f} s"),
            *(f"{run.cloud_cpu_s:.1f} s", str(run.late_events), str(run.downloads)),
        )
    return table
