"""Options of the commands that work with a bench file."""

from pathlib import Path
from typing import Annotated

import typer

BenchFileOption = Annotated[
    Path | None,
    typer.Option(
        "--bench",
        envvar="NRF91_BRIDGE_BENCH",
        dir_okay=False,
        help="Work all boards of this bench file (bench.toml) at once.",
    ),
]
BenchBoardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--bench-board",
        help="With --bench: only this board, by name or serial number; may be repeated.",
    ),
]
BenchGroupOption = Annotated[
    list[str] | None,
    typer.Option("--group", help="With --bench: only the boards in this group; may be repeated."),
]
