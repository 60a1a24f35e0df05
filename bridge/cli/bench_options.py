"""Options of the commands that work with a bench file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.fota.bench_file import Bench, BenchBoard

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


@dataclass(frozen=True)
class BenchOptions:
    """A bench, and which of its boards are meant.

    Attributes:
        bench: The bench file.
        bench_board: Names or serial numbers of boards.
        group: Names of groups.
    """

    bench: Annotated[
        Path,
        typer.Option(
            "--bench", envvar="NRF91_BRIDGE_BENCH", dir_okay=False, help="The bench file (bench.toml)."
        ),
    ]
    bench_board: BenchBoardOption = None
    group: BenchGroupOption = None

    def read(self) -> "tuple[Bench, tuple[BenchBoard, ...]]":
        """Read the file and pick the boards; all of them unless the options name some.

        Raises:
            UsageError: The file makes no sense, or has no such board.
        """
        from bridge.fota.bench_file import read_bench  # noqa: PLC0415

        bench = read_bench(self.bench)
        return bench, bench.select(self.bench_board or (), self.group or ())
