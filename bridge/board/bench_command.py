"""A program of the bench run with a deadline: it ends, or it and everything that it started is ended."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bridge.errors import BenchError

_OUTPUT_BYTES: Final = 64 * 1024
_LAST_WORDS_CHARS: Final = 200
_ADVICE: Final = re.compile(r"(run with|try|see) .*(-h\b|--help)", re.IGNORECASE)
"""How programs end their complaints, ``uhubctl`` among them; it does not say what was wrong."""


@dataclass(frozen=True)
class EndedCommand:
    """How a program ended.

    Attributes:
        code: Exit code; negative for a signal.
        output: The last of what it printed on stdout and stderr.
    """

    code: int
    output: str

    @property
    def last_words(self) -> str:
        """The last line that it printed and that says something, to be put behind a sentence; empty if there is none."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        telling = [line for line in lines if not _ADVICE.match(line)]
        return f": {(telling or lines)[-1][-_LAST_WORDS_CHARS:].rstrip('.')}" if lines else ""


def run_command(
    arguments: Sequence[str],
    subject: str,
    *,
    timeout_s: float,
    reasons: tuple[str, str] = ("power-tool-missing", "power-timeout"),
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> EndedCommand:
    """Run a program and wait for its end.

    Args:
        arguments: Program and arguments.
        subject: What it is, for messages.
        timeout_s: When it and its children are killed.
        reasons: Codes of the errors when it cannot be started, and when it does not end.
        directory: Where it runs; None for that of this process.
        environment: Variables on top of this process's.

    Raises:
        BenchError: It cannot be started, or did not end in time.
    """
    # A file and no pipe: a daemon that it leaves behind would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(  # noqa: S603 - the bench file's author says what runs
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(
                f"{subject} cannot be run: {arguments[0]}: {error.strerror or error}",
                reason=reasons[0],
                hint="Is it installed, and on the PATH?",
            ) from error
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{subject} did not end within {timeout_s:g} s", reason=reasons[1]) from error
        finally:
            if process.returncode is None:
                _kill(process)
        return EndedCommand(code, _tail(output))


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(file: IO[bytes]) -> str:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _OUTPUT_BYTES))
    return file.read().decode("utf-8", "replace")
