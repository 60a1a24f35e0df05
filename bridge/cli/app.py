"""The command tree, and the one place where an exception becomes an exit code."""

import logging
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from bridge import __version__
from bridge.cli import (
    bench,
    board_commands,
    campaign,
    cloud,
    credentials,
    demo,
    flash,
    history,
    image,
    job,
    probe,
    replay,
    run_agent,
    smp,
    thing,
    virtual_board,
)
from bridge.cli.output import console, emit_error, give_up_output, report_error
from bridge.cli.recording import end_recording, start_recording
from bridge.errors import BridgeError, InterruptedUpdateError, UsageError
from bridge.extras import extra_of, missing_extra
from bridge.redaction import redact_logs

_NOBODY_READS: Final = 141
"""Exit code of a command whose output was closed (``| head -1``): what a shell says of one that SIGPIPE ended."""

app = typer.Typer(
    name="nrf91-bridge",
    help="Update nRF91 boards over a serial cable from AWS IoT Jobs, and tell the cloud the truth about it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for group in (
    flash,
    run_agent,
    history,
    demo,
    board_commands,
    smp,
    probe,
    image,
    virtual_board,
    cloud,
    credentials,
    job,
    thing,
    campaign,
    bench,
    replay,
):
    group.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nrf91-bridge {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More log output; twice for debug.")
    ] = 0,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            envvar="NRF91_BRIDGE_RECORD",
            dir_okay=False,
            help="Record what goes over the serial line, without secrets, for `replay`.",
        ),
    ] = None,
) -> None:
    levels = [logging.WARNING, logging.INFO, logging.DEBUG]
    logging.basicConfig(
        level=levels[min(verbose, 2)], format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    redact_logs()
    if record is not None:
        start_recording(record)


def run() -> int:
    """Run the command in ``sys.argv``.

    Returns:
        The exit code: 0, or that of the error family (see :mod:`bridge.errors`).
    """
    exit_code = exit_code_of(app)
    end_recording(exit_code)
    give_up_output()
    return exit_code


def exit_code_of(command: Callable[[], object]) -> int:
    """Run a command, and say on stderr why it failed if it did.

    Returns:
        The exit code: 0, or that of the error family (see :mod:`bridge.errors`).
    """
    try:
        command()
    except BridgeError as error:
        report_error(error)
        return error.exit_code
    except SystemExit as leaving:  # how typer ends a command, its own usage errors and Ctrl-C included
        return _code_of(leaving)
    except ModuleNotFoundError as error:
        extra = extra_of(error)
        if extra is None:
            return _report_bug()
        lacking = missing_extra("this command needs", error, extra)
        report_error(lacking)
        return lacking.exit_code
    except Exception:  # noqa: BLE001 - the last line of defence: a bug gets its traceback and its exit code
        return _report_bug()
    return 0


def _code_of(leaving: SystemExit) -> int:
    if isinstance(leaving.__context__, BrokenPipeError):
        return _NOBODY_READS
    code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    if code == UsageError.exit_code and "--json" in sys.argv:
        _emit_usage_error(leaving.__context__)
    if code == InterruptedUpdateError.exit_code:
        report_error(InterruptedUpdateError("stopped by the user"))
    return code


def _emit_usage_error(refused: BaseException | None) -> None:
    """Tell machines what typer has told people; it refuses a command line before any command can choose its output."""
    text = getattr(refused, "format_message", None)
    if text is not None:
        context = getattr(refused, "ctx", None)
        emit_error(UsageError(text(), hint=f"See: {context.command_path} --help" if context else None))


def _report_bug() -> int:
    console.print(traceback.format_exc(), soft_wrap=True)
    console.print("error: this is a bug in nrf91-bridge; please report the lines above", style="red")
    return BridgeError.exit_code
