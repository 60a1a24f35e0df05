"""The host's end of an AT link: cut received bytes into whole lines and say what each line is.

Sources: 3GPP TS 27.007 (final results, ``+CME ERROR``), 27.005 (``+CMS ERROR``), 27.007 7.1 (``+CEREG``);
ncs-serial-modem ``app/src/sm_at_host.c`` (CRLF before every response, echo) and NCS ``lib/at_host`` (modem
text as it is, no leading CRLF).
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from bridge.errors import UsageError
from bridge.redaction import redact_command

MAX_LINE_BYTES: Final = 16 * 1024
"""Longest line kept; longer ones are noise. The largest real ones (credentials, tokens) are below 5 KiB."""

ResultKind = Literal["OK", "ERROR", "CME", "CMS"]

_EXTENDED_ERROR: Final = re.compile(r"\+(CME|CMS) ERROR: *(.*)")
_ERROR_CODE: Final = re.compile(r"[0-9]{1,9}")
_COMMAND_NAME: Final = re.compile(r"AT([+%#][A-Z0-9_]+)(=\?|[=?])?", re.IGNORECASE)
_PREFIXED: Final = re.compile(r"([+%#][A-Z0-9_]+):", re.IGNORECASE)
_BARE_URC: Final = re.compile(
    r"Ready|INIT ERROR|Bootloader mode ready|The AT host sample started"
    r"|\*\*\* .*"  # Zephyr's boot banner
    r"|\[\d[\d:.,]*\] <\w+> .*"  # Zephyr's log
)
_NETWORK_REGISTRATION: Final = re.compile(r"\+C\w*REG: *\d+, *\d+ *(,.*)?")
_TEMPERATURE: Final = re.compile(r"%XTEMP: *-?\d+")
_READ_ANSWERS: Final = {
    # The read answer is <n>,<stat>[,"tac",...], the URC <stat>[,"tac",...]: a second number tells them apart.
    "+CEREG": _NETWORK_REGISTRATION,
    "+CREG": _NETWORK_REGISTRATION,
    "+CGREG": _NETWORK_REGISTRATION,
    # The read answer is <temp>, the URC <level>,<temp>.
    "%XTEMP": _TEMPERATURE,
}
_CR: Final = 0x0D
_LF: Final = 0x0A
_QUOTE: Final = 0x22


@dataclass(frozen=True)
class InformationLine:
    """A line that belongs to the pending command's answer."""

    text: str


@dataclass(frozen=True)
class FinalResult:
    """The line that ends a command.

    Attributes:
        ok: The command succeeded.
        text: The whole line.
        kind: Which of the four final results it is.
        code: Number of a ``+CME ERROR`` or ``+CMS ERROR`` if it is given as a number.
    """

    ok: bool
    text: str
    kind: ResultKind
    code: int | None = None


@dataclass(frozen=True)
class Urc:
    """A line that the board sent on its own."""

    text: str


@dataclass(frozen=True)
class Echo:
    """A line of the pending command, sent back because echo is on."""

    text: str


AtEvent = InformationLine | FinalResult | Urc | Echo


def encode_command(text: str, terminator: str = "\r") -> bytes:
    r"""Turn a command into bytes.

    A bare CR is the right end on Serial Modem: the command runs at the CR, and a LF after ``AT#XDFUWRITE``
    would be the first byte of the image.

    Args:
        text: The command, beginning with ``AT``; line breaks are allowed inside double quotes only.
        terminator: ``"\r"``, ``"\n"`` or ``"\r\n"``, as the board was built.

    Raises:
        UsageError: The text is no AT command, has a line break outside quotes, or leaves a quote open (the
            board would take everything that follows, terminators included, as part of the quoted string).
    """
    if text[:2].upper() != "AT":
        raise UsageError(f"{redact_command(text)!r} does not begin with AT", reason="bad-at-command")
    outside_quotes = "".join(text.split('"')[::2])
    if text.count('"') % 2:
        raise UsageError(f"{redact_command(text)!r} leaves a quote open", reason="bad-at-command")
    if "\r" in outside_quotes or "\n" in outside_quotes:
        raise UsageError(f"{redact_command(text)!r} has a line break outside quotes", reason="bad-at-command")
    return (text + terminator).encode()


def split_fields(text: str) -> list[str]:
    """Cut the part of an answer behind its colon at the commas outside quotes, and take the quotes off."""
    fields = [""]
    inside_quotes = False
    for char in text:
        inside_quotes ^= char == '"'
        if char == "," and not inside_quotes:
            fields.append("")
        else:
            fields[-1] += char
    return [field.strip().strip('"') for field in fields]


