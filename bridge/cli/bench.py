"""``nrf91-bridge bench``: measurements, and the benches that boards stand on.

``bench`` alone is ``bench speed``: the bridge and its peers in turn against the same virtual board.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli import bench_fleet, bench_power, bench_status
from bridge.cli.bench_cases import CaseOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, out, use_json

if TYPE_CHECKING:
    from rich.table import Table

    from bridge.lab.benchmark.case import Case
    from bridge.lab.benchmark.report import Row


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Measure uploads, and look at a bench with many boards.")
    group.callback(invoke_without_command=True)(speed)
    group.command("speed")(speed)
    group.command("fleet")(bench_fleet.fleet)
    group.command("status")(bench_status.status)
    group.command("power")(bench_power.power)
    app.add_typer(group, name="bench")


@takes_groups
def speed(
    context: typer.Context,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Every rate, size, UART and adapter, which takes hours.")
    ] = False,
    *,
    cases: CaseOptions,
    contestant: Annotated[
        list[str] | None, typer.Option(help="Who takes part, such as bridge or vendor; default: all who can.")
    ] = None,
    end_to_end: Annotated[
        bool,
        typer.Option(
            "--end-to-end",
            help="Instead: download and flash together, against each alone, at three server rates.",
        ),
    ] = False,
    repeat: Annotated[int, typer.Option(min=1, help="How often to measure; the fastest counts.")] = 1,
    json: JsonOption = False,
) -> None:
    """Measure uploads; with options for a part of all cases, exactly those are run.

    Columns: payload bytes per second; that as a fraction of the ceiling (line or flash) and of what is within the board's
    reach; processor seconds per MB, and share of a core; rate compared to the best peer's; time compared to that without
    damage; bytes that the board lost; events on the board that came late because this machine was busy.
    """
    if context.invoked_subcommand is not None:
        return
    use_json(json)
    if end_to_end:
        _end_to_end(1024 * (cases.size_kib or [200])[0], json=json)
        return
    from bridge.lab.benchmark.measure import run  # noqa: PLC0415
    from bridge.lab.benchmark.report import rows  # noqa: PLC0415

    wanted = cases.chosen(full=full)
    measurements = []
    for result in run(wanted, contestant, repeat=repeat):
        measurements.append(result)
        console.print(f"{_title(result.case)}: {result.contestant} {_rate(result.rate)} {result.error or ''}")
    table = rows(measurements)
    if json:
        for row in table:
            emit_json({"event": "measurement", **row.to_dict()})
    else:
        _show(table)


def _end_to_end(size_bytes: int, *, json: bool) -> None:
    from rich.table import Table  # noqa: PLC0415

    from bridge.lab.benchmark.end_to_end import run_end_to_end  # noqa: PLC0415

    table = Table("server / flash", "flash alone", "download alone", "both", "to the slower one", box=None)
    for result in run_end_to_end(size_bytes):
        if json:
            emit_json({"event": "end-to-end", **result.to_dict()})
        table.add_row(
            f"{result.pace:g}",
            *(f"{seconds:.2f} s" for seconds in (result.flash_s, result.download_s, result.both_s)),
            f"{result.ratio:.3f}",
        )
    if not json:
        out.print(table)


def _title(case: "Case") -> str:
    parts = [
        case.route,
        f"{case.baud} baud",
        f"{'ideal' if case.ideal_flash else 'real'} flash",
        case.uart.label,
    ]
    if case.route == "smp":
        parts.append(f"{case.smp.buffer_bytes}x{case.smp.buffer_count}")
    if case.usb_latency_ms:
        parts.append(f"{case.usb_latency_ms:g} ms USB")
    if case.faulty:
        parts.append("damaged")
    return f"{', '.join(parts)}, {case.size_bytes // 1024} KiB"


def _show(table: "Iterable[Row]") -> None:
    shown: Case | None = None
    block: Table | None = None
    for row in table:
        case = row.measurement.case
        if case != shown:
            if block is not None:
                out.print(block)
            shown, block = case, _head(row)
        assert block is not None
        block.add_row(*_cells(row))
    if block is not None:
        out.print(block)


def _head(row: "Row") -> "Table":
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    ceiling = row.ceiling
    flash = "no limit" if row.measurement.case.ideal_flash else _rate(ceiling.flash)
    table = Table(
        title=f"{_title(row.measurement.case)}\nline {_rate(ceiling.line)}, flash {flash}; within reach"
        f" {_rate(ceiling.reach)} = {ceiling.formula}",
        title_justify="left",
        title_style="",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("contestant", no_wrap=True, min_width=14)
    for name in ("B/s", "ceiling", "reach", "s/MB", "CPU %", "peer", "clean", "lost", "late"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(row: "Row") -> list[str]:
    result = row.measurement
    if not result.ok:
        return [result.contestant, "failed", *["-"] * 7, (result.error or "image not whole")[:40]]
    return [
        result.contestant,
        f"{result.rate:.0f}",
        f"{row.of_ceiling:.3f}",
        f"{row.of_reach:.3f}",
        f"{result.cpu_s_per_mb:.2f}",
        f"{100 * result.cpu_load:.1f}",
        "-" if row.to_best_peer is None else f"{row.to_best_peer:.2f}",
        "-" if row.slowdown is None else f"{row.slowdown:.2f}",
        str(result.lost_bytes),
        str(result.late_events),
    ]


def _rate(bytes_per_s: float) -> str:
    return f"{bytes_per_s / 1000:.2f} kB/s"
