"""Taking secrets out of raw bytes on a serial line without changing how many there are.

What :mod:`bridge.redaction` does to a text is done here to a stream that comes in pieces: the quoted arguments of commands that
carry credentials, PINs and passwords become ``x``. Digests in the lists of ``%CMNG`` stay, because they are no secret.
"""

import re
from enum import Enum, auto
from typing import Final

from bridge.redaction import is_secret_command

MASK: Final = b"x"
_STOP: Final = re.compile(rb'["\r\n]')
_BARE_PIN: Final = re.compile(rb"(?<=\+CPIN=)[0-9]+", re.IGNORECASE)
_KEPT_BYTES: Final = 80
_DIGEST_START: Final = re.compile(rb"[0-9A-Fa-f]")


class _Quoted(Enum):
    """Where in a quoted argument of a command that carries secrets the bytes are."""

    NO = auto()
    BEGINS = auto()
    SECRET = auto()
    SHOWN = auto()


class SecretMask:
    """Masks one direction of one line.

    Args:
        incoming: Whether the bytes come from the board, whose lists of digests may be shown.
    """

    def __init__(self, *, incoming: bool) -> None:
        self._incoming = incoming
        self._line = b""
        self._quoted = _Quoted.NO

    def feed(self, data: bytes) -> bytes:
        """The same number of bytes, with secrets masked."""
        done = bytearray()
        rest = _BARE_PIN.sub(lambda pin: MASK * len(pin[0]), data)
        while rest:
            taken = self._unquoted(rest) if self._quoted is _Quoted.NO else self._quote(rest)
            done += taken
            rest = rest[len(taken) :]
        return bytes(done)

    def _unquoted(self, rest: bytes) -> bytes:
        stop = _STOP.search(rest)
        taken = rest[: stop.end()] if stop else rest
        self._line = (self._line + taken)[-_KEPT_BYTES:]
        if stop is not None and stop[0] != b'"':
            self._line = b""
        elif stop is not None and is_secret_command(self._line.decode("latin-1")):
            self._quoted = _Quoted.BEGINS
        return taken

    def _quote(self, rest: bytes) -> bytes:
        if self._quoted is _Quoted.BEGINS:
            lists_digests = self._incoming and b"%CMNG" in self._line.upper()
            is_digest = lists_digests and _DIGEST_START.match(rest)
            self._quoted = _Quoted.SHOWN if is_digest else _Quoted.SECRET
        end = rest.find(b'"')
        inside = rest if end < 0 else rest[:end]
        shown = inside if self._quoted is _Quoted.SHOWN else MASK * len(inside)
        if end < 0:
            return shown
        self._quoted = _Quoted.NO
        return shown + b'"'
