"""Where output goes: people read stderr (or a result on stdout), machines read one JSON object a line on stdout.

Secrets are taken out of both here, whoever put them in; what a command was asked to show (a table, the answer to an AT
command) is shown as it is.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bridge.errors import BridgeError
from bridge.redaction import redact_text, redact_value

JSON_SCHEMA: Final = 1
"""Version of the JSON events; it rises when a member changes its meaning or goes away."""


class PlainConsole(Console):
    """A console for what boards, clouds and files say.

    A text is shown as it is: neither rich's markup, in which a stray ``[/x]`` is an error, nor names of emoji, such as the
    ``:100:`` in an IPv6 address, mean anything in it. What shall have a style is a ``Text``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Let the command end, as whoever closed the pipe wants; rich would take its exit code for it, too."""
        raise  # noqa: PLE0704 - rich calls this while it handles the BrokenPipeError


class RedactingConsole(PlainConsole):
    """A console that takes secrets out of texts."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Like rich's, for texts and whatever else it can show."""
        super().print(*map(_redacted, objects), **options)

    def on_broken_pipe(self) -> None:
        """Go on in silence when nobody reads any more; rich would end the process, in the middle of an update."""
        self.quiet = True


def _redacted(shown: Any) -> Any:
    if isinstance(shown, Text):
        plain = redact_text(shown.plain)
        return shown if plain == shown.plain else Text(plain)
    return redact_text(shown) if isinstance(shown, str) else shown


console: Final = RedactingConsole(stderr=True)
"""For people: progress, notices, errors."""

out: Final = PlainConsole()
"""For people who asked for a result: tables of ``info``, ``ports``, ``image inspect``."""

_wide: Final = PlainConsole(width=200)


def print_table(table: Table) -> None:
    """Show a result's table; as wide as it is where nobody looks at a terminal."""
    (out if out.is_terminal else _wide).print(table)


class _Mode:
    """Whether this process speaks JSON; set once by the command that runs."""

    json = False


def use_json(enabled: bool) -> None:
    """Choose the output form for the rest of this process, errors included."""
    _Mode.json = enabled


def emit_json(event: Mapping[str, object], *, as_it_is: bool = False) -> None:
    """Write one JSON object as a line on stdout, with the schema number first.

    Args:
        event: Its members.
        as_it_is: It is a result that was asked for, and may hold anything.
    """
    plain = json.loads(json.dumps({"schema": JSON_SCHEMA, **event}, default=str))
    line = json.dumps(plain if as_it_is else redact_value(plain), ensure_ascii=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def give_up_output() -> None:
    """Drop what could not be written, so that it is not what the process ends with."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Show what ended a thread, as Python does, but without secrets; for ``threading.excepthook``."""
    if failure.exc_value is not None:
        lines = traceback.format_exception(failure.exc_value)
        name = failure.thread.name if failure.thread else "unknown"
        console.print(f"thread {name} broke:\n{''.join(lines)}", soft_wrap=True)


def emit_error(error: BridgeError) -> None:
    """Write an error for machines."""
    event: dict[str, object] = {
        "event": "error",
        "reason": error.reason,
        "message": error.message,
        "stage": error.stage,
        "offset": error.offset,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    with suppress(OSError):  # nobody reads it; people may
        emit_json(event)


def report_error(error: BridgeError) -> None:
    """Write the last line of a failed command: what, where, and the next thing to try."""
    if _Mode.json:
        emit_error(error)
    where = [f"in stage {error.stage}"] if error.stage else []
    if error.offset is not None:
        where.append(f"at offset {error.offset}")
    place = f" ({', '.join(where)})" if where else ""
    hint = f" {error.hint}" if error.hint else ""
    console.print(f"error: {error.message}{place}.{hint} [{error.reason}]", style="red", soft_wrap=True)
