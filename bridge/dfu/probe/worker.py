"""The process that holds pynrfjprog's library: calls come in as JSON lines, progress and results go out.

It runs alone because the library is one per process, cannot be interrupted, and can crash.
"""

import json
import os
import sys
from dataclasses import asdict
from typing import Any, Final, TextIO

from bridge.dfu.probe.reports import ProbeProgress
from bridge.dfu.probe.session import Session
from bridge.dfu.probe.vendor import HighLevel, has_usb, load
from bridge.errors import BridgeError

CALLS: Final = (
    "connected",
    "open_debugger",
    "open_modem",
    "open_recovery",
    "open_modem_uart",
    "program",
    "verify",
    "read",
    "reset",
    "recover",
    "close_probe",
)


def serve(commands: TextIO, answers: TextIO, vendor: HighLevel | None = None) -> None:
    """Answer calls until there are no more.

    Args:
        commands: One JSON object a line: ``call`` and ``arguments``.
        answers: Gets ``progress`` objects, then one ``result`` or ``error`` for each call.
        vendor: pynrfjprog; loaded at the first call if not given.
    """

    def send(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def report(progress: ProbeProgress) -> None:
        send({"progress": asdict(progress)})

    session: Session | None = None
    try:
        for line in commands:
            call = json.loads(line)
            try:
                if session is None:
                    session = Session(vendor or load(), report, has_usb)
                if call["call"] not in CALLS:
                    raise ValueError(f"no such call: {call['call']}")
                send({"result": getattr(session, call["call"])(**call["arguments"])})
            except BridgeError as error:
                send({"error": describe(error)})
    finally:
        if session is not None:
            session.close()


def describe(error: BridgeError) -> dict[str, Any]:
    """An error as a JSON object."""
    return {
        "class": type(error).__name__,
        "message": error.message,
        "reason": error.reason,
        "offset": error.offset,
        "hint": error.hint,
    }


def main() -> None:
    """Serve on stdin and stdout; whatever else is printed goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
