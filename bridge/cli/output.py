"""Where output goes: people read stderr (or a result on stdout), machines read one JSON object a line on stdout.

Secrets are taken out of both here, whoever put them in; what a command was asked to show (a table, the answer to an AT
command) is shown as it is.
"""

import json
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console

from bridge.errors import BridgeError
from bridge.redaction import redact_text, redact_value

JSON_SCHEMA: Final = 1
"""Version of the JSON events; it rises when a member changes its meaning or goes away."""


class RedactingConsole(Console):
    """A console that takes secrets out of texts."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Like rich's, for texts and whatever else it can show."""
        shown = (redact_text(each) if isinstance(each, str) else each for each in objects)
        super().print(*shown, **options)


console: Final = RedactingConsole(stderr=True, highlight=False)
"""For people: progress, notices, errors."""

out: Final = Console(highlight=False)
"""For people who asked for a result: tables of ``info``, ``ports``, ``image inspect``."""


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


def report_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """Show what ended a thread, as Python does, but without secrets; for ``threading.excepthook``."""
    if failure.exc_value is not None:
        lines = traceback.format_exception(failure.exc_value)
        name = failure.thread.name if failure.thread else "unknown"
        console.print(f"thread {name} broke:\n{''.join(lines)}", markup=False, soft_wrap=True)


def report_error(error: BridgeError) -> None:
    """Write the last line of a failed command: what, where, and the next thing to try."""
    if _Mode.json:
        emit_json(
            {
                "event": "error",
                "reason": error.reason,
                "message": error.message,
                "stage": error.stage,
                "offset": error.offset,
                "hint": error.hint,
                "exit_code": error.exit_code,
            }
        )
    where = [f"in stage {error.stage}"] if error.stage else []
    if error.offset is not None:
        where.append(f"at offset {error.offset}")
    place = f" ({', '.join(where)})" if where else ""
    hint = f" {error.hint}" if error.hint else ""
    console.print(
        f"error: {error.message}{place}.{hint} [{error.reason}]", style="red", markup=False, soft_wrap=True
    )
