"""Options that several commands share; each can also be given as an environment variable ``NRF91_BRIDGE_*``."""

from pathlib import Path
from typing import Annotated

import typer

ImageIndexOption = Annotated[
    int,
    typer.Option(
        "--image-index",
        min=0,
        help="Over SMP: number of the MCUboot image that is replaced, on boards with several.",
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="NRF91_BRIDGE_KEY",
        exists=True,
        dir_okay=False,
        help="Public key (PEM) that the image must be signed with.",
    ),
]
MemberOption = Annotated[
    str | None,
    typer.Option("--member", help="Name of the image to take out of a package that holds several."),
]
ImageStoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        envvar="NRF91_BRIDGE_IMAGE_STORE",
        file_okay=False,
        help="Where known images are kept, which application deltas start from; default: this user's data.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line on stdout, for machines.")]
JournalOption = Annotated[
    Path | None,
    typer.Option(
        "--journal",
        envvar="NRF91_BRIDGE_JOURNAL",
        dir_okay=False,
        help="Where updates are written down, to go on after a crash; default: this user's state.",
    ),
]