class AtParser:
    """Turns received bytes into events; whole lines are classified, never parts of them.

    The same bytes give the same events however they are cut. CR and LF both end a line, so that both front
    ends and Zephyr's boot text fit; a line break inside the double quotes of the pending command's answer
    belongs to the line (``%CMNG`` gives certificates that way).
    """

    def __init__(self) -> None:
        self._line = bytearray()
        self._overlong = False
        self._inside_quotes = False
        self._pending: _Pending | None = None

    @property
    def command_pending(self) -> bool:
        """Whether a command has begun and its final result has not come."""
        return self._pending is not None

    def begin_command(self, text: str) -> None:
        """Expect the answer of this command from now on."""
        if self._inside_quotes:
            self._drop_line()
        self._pending = _Pending(text)

    def abandon_command(self) -> None:
        """Expect no answer any more: it did not come in time."""
        if self._inside_quotes:
            self._drop_line()
        self._pending = None

    def reset(self) -> None:
        """Forget everything, for a line that was closed and opened again."""
        self._drop_line()
        self._pending = None

    def feed(self, data: bytes) -> list[AtEvent]:
        """Take received bytes and return what they complete, in order."""
        events: list[AtEvent] = []
        for byte in data:
            if byte in (_CR, _LF) and not self._inside_quotes:
                event = self._end_line()
                if event is not None:
                    events.append(event)
            else:
                self._add(byte)
        return events

    def _add(self, byte: int) -> None:
        if self._overlong:
            return
        if not self._line and not 0x20 < byte < 0x7F:
            return  # no AT line begins like that: noise of a UART that is being reset
        self._line.append(byte)
        if len(self._line) > MAX_LINE_BYTES:
            self._drop_line()
            self._overlong = True
        elif byte == _QUOTE and (self._inside_quotes or self._may_span_lines()):
            self._inside_quotes = not self._inside_quotes

    def _may_span_lines(self) -> bool:
        # Only the answer itself may: an unpaired quote in anything else must not swallow what follows.
        name = self._pending.name if self._pending is not None else ""
        return bool(name) and self._line[: len(name) + 1].upper() == name.encode() + b":"

    def _drop_line(self) -> None:
        self._line.clear()
        self._inside_quotes = False
        self._overlong = False

    def _end_line(self) -> AtEvent | None:
        line = self._line.decode("utf-8", errors="replace").rstrip()
        self._drop_line()
        if not line:
            return None
        result = _final_result(line)
        if result is not None:
            self._pending = None
            return result
        if self._pending is None:
            return Urc(line)
        return self._pending.classify(line)


class _Pending:
    """A command that waits for its final result."""

    def __init__(self, text: str) -> None:
        match = _COMMAND_NAME.match(text)
        self.name = match[1].upper() if match else ""
        self._kind = match[2] if match else None
        self._echo = [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]
        self._answered = False

    def classify(self, line: str) -> AtEvent:
        if self._is_echo(line):
            return Echo(line)
        if self._belongs(line):
            self._echo.clear()
            self._answered = True
            return InformationLine(line)
        return Urc(line)

    def _is_echo(self, line: str) -> bool:
        if not self._echo:
            return False
        if line == self._echo[0]:
            del self._echo[0]
            return True
        if line[:2].upper() == "AT" and self._echo[0].startswith(line):
            self._echo.clear()  # boards cut the echo of long commands
            return True
        return False

    def _belongs(self, line: str) -> bool:
        if not self.name or _BARE_URC.fullmatch(line):
            return False  # a bare AT has no answer but the final result
        match = _PREFIXED.match(line)
        if match is None:
            return True
        if match[1].upper() != self.name:
            return False
        read_answer = _READ_ANSWERS.get(self.name)
        if read_answer is None or self._kind == "=?":
            return True
        return self._kind == "?" and not self._answered and read_answer.fullmatch(line) is not None


def _final_result(line: str) -> FinalResult | None:
    if line == "OK":
        return FinalResult(ok=True, text=line, kind="OK")
    if line == "ERROR":
        return FinalResult(ok=False, text=line, kind="ERROR")
    match = _EXTENDED_ERROR.fullmatch(line)
    if match is None:
        return None
    code = int(match[2]) if _ERROR_CODE.fullmatch(match[2]) else None
    return FinalResult(ok=False, text=line, kind="CME" if match[1] == "CME" else "CMS", code=code)
