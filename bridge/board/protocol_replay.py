"""pyserial's handler for ``replay://`` URLs: a port whose other end is a recorded board.

``replay:///FILE`` plays a transcript; ``replay:///FILE?timing=recorded`` at the pace of the recording. All ports that are
opened for one file in a process belong to one conversation, as a command may open its port several times.
"""

import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any, Final

from serial.serialutil import SerialBase, SerialException

from bridge.board.replay import LONGEST_PAUSE_S, ReplayedBoard
from bridge.board.transcript import read_transcript
from bridge.errors import BridgeError

_boards: Final[dict[str, ReplayedBoard]] = {}
_lock: Final = threading.Lock()


def replayed_board(url: str) -> ReplayedBoard:
    """The recorded board behind a ``replay://`` URL; the same one each time.

    Raises:
        UsageError: There is no such transcript.
    """
    with _lock:
        if url not in _boards:
            parts = urllib.parse.urlsplit(url)
            recorded = urllib.parse.parse_qs(parts.query).get("timing") == ["recorded"]
            records = read_transcript(Path(urllib.parse.unquote(parts.path))).records
            pause_s = None if recorded else LONGEST_PAUSE_S
            _boards[url] = ReplayedBoard(records, longest_pause_s=pause_s)
        return _boards[url]


def forget(url: str) -> None:
    """Let the next port of this URL begin from the start."""
    with _lock:
        _boards.pop(url, None)


class Serial(SerialBase):
    """A serial port whose other end is a recorded board."""

    # What SerialBase's properties keep; its stubs do not say so.
    _timeout: float | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._changed = threading.Condition()
        self._board: ReplayedBoard | None = None
        self._received = bytearray()
        self._is_cancelled = self._is_lost = False
        super().__init__(*args, **kwargs)

    def open(self) -> None:
        """Go on with the conversation where the last port of this URL left it."""
        try:
            self._board = replayed_board(str(self.port))
        except BridgeError as error:
            raise SerialException(f"could not open port {self.port}: {error}") from error
        self._board.open()
        self.is_open = True

    def close(self) -> None:
        """Leave the conversation where it is."""
        self.is_open = False
        self._board = None

    def read(self, size: int = 1) -> bytes:
        """Read up to ``size`` bytes within the port's timeout."""
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        with self._changed:
            while len(self._received) < size and not self._is_cancelled:
                self._take()
                wait_s = self._wait_s(deadline)
                if len(self._received) >= size or (wait_s is not None and wait_s <= 0):
                    break
                self._changed.wait(wait_s)
            self._is_cancelled = False
            data = bytes(self._received[:size])
            del self._received[:size]
        if not data and self._is_lost:
            raise SerialException("the recorded board has gone away (device disconnected)")
        return data

    def write(self, b: Any, /) -> int:
        """Tell the recorded board something."""
        data = bytes(b)
        with self._changed:
            if self._board is None or self._is_lost:
                raise SerialException("the recorded board has gone away (device disconnected)")
            self._board.feed(data)
            self._changed.notify_all()
        return len(data)

    def cancel_read(self) -> None:
        """Let a blocked read return."""
        with self._changed:
            self._is_cancelled = True
            self._changed.notify_all()

    def flush(self) -> None:
        """Nothing waits."""

    def reset_input_buffer(self) -> None:
        """Forget what was received."""
        with self._changed:
            self._received.clear()

    def reset_output_buffer(self) -> None:
        """Nothing waits."""

    @property
    def in_waiting(self) -> int:
        """Bytes that a read gives at once."""
        with self._changed:
            return len(self._received)

    @property
    def out_waiting(self) -> int:
        """Nothing waits."""
        return 0

    def _take(self) -> None:
        if self._board is not None and not self._is_lost:
            said = self._board.take(time.monotonic())
            if said is None:
                self._is_lost = True
            else:
                self._received += said

    def _wait_s(self, deadline: float | None) -> float | None:
        if self._is_lost:
            return 0.0
        due_s = self._board.next_due_s() if self._board is not None else None
        now_s = time.monotonic()
        waits = [max(0.0001, due_s - now_s)] if due_s is not None else []
        if deadline is not None:
            if now_s >= deadline:
                return 0.0
            waits.append(deadline - now_s)
        return min(waits, default=None)

    def _reconfigure_port(self) -> None:
        """A recorded board hears at any rate."""

    def _update_dtr_state(self) -> None:
        """A recorded board does not look."""

    def _update_rts_state(self) -> None:
        """A recorded board does not look."""

    def _update_break_state(self) -> None:
        """A recorded board does not look."""

    @property
    def cts(self) -> bool:
        """Always."""
        return True

    @property
    def dsr(self) -> bool:
        """Always."""
        return True

    @property
    def ri(self) -> bool:
        """Never."""
        return False

    @property
    def cd(self) -> bool:
        """Always."""
        return True
