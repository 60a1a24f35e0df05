"""Recording what goes over the serial lines while a command runs (``nrf91-bridge --record FILE COMMAND …``)."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.board.transcript import TranscriptWriter


class _Recording:
    """The recording of this process, if there is one."""

    writer: "TranscriptWriter | None" = None
    stack: ExitStack | None = None


def start_recording(file: Path) -> None:
    """Record until :func:`end_recording`.

    Raises:
        BenchError: The file cannot be written.
    """
    from bridge.board.tap import tapped  # noqa: PLC0415
    from bridge.board.transcript import TranscriptWriter  # noqa: PLC0415

    _Recording.writer = writer = TranscriptWriter(file, sys.argv[1:])
    _Recording.stack = ExitStack()
    _Recording.stack.enter_context(tapped(writer.tell))


def end_recording(exit_code: int) -> None:
    """Write how the command ended; harmless when nothing is recorded."""
    if _Recording.stack is not None and _Recording.writer is not None:
        _Recording.stack.close()
        _Recording.writer.close(exit_code)
        _Recording.writer = _Recording.stack = None
