"""``nrf91-bridge replay``: run a recorded command again, with the recorded board's answers instead of a board."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from bridge.cli.output import console

if TYPE_CHECKING:
    from bridge.board.replay import ReplayedBoard
    from bridge.board.transcript import Transcript

_PLACES: Final = ("--port", "-p", "--serial-number", "-s", "--record", "--journal")
"""Options that say where board, recording and journal were: none of them is the same now."""
_JOURNALED: Final = ("flash",)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "replay", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
    )(replay)


def replay(
    transcript: Annotated[Path, typer.Argument(help="What `nrf91-bridge --record FILE COMMAND` wrote.")],
    command: Annotated[
        list[str] | None,
        typer.Argument(help="Command to run instead of the recorded one, without its --port."),
    ] = None,
    timing: Annotated[
        str, typer.Option(help="fast: pauses of at most 0.2 s; recorded: as long as they were.")
    ] = "fast",
) -> None:
    """Run a recorded command again; the board's part is played from the transcript.

    Files that the command names must be there as they were. The exit code is the command's; the last lines on stderr say
    whether it said something else to the board than then, and whether it ended otherwise.
    """
    from bridge.board import protocol_replay  # noqa: PLC0415
    from bridge.board.transcript import read_transcript  # noqa: PLC0415
    from bridge.errors import UsageError  # noqa: PLC0415

    recorded = read_transcript(transcript)
    arguments = list(without_places(command or recorded.command))
    if not arguments:
        raise UsageError(
            f"{transcript} does not say which command it was recorded from",
            reason="no-command",
            hint=f"Name one: nrf91-bridge replay {transcript} info",
        )
    url = f"replay://{transcript.absolute()}" + ("?timing=recorded" if timing == "recorded" else "")
    protocol_replay.forget(url)
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-replay-") as directory:
        if arguments[0] in _JOURNALED:
            arguments += ["--journal", str(Path(directory) / "journal.sqlite3")]
        _run(arguments, url, recorded, is_other=bool(command))


def without_places(arguments: Iterable[str]) -> Iterator[str]:
    """A command's arguments without those that say where board, recording and journal are, nor options before it."""
    parts = iter(arguments)
    in_command = False
    for part in parts:
        if part in _PLACES:
            next(parts, None)
        elif part.split("=", 1)[0] in _PLACES:
            continue
        elif in_command or not part.startswith("-"):
            in_command = True
            yield part


def _run(arguments: list[str], url: str, recorded: "Transcript", *, is_other: bool) -> None:
    from bridge.board.protocol_replay import replayed_board  # noqa: PLC0415
    from bridge.cli.app import app, exit_code_of  # noqa: PLC0415

    name, *rest = arguments
    console.print(f"replaying: {' '.join(arguments)}", soft_wrap=True)
    exit_code = exit_code_of(lambda: app([name, *rest, "--port", url]))
    _tell(replayed_board(url), exit_code, None if is_other else recorded.exit_code)
    if exit_code:
        raise typer.Exit(exit_code)


def _tell(board: "ReplayedBoard", exit_code: int, then: int | None) -> None:
    if board.divergence is not None:
        console.print(f"replay: the host says something else from {board.divergence}", soft_wrap=True)
    elif not board.is_over:
        console.print(
            f"replay: the host has said {board.sent_bytes} bytes, all as recorded; more was recorded",
            soft_wrap=True,
        )
    else:
        console.print("replay: all was said as recorded")
    if then is not None:
        same = "the same" if then == exit_code else "not the same"
        console.print(f"replay: ended with {exit_code}, recorded {then}: {same}")
