"""``nrf91-bridge board``: a virtual nRF91 board on a pty, for any tool that works with a real one."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from bridge.cli.option_groups import takes_groups
from bridge.cli.options import JsonOption
from bridge.cli.output import console, emit_json, use_json
from bridge.cli.signals import until_interrupted
from bridge.cli.virtual_board_options import VirtualBoardOptions
from bridge.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("board")(board)


@takes_groups
def board(
    options: VirtualBoardOptions,
    link: Annotated[Path | None, typer.Option(help="Make this path a symbolic link to the port.")] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            help="Make a Unix socket here that takes orders: power on, power off, power cycle, reset, hold-button,"
            " release-button."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Serve a virtual board on a pty until interrupted (or told to end with SIGTERM)."""
    use_json(json)
    from bridge.virtual.control_socket import ControlSocket  # noqa: PLC0415
    from bridge.virtual.pty_server import PtyServer  # noqa: PLC0415

    virtual = options.make()
    orders = nullcontext() if control is None else ControlSocket(virtual, control)
    with (
        until_interrupted() as wait,
        virtual,
        PtyServer(virtual) as pty,
        orders,
        _linked(link, pty.path) as port,
    ):
        if json:
            emit_json(
                {
                    "event": "ready",
                    "port": str(port),
                    "pty": pty.path,
                    "model": options.model,
                    "firmware": options.firmware,
                }
            )
        else:
            console.print(
                Text.assemble(
                    f"virtual {options.model} with {options.firmware} on ",
                    (str(port), "bold"),
                    "; stop with Ctrl-C",
                ),
                soft_wrap=True,
            )
        wait()


@contextmanager
def _linked(link: Path | None, pty: str) -> Iterator[str]:
    """Keep a symbolic link to the port; a stale one is replaced, a real file never."""
    if link is None:
        yield pty
        return
    if link.exists() and not link.is_symlink():
        raise UsageError(f"{link} is a file", reason="link-taken", hint="Choose another --link.")
    try:
        # Made beside it and moved into place, so that the name never points nowhere.
        draft = link.with_name(f".{link.name}.{os.getpid()}")
        draft.symlink_to(pty)
        draft.replace(link)
    except OSError as error:
        raise UsageError(f"cannot make the link {link}: {error.strerror}", reason="link-failed") from error
    try:
        yield str(link)
    finally:
        with contextlib.suppress(OSError):
            if str(link.readlink()) == pty:
                link.unlink()
