r"""A transcript: what went over the serial lines of one process, as JSON lines that can be read, compared and replayed.

The first line is a header; then comes a line for each piece of bytes, and for each port that was opened or lost; the last
one, if the process came to its end, tells how it went. Text stays readable, other bytes are base64. Secrets are masked.

    {"format": "nrf91-bridge-transcript", "schema": 1, "started_at": "…", "command": ["info", "--port", "…"]}
    {"t_s": 0.012, "port": "/dev/ttyACM0", "way": "out", "text": "AT\r"}
    {"t_s": 0.014, "port": "/dev/ttyACM0", "way": "in", "text": "\r\nOK\r\n"}
    {"t_s": 0.731, "way": "end", "exit_code": 0}
"""

import base64
import binascii
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, Self, cast, get_args

from bridge import __version__, clock
from bridge.board.tap import Direction
from bridge.board.transcript_mask import SecretMask
from bridge.errors import BenchError, UsageError
from bridge.redaction import redact_text

FORMAT: Final = "nrf91-bridge-transcript"
SCHEMA: Final = 1
_READABLE: Final = frozenset(b"\t\r\n" + bytes(range(0x20, 0x7F)))
_WAYS: Final = (*get_args(Direction), "end")


@dataclass(frozen=True)
class TranscriptRecord:
    """One thing that happened.

    Attributes:
        t_s: Seconds since the recording began.
        way: ``out`` to the board, ``in`` from it, ``opened`` or ``lost`` for the port.
        port: The port's URL.
        data: The bytes.
        masked: Whether bytes of it were secret and are ``x`` now.
    """

    t_s: float
    way: Direction
    port: str
    data: bytes = b""
    masked: bool = False


@dataclass(frozen=True)
class Transcript:
    """A whole recording.

    Attributes:
        command: Arguments of the command that was recorded; empty when it was none.
        records: What happened, in order.
        exit_code: How the command ended; None when its end was not recorded.
    """

    command: tuple[str, ...]
    records: tuple[TranscriptRecord, ...]
    exit_code: int | None = None


class TranscriptWriter:
    """Writes a transcript; give :meth:`tell` to :func:`bridge.board.tap.tapped`.

    Args:
        file: Where to; an older file is replaced.
        command: Arguments of the command that is recorded.

    Raises:
        BenchError: The file cannot be written (reason ``cannot-record``).
    """

    def __init__(self, file: Path, command: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._began_s = clock.monotonic()
        self._masks: dict[tuple[str, Direction], SecretMask] = {}
        self._file: IO[str] | None
        try:
            self._file = file.open("w", encoding="utf-8")
        except OSError as error:
            raise BenchError(
                f"cannot record to {file}: {error.strerror or error}", reason="cannot-record"
            ) from error
        header = {
            "format": FORMAT,
            "schema": SCHEMA,
            "bridge": __version__,
            "started_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "command": [redact_text(part) for part in command],
        }
        self._write(header)

    def tell(self, port: str, way: Direction, data: bytes, t_s: float | None = None) -> None:
        """Record bytes, or that a port was opened or lost; now, or with the time at which it had happened."""
        with self._lock:
            masked = data
            if data:
                mask = self._masks.setdefault((port, way), SecretMask(incoming=way == "in"))
                masked = mask.feed(data)
            record: dict[str, object] = {
                "t_s": self._now_s() if t_s is None else round(t_s, 6),
                "port": redact_text(port),
                "way": way,
            }
            if data:
                record |= _encoded(masked)
            if masked != data:
                record["masked"] = True
            self._write(record)

    def close(self, exit_code: int | None = None) -> None:
        """Write the end, with the command's exit code if there was one; harmless the second time."""
        with self._lock:
            if exit_code is not None:
                self._write({"t_s": self._now_s(), "way": "end", "exit_code": exit_code})
            if self._file is not None:
                self._file.close()
                self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _now_s(self) -> float:
        return round(clock.monotonic() - self._began_s, 6)

    def _write(self, record: dict[str, object]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")


def read_transcript(file: Path) -> Transcript:
    """Read a transcript; a last line that was cut short is left out, as after a crash.

    Raises:
        UsageError: The file cannot be read (reason ``no-transcript``), or is none (``bad-transcript``).
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the transcript {file}: {error}", reason="no-transcript") from error
    header = _parsed(file, lines, 0)
    if header.get("format") != FORMAT or header.get("schema") != SCHEMA:
        raise UsageError(
            f"{file} is no transcript of schema {SCHEMA}",
            reason="bad-transcript",
            hint="`nrf91-bridge --record FILE COMMAND …` writes one.",
        )
    command = header.get("command")
    records: list[TranscriptRecord] = []
    exit_code: int | None = None
    for number in range(1, len(lines)):
        line = _parsed(file, lines, number)
        if line.get("way") == "end":
            code = line.get("exit_code")
            exit_code = code if isinstance(code, int) else None
        elif line:
            records.append(_record(file, number, line))
    return Transcript(
        tuple(map(str, command)) if isinstance(command, list) else (), tuple(records), exit_code
    )


def _encoded(data: bytes) -> dict[str, object]:
    if _READABLE.issuperset(data):
        return {"text": data.decode("ascii")}
    return {"base64": base64.b64encode(data).decode("ascii")}


def _parsed(file: Path, lines: Sequence[str], number: int) -> dict[str, object]:
    try:
        value = json.loads(lines[number])
    except (IndexError, ValueError, RecursionError):
        if number and number == len(lines) - 1:
            return {}
        raise _bad_line(file, number) from None
    if not isinstance(value, dict):
        raise _bad_line(file, number)
    return value


def _record(file: Path, number: int, line: dict[str, object]) -> TranscriptRecord:
    t_s, way, port = line.get("t_s"), line.get("way"), line.get("port", "")
    if not isinstance(t_s, int | float) or way not in _WAYS or not isinstance(port, str):
        raise _bad_line(file, number)
    try:
        data = (
            base64.b64decode(str(line["base64"]), validate=True)
            if "base64" in line
            else str(line.get("text", "")).encode("ascii")
        )
    except (binascii.Error, ValueError):
        raise _bad_line(file, number) from None
    return TranscriptRecord(float(t_s), cast("Direction", way), port, data, bool(line.get("masked")))


def _bad_line(file: Path, number: int) -> UsageError:
    return UsageError(f"line {number + 1} of {file} is no line of a transcript", reason="bad-transcript")
