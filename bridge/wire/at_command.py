"""The board's end of an AT link: cut received bytes into command lines, and command lines into their parts.

Source: ncs-serial-modem ``app/src/sm_at_host.c`` (``cmd_rx_handler``, ``cmd_grammar_check``) for what is
dropped, kept and refused; 3GPP TS 27.007 for the four kinds of command.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_COMMAND_BYTES: Final = 8192
"""Serial Modem's largest AT buffer; a longer command is answered ``ERROR`` and the rest is read afresh."""

_GRAMMAR: Final = re.compile(r"AT(?:E[01]|[+%#][A-Z0-9_]+(?:\?|=.*)?)?", re.IGNORECASE | re.DOTALL)
_BEGIN: Final = re.compile(rb"[aA]")
_BACKSPACE: Final = (0x08, 0x7F)
_QUOTE: Final = 0x22


class Terminator(StrEnum):
    """What ends a command line; Serial Modem ships with CR."""

    CR = "\r"
    LF = "\n"
    CRLF = "\r\n"


class CommandKind(StrEnum):
    """The four kinds of AT command."""

    EXECUTE = "execute"
    READ = "read"
    SET = "set"
    TEST = "test"


Parameter = str | int | None
"""A quoted or bare string, a number, or None for an omitted parameter."""


@dataclass(frozen=True)
class AtCommand:
    """One AT command.

    Attributes:
        name: Upper-case name with its separator, such as ``+CGMR``, ``%CMNG`` or ``#XDFUINIT``; ``E0`` and
            ``E1`` for echo; empty for a bare ``AT``.
        kind: Execute, read (``?``), set (``=...``) or test (``=?``).
        parameters: What follows ``=`` in a set command.
    """

    name: str
    kind: CommandKind
    parameters: tuple[Parameter, ...] = ()

    def integer(self, index: int, default: int | None = None) -> int | None:
        """The parameter at ``index`` if it is a number, else ``default`` when it is omitted, else None."""
        if index >= len(self.parameters) or self.parameters[index] is None:
            return default
        value = self.parameters[index]
        return value if isinstance(value, int) else None


@dataclass(frozen=True)
class CommandLine:
    """A whole line as received, without its terminator.

    Attributes:
        text: The characters from ``AT`` on.
        too_long: The line did not fit the board's buffer; ``text`` is only its beginning.
    """

    text: str
    too_long: bool = False


class AtCommandReader:
    """Collects bytes into command lines the way Serial Modem does.

    Everything before ``AT`` is dropped, terminators inside double quotes belong to the command, backspace and
    DEL remove a character. Bytes after a complete line stay unread, because the command may switch to data
    mode: take them back with :meth:`take_unread`.
    """

    def __init__(self, terminator: Terminator = Terminator.CR, max_bytes: int = MAX_COMMAND_BYTES) -> None:
        self._terminator = terminator
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._inside_quotes = False
        self._unread = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a command has begun and not ended."""
        return bool(self._line)

    def feed(self, data: bytes) -> None:
        """Append received bytes."""
        self._unread += data

    def take_unread(self) -> bytes:
        """Remove and return the bytes that no line has used."""
        rest = bytes(self._unread)
        self._unread.clear()
        return rest

    def next_line(self) -> CommandLine | None:
        """The next complete line, or None when more bytes are needed."""
        unread, index = self._unread, 0
        while index < len(unread):
            if not self._line:
                begin = _BEGIN.search(unread, index)
                if begin is None:
                    self._inside_quotes = False
                    break
                if begin.start() > index:
                    self._inside_quotes = False
                    index = begin.start()
            line = self._accept(unread[index])
            index += 1
            if line is not None:
                del unread[:index]
                return line
        unread.clear()
        return None

    def _accept(self, byte: int) -> CommandLine | None:
        line = self._line
        if (not line and byte not in b"aA") or (len(line) == 1 and byte not in b"tT"):
            line.clear()
            self._inside_quotes = False
            return None
        if len(line) >= self._max_bytes - 2:
            return self._finish(too_long=True)
        if byte in _BACKSPACE:
            self._inside_quotes ^= line.pop() == _QUOTE
            return None
        if not self._inside_quotes and self._terminates(byte):
            return self._finish()
        line.append(byte)
        self._inside_quotes ^= byte == _QUOTE
        return None

    def _terminates(self, byte: int) -> bool:
        if self._terminator is not Terminator.CRLF:
            return byte == ord(self._terminator)
        if byte == 0x0A and self._line.endswith(b"\r"):
            del self._line[-1]
            return True
        return False

    def _finish(self, *, too_long: bool = False) -> CommandLine:
        # latin-1 keeps every byte: contents are compared and hashed as they were sent.
        line = CommandLine(self._line.decode("latin-1"), too_long)
        self._line.clear()
        self._inside_quotes = False
        return line


def parse_command(text: str) -> AtCommand | None:
    """Read a command line.

    Args:
        text: The line from ``AT`` on, without terminator. To Serial Modem it is a C string: it ends at a NUL.

    Returns:
        The command, or None when the grammar check of Serial Modem refuses it (the board answers ``ERROR``).
    """
    text = text.partition("\0")[0]
    if not _GRAMMAR.fullmatch(text):
        return None
    body = text[2:]
    name, equals, rest = body.partition("=")
    if not equals:
        if name.endswith("?"):
            return AtCommand(name[:-1].upper(), CommandKind.READ)
        return AtCommand(name.upper(), CommandKind.EXECUTE)
    if rest.startswith("?"):
        return AtCommand(name.upper(), CommandKind.TEST) if rest == "?" else None
    parameters = parse_parameters(rest)
    return None if parameters is None else AtCommand(name.upper(), CommandKind.SET, parameters)


def parse_parameters(text: str) -> tuple[Parameter, ...] | None:
    """Split the text after ``=`` at commas outside quotes.

    Args:
        text: For example ``0,42,0,"two lines of a certificate"``.

    Returns:
        Numbers as int, quoted text without its quotes, other text as it is, None for omitted parameters; or
        None when a quote is left open. An empty text has no parameters.
    """
    if not text:
        return ()
    fields: list[str] = []
    start = 0
    inside_quotes = False
    for index, char in enumerate(text):
        if char == '"':
            inside_quotes = not inside_quotes
        elif char == "," and not inside_quotes:
            fields.append(text[start:index])
            start = index + 1
    if inside_quotes:
        return None
    fields.append(text[start:])
    return tuple(_parameter(field) for field in fields)


def _parameter(field: str) -> Parameter:
    field = field.strip(" ")
    if not field:
        return None
    if len(field) >= 2 and field[0] == field[-1] == '"':
        return field[1:-1]
    return int(field) if re.fullmatch(r"[+-]?[0-9]{1,10}", field) else field
