"""A recorded board: gives back what a transcript's board said, as soon as the host has said what it said then.

It compares what the host says now with what it said then, and remembers the first difference; it does not stop there, since a
host that was changed may say some things differently and still get along. Answers wait until the host has sent as many bytes
as had been sent before them; what came unasked comes after a pause, as long as then but at most
:data:`LONGEST_PAUSE_S`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from bridge.board.transcript import TranscriptRecord

LONGEST_PAUSE_S: Final = 0.2
"""Nobody wants to wait again for a modem that took a minute; but a host that expects silence must find some."""


@dataclass(frozen=True)
class Divergence:
    """Where the host says something else than then.

    Attributes:
        offset: How many bytes the host had sent before.
        recorded: What it sent then.
        now: What it sends now.
    """

    offset: int
    recorded: bytes
    now: bytes

    def __str__(self) -> str:
        return f"byte {self.offset}: recorded {self.recorded!r}, now {self.now!r}"


class ReplayedBoard:
    """The board's side of a conversation; sans I/O, the clock is the caller's.

    Args:
        records: What was recorded on one port.
        longest_pause_s: Longest wait for what came unasked; None takes the times of the recording.

    Attributes:
        divergence: The first difference between the host then and now.
    """

    def __init__(
        self, records: tuple[TranscriptRecord, ...], *, longest_pause_s: float | None = LONGEST_PAUSE_S
    ) -> None:
        self.divergence: Divergence | None = None
        self._records = deque(records)
        self._expected = deque((record.data, record.masked) for record in records if record.way == "out")
        self._longest_pause_s = longest_pause_s
        self._sent_bytes = 0
        self._due_bytes = 0
        self._opened = 0
        self._last_t_s = records[0].t_s if records else 0.0
        self._last_now_s: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether everything recorded has happened."""
        return not self._records

    @property
    def sent_bytes(self) -> int:
        """How much the host has sent."""
        return self._sent_bytes

    def open(self) -> None:
        """The host opens the port."""
        self._opened += 1

    def feed(self, data: bytes) -> None:
        """The host sends bytes."""
        while data:
            recorded, masked = self._expected[0] if self._expected else (b"", False)
            part = data[: len(recorded)] if recorded else data
            if part != recorded[: len(part)] and not masked and self.divergence is None:
                self.divergence = _first_difference(self._sent_bytes, recorded, part)
            if self._expected:
                self._expected[0] = (recorded[len(part) :], masked)
                if len(part) >= len(recorded):
                    self._expected.popleft()
            self._sent_bytes += len(part)
            data = data[len(part) :]

    def take(self, now_s: float) -> bytes | None:
        """What the board has said until now.

        Returns:
            Bytes, perhaps none; None when the port was lost at this point.
        """
        said = bytearray()
        self._last_now_s = now_s if self._last_now_s is None else self._last_now_s
        while self._records:
            record = self._records[0]
            if record.way == "lost":
                if not said:
                    self._done(record, now_s)
                return bytes(said) if said else None
            if not self._is_due(record, now_s):
                break
            self._done(record, now_s)
            if record.way == "in":
                said += record.data
        return bytes(said)

    def next_due_s(self) -> float | None:
        """When something comes without the host saying more; None when it is the host's turn, or all is over."""
        if not self._records or self._last_now_s is None or self._records[0].way != "in":
            return None
        return self._last_now_s + self._pause_s(self._records[0])

    def _is_due(self, record: TranscriptRecord, now_s: float) -> bool:
        if record.way == "out":
            return self._sent_bytes >= self._due_bytes + len(record.data)
        if record.way == "opened":
            return self._opened > 0
        assert self._last_now_s is not None
        return now_s >= self._last_now_s + self._pause_s(record)

    def _pause_s(self, record: TranscriptRecord) -> float:
        pause_s = max(0.0, record.t_s - self._last_t_s)
        return pause_s if self._longest_pause_s is None else min(pause_s, self._longest_pause_s)

    def _done(self, record: TranscriptRecord, now_s: float) -> None:
        self._records.popleft()
        self._last_t_s, self._last_now_s = record.t_s, now_s
        if record.way == "out":
            self._due_bytes += len(record.data)
        elif record.way == "opened":
            self._opened -= 1


def _first_difference(offset: int, recorded: bytes, now: bytes) -> Divergence:
    same = next((at for at, pair in enumerate(zip(recorded, now, strict=False)) if pair[0] != pair[1]), None)
    at = min(len(recorded), len(now)) if same is None else same
    return Divergence(offset + at, recorded[at : at + 32], now[at : at + 32])
