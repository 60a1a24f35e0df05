"""Where output goes: people read stderr (or a result on stdout), machines read one JSON object a line on stdout."""

import json
import sys
from collections.abc import Mapping
from typing import Final

from rich.console import Console

from bridge.errors import BridgeError

JSON_SCHEMA: Final = 1
"""Version of the JSON events; it rises when a member changes its meaning or goes away."""

console: Final = Console(stderr=True, highlight=False)
"""For people: progress, notices, errors."""

out: Final = Console(highlight=False)
"""For people who asked for a result: tables of ``info``, ``ports``, ``image inspect``."""


class _Mode:
    """Whether this process speaks JSON; set once by the command that runs."""

    json = False


def use_json(enabled: bool) -> None:
    """Choose the output form for the rest of this process, errors included."""
    _Mode.json = enabled


def emit_json(event: Mapping[str, object]) -> None:
    """Write one JSON object as a line on stdout, with the schema number first."""
    line = json.dumps({"schema": JSON_SCHEMA, **event}, ensure_ascii=False, default=str)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


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
