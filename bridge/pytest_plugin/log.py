"""What went over the board's cable during a test: raw, as text, and searched for what a crashing firmware says.

Sources of the fault texts: Zephyr ``kernel/fatal.c`` (``>>> ZEPHYR FATAL ERROR``), ``arch/arm/core/cortex_m/fault.c`` (``*****
BUS FAULT *****``), ``include/zephyr/sys/__assert.h`` (``ASSERTION FAIL``); TF-M ``tfm_hal_platform.c`` (``FATAL ERROR``);
nRF Connect SDK ``lib/nrf_modem_lib`` (``Modem has crashed``, ``Modem error``).
A core dump on the console begins with ``#CD:BEGIN#`` (Zephyr ``subsys/debug/coredump/coredump_backend_logging.c``).
"""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bridge.board.tap import Direction, tapped
from bridge.redaction import redact_text

_FAULTS: Final = re.compile(
    r"ZEPHYR FATAL ERROR|ASSERTION FAIL|\*{3,} [A-Z -]*FAULT \*{3,}|FATAL ERROR: |Kernel panic|Kernel oops|"
    r"#CD:BEGIN#|Stack overflow|SecureFault|Modem has crashed|Modem error: 0x|Halting system",
    re.IGNORECASE,
)
_LINE_END: Final = re.compile(r"[\r\n]+")


@dataclass(frozen=True)
class Chunk:
    """Bytes that went over a cable at once.

    Attributes:
        time_s: Seconds since the log began.
        port: URL of the port.
        direction: ``in`` from the board, ``out`` to it; ``opened`` or ``lost`` for the port itself.
        data: The bytes.
    """

    time_s: float
    port: str
    direction: Direction
    data: bytes


class BoardLog:
    """All that was said on the links of this process while it recorded; thread-safe.

    Attributes:
        expected_faults: Patterns of fault texts that a test provokes on purpose; they are no finding.
        began_s: When it began, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.expected_faults: list[str] = []
        self._chunks: list[Chunk] = []
        self._text = ""
        self._changed = threading.Condition()
        self.began_s = time.monotonic()

    @contextmanager
    def recording(self) -> Iterator["BoardLog"]:
        """Listen as long as the block lasts."""
        with tapped(self._take):
            yield self

    def _take(self, port: str, direction: Direction, data: bytes) -> None:
        with self._changed:
            self._chunks.append(Chunk(time.monotonic() - self.began_s, port, direction, data))
            if direction == "in" and data:
                self._text += data.decode("ascii", "backslashreplace")
                self._changed.notify_all()

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """Everything, in both directions, in order."""
        with self._changed:
            return tuple(self._chunks)

    @property
    def text(self) -> str:
        r"""What the board sent; bytes that are no ASCII are shown as ``\xNN``, secrets as ``...``."""
        with self._changed:
            return redact_text(self._text)

    @property
    def lines(self) -> list[str]:
        """The same as lines, without empty ones."""
        return [line for line in _LINE_END.split(self.text) if line]

    def mark(self) -> int:
        """A place in the log, for :meth:`wait_for`."""
        with self._changed:
            return len(self._text)

    def wait_for(self, pattern: str, timeout_s: float = 30.0, *, since: int = 0) -> re.Match[str]:
        """Wait until the board has said something.

        Args:
            pattern: Regular expression.
            timeout_s: How long.
            since: A :meth:`mark`; what was said before does not count.

        Raises:
            AssertionError: It did not; the message has the last lines.
        """
        wanted = re.compile(pattern)
        with self._changed:
            found = self._changed.wait_for(lambda: wanted.search(self._text, since), timeout_s)
        if found is None:
            tail = "\n".join(self.lines[-20:])
            raise AssertionError(
                f"the board did not say {pattern!r} within {timeout_s:g} s; its last lines:\n{tail}"
            )
        return found

    def faults(self) -> list[str]:
        """Lines that a crashing firmware writes, but for those that were expected."""
        return [
            line
            for line in self.lines
            if _FAULTS.search(line) and not any(re.search(pattern, line) for pattern in self.expected_faults)
        ]

    def transcript(self) -> str:
        """Both directions for people: seconds, an arrow, text; without secrets."""
        arrows = {"in": "<-", "out": "->", "opened": "-- opened", "lost": "-- lost"}
        return "".join(
            f"{chunk.time_s:10.4f} {arrows[chunk.direction]} {redact_text(_shown(chunk.data))}".rstrip()
            + "\n"
            for chunk in self.chunks
        )


def _shown(data: bytes) -> str:
    text = data.decode("ascii", "backslashreplace").replace("\r", "\\r").replace("\n", "\\n")
    return text if len(text) <= 400 else f"{text[:200]} ... {len(data)} bytes ... {text[-40:]}"
