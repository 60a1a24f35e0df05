"""One AT conversation over a link: commands one at a time, URCs kept for whoever wants them.

Sources: ncs-serial-modem ``app/src/sm_at_host.c``: bytes before ``AT`` are ignored, an open quote swallows
the terminator, URCs are flushed at the end of a command, after its final result.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from bridge import clock
from bridge.board.link import Link
from bridge.board.urcs import UrcBox, UrcFilter
from bridge.errors import BoardRefusedError, LinkError
from bridge.redaction import is_secret_command, redact_command
from bridge.wire.at import AtEvent, AtParser, FinalResult, InformationLine, Urc, encode_command

_log = logging.getLogger(__name__)

DEFAULT_TIMEOUT_S: Final = 10.0
_WRITE_MARGIN_S: Final = 3.0
_SYNC_ATTEMPTS: Final = (
    # What is sent, and how long to wait. The first may complete a half-sent command and get ERROR. Boards
    # built for CRLF need the third. The fourth closes a quote that somebody left open, or opens one.
    ("AT", "\r", 0.3),
    ("AT", "\r", 0.5),
    ("AT", "\r\n", 0.3),
    ('"\r\nAT', "\r\n", 0.6),
)
_QUIET_S: Final = 0.3
"""How long to wait for the late answer of a command that may as well have been swallowed."""
_FIRST_QUIET_S: Final = 0.1
"""The same for a board that was just opened: an earlier program may have left a command behind."""
_SLOW_S: Final = 2.0


class AtClient:
    """Sends commands and sorts what comes back.

    Args:
        link: The port; it must not be open yet.

    Attributes:
        terminator: What ends a command; CR until :meth:`synchronise` finds a board that wants CRLF.
    """

    def __init__(self, link: Link) -> None:
        self.terminator = "\r"
        self._link = link
        self._parser = AtParser()
        self._commands = clock.rlock()
        self._changed = clock.condition()
        self._events: deque[AtEvent] = deque()
        self._urcs = UrcBox()
        self._lost: LinkError | None = None
        self._in_step = False
        self._unanswered = 0
        self._fresh = True
        self._is_secret = False
        link.attach(self)

    # --- called by the link's reader thread -----------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Take received bytes."""
        with self._changed:
            events = self._parser.feed(data)
            # First the URCs: who sees a result must find all that came before it.
            self._urcs.put([event.text for event in events if isinstance(event, Urc)])
            for event in events:
                _log.debug("<- %s", type(event).__name__ if self._is_secret else event)
                if not isinstance(event, Urc):
                    self._unanswered = max(0, self._unanswered - isinstance(event, FinalResult))
                    self._events.append(event)
            self._changed.notify_all()

    def on_lost(self, error: LinkError) -> None:
        """Wake up whoever waits: nothing more will come."""
        with self._changed:
            self._lost = error
            self._changed.notify_all()
        self._urcs.link_lost(error)

    # --- commands -------------------------------------------------------------------------------------------

    def command(
        self, text: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, on_slow: Callable[[], None] | None = None
    ) -> list[str]:
        """Send a command and wait for its final result.

        Args:
            text: The command, beginning with ``AT``.
            timeout_s: How long the board may take.
            on_slow: Called once when the answer takes more than two seconds.

        Returns:
            The information lines of the answer.

        Raises:
            BoardRefusedError: ``ERROR`` (reason ``at-error``), ``+CME ERROR`` or ``+CMS ERROR``
                (``cme-<n>``).
            LinkError: No final result in time (reason ``no-answer``), or the link is lost.
            UsageError: The text is no command.
        """
        data = encode_command(text, self.terminator)
        with self._commands:
            if not self._in_step:
                self.synchronise()
                data = encode_command(text, self.terminator)
            self._begin(text)
            self._send(data)
            lines: list[str] = []
            result = None
            if on_slow is not None and timeout_s > _SLOW_S:
                result = self._collect(lines, _SLOW_S)
                timeout_s -= _SLOW_S
                if result is None:
                    on_slow()
            result = result or self._collect(lines, timeout_s)
            if result is None:
                self._give_up()
                raise _silence(redact_command(text), timeout_s)
            if not result.ok:
                raise _refusal(text, result)
            return lines

    def command_again(
        self, text: str, *, timeout_s: float = DEFAULT_TIMEOUT_S, on_slow: Callable[[], None] | None = None
    ) -> list[str]:
        """Like :meth:`command`, but sent once more when no answer came; for commands that may run twice."""
        try:
            return self.command(text, timeout_s=timeout_s, on_slow=on_slow)
        except LinkError as error:
            if error.reason != "no-answer":
                raise
        return self.command(text, timeout_s=timeout_s, on_slow=on_slow)

    def _collect(self, lines: list[str], timeout_s: float) -> FinalResult | None:
        deadline = clock.monotonic() + timeout_s
        while (event := self._next_event(deadline)) is not None:
            if isinstance(event, FinalResult):
                return event
            if isinstance(event, InformationLine):
                lines.append(event.text)
        return None

    @contextmanager
    def session(self) -> Iterator[None]:
        """Keep other threads' commands off the line as long as the block lasts."""
        with self._commands:
            yield

    def send_then_command(self, data: bytes, text: str, timeout_s: float) -> None:
        """Write raw bytes with a command directly behind them; its result comes from :meth:`poll_result`."""
        with self._commands:
            self._begin(text)
            self._link.write(data + encode_command(text, self.terminator), timeout_s)

    def send_streamed(self, text: str, data: bytes, timeout_s: float) -> None:
        """Write a command with raw bytes directly behind it, and do not wait.

        Several may be under way; each gets a result of its own from :meth:`poll_result`, in their order.

        Raises:
            LinkError: They did not leave in time, or the link is lost.
        """
        with self._commands:
            with self._changed:
                if self._lost is not None:
                    raise self._lost
                self._unanswered += 1
                self._parser.begin_command(text)
            self._link.write(encode_command(text, self.terminator) + data, timeout_s)

    def poll_result(self, timeout_s: float) -> FinalResult | None:
        """The next final result, or None if there is none in time."""
        return self._collect([], timeout_s)

    def write_raw(self, data: bytes, timeout_s: float) -> None:
        """Write bytes as they are.

        Raises:
            LinkError: They did not leave in time, or the link is lost.
        """
        with self._commands:
            self._link.write(data, timeout_s)

    def synchronise(self, timeout_s: float = 5.0) -> None:
        """Bring the board to a state where one command gets one answer, whatever came before.

        Sends ``AT`` until it is answered (in bootloader mode with ``ERROR``, which is an answer too), closes
        an open quote, finds out the terminator, and swallows late answers.

        Raises:
            LinkError: The board is silent (reason ``no-answer``), or the link is lost.
        """
        with self._commands:
            deadline = clock.monotonic() + timeout_s
            for text, terminator, wait_s in _attempts():
                left_s = deadline - clock.monotonic()
                if left_s <= 0:
                    break
                if not self._probe(text, terminator, min(wait_s, left_s)):
                    self._in_step = False
                    continue
                self.terminator = "\r"
                if terminator == "\r\n" and not self._probe("AT", "\r", wait_s):
                    self.terminator = "\r\n"
                    self._probe("AT", "\r\n", wait_s)  # ends the line that the CR did not
                self._in_step = True
                return
            self._give_up()
            raise _silence("AT", timeout_s)

    def probe(self, timeout_s: float) -> bool:
        """Send one bare ``AT``; True when a final result comes, and the board is in step."""
        with self._commands:
            self._in_step = self._probe("AT", self.terminator, timeout_s)
            return self._in_step

    def _probe(self, text: str, terminator: str, timeout_s: float) -> bool:
        self._begin("AT")
        self._send((text + terminator).encode())
        if self.poll_result(timeout_s) is None:
            return False
        while self._unanswered > 0 and self.poll_result(_QUIET_S) is not None:
            pass  # late answers of earlier commands
        while self._fresh and self.poll_result(_FIRST_QUIET_S) is not None:
            pass
        self._unanswered = 0
        self._fresh = False
        return True

    def settle(self) -> None:
        """Wait until the line is quiet, and forget what came: answers that were late, or came twice."""
        with self._commands:
            while self.poll_result(_QUIET_S) is not None:
                pass

    def _give_up(self) -> None:
        self._in_step = False
        with self._changed:
            self._parser.abandon_command()

    # --- URCs -------------------------------------------------------------------------------------------

    def wait_urc(self, wanted: UrcFilter, timeout_s: float) -> str:
        """Take the oldest kept URC that fits, or wait for one; others stay for those who want them.

        Raises:
            LinkError: None came in time (reason ``no-answer``), or the link is lost.
        """
        return self._urcs.wait(wanted, timeout_s)

    def take_urcs(self, wanted: UrcFilter = "") -> list[str]:
        """Remove and return all kept URCs that fit."""
        return self._urcs.take(wanted)

    def subscription(self, callback: Callable[[str], None]) -> AbstractContextManager[None]:
        """Have every URC given to a function in the reader thread, which must not send commands."""
        return self._urcs.subscription(callback)

    def flush_urcs(self, timeout_s: float = 3.0) -> None:
        """Make the board send the URCs that it holds back.

        Serial Modem flushes them at the end of a command, after the final result; so they have all come when
        the result of a second command is here. Even ERROR is one: a modem that did not start answers ``AT`` so.
        """
        for _ in range(2):
            with contextlib.suppress(BoardRefusedError):
                self.command_again("AT", timeout_s=timeout_s)

    # --- the link's other states ----------------------------------------------------------------------------

    def restart(self) -> None:
        """Forget everything about the line: it was closed and opened again."""
        with self._changed:
            self._parser.reset()
            self._events.clear()
            self._lost = None
            self._in_step = False
            self._unanswered = 0
        self._urcs.link_restored()

    def _begin(self, text: str) -> None:
        with self._changed:
            if self._lost is not None:
                raise self._lost
            self._events.clear()
            # The echo of a credential comes back line by line, and no line tells that it is part of a key.
            self._is_secret = is_secret_command(text) or (self._is_secret and self._unanswered > 0)
            self._unanswered += 1
            self._parser.begin_command(text)

    def _send(self, data: bytes) -> None:
        _log.debug("-> %s", redact_command(data.decode(errors="replace").rstrip()))
        self._link.write(data, len(data) * 10 / self._link.baud + _WRITE_MARGIN_S)

    def _next_event(self, deadline: float) -> AtEvent | None:
        with self._changed:
            while not self._events:
                if self._lost is not None:
                    raise self._lost
                left_s = deadline - clock.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    break
            return self._events.popleft() if self._events else None


def _attempts() -> Iterator[tuple[str, str, float]]:
    yield _SYNC_ATTEMPTS[0]
    while True:
        yield from _SYNC_ATTEMPTS[1:]


def _silence(command: str, timeout_s: float) -> LinkError:
    return LinkError(
        f"no answer to {command} within {timeout_s:.1f} s",
        reason="no-answer",
        hint="Is the board powered, and does its firmware speak AT on this port?",
    )


def _refusal(text: str, result: FinalResult) -> BoardRefusedError:
    plain = result.kind == "ERROR"
    return BoardRefusedError(
        f"the board answered {redact_command(text)} with {result.text}",
        reason="at-error" if plain else f"{result.kind.lower()}-{result.code}",
        hint="The firmware does not know this command, or not now or with these values." if plain else None,
    )
