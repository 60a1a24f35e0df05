"""``nrf91-bridge bench power``: switch the boards of a bench off and on."""

from typing import Annotated, Literal

import typer

from bridge.cli.bench_options import BenchOptions
from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, use_json
from bridge.errors import UsageError


@takes_groups
def power(
    action: Annotated[Literal["on", "off", "cycle"], typer.Argument(help="What to do.")],
    bench: BenchOptions,
    json: JsonOption = False,
) -> None:
    """Switch the power of boards, one after the other, by what the bench file says about each.

    Only of boards that are named, or in a group that is: nobody should switch a whole bench off by leaving something out.
    """
    use_json(json)

    if not bench.bench_board and not bench.group:
        raise UsageError("which boards is not said", hint="Give --bench-board or --group.")
    _, boards = bench.read()
    for one in boards:
        if one.power is None:
            raise UsageError(
                f"the bench file {bench.bench}: [boards.{one.serial_number}] has no power",
                reason="bad-bench",
                hint="docs/bench.md shows what can be written there.",
            )
    for one in boards:
        assert one.power is not None
        {"on": one.power.on, "off": one.power.off, "cycle": one.power.cycle}[action]()
        if json:
            emit_json(
                {
                    "event": "power",
                    "board_name": one.name,
                    "serial_number": one.serial_number,
                    "action": action,
                }
            )
        else:
            console.print(f"{one.name}: power {action}")
