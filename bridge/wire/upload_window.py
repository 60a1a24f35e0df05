"""Which piece of an image to send next over SMP, and when to send one again: go-back-N with a careful window.

An SMP server answers every upload request with the offset that it wants next, also when it ignored the request, so
that offset is all that is needed to find back after a loss. Two things must be learned from the device: how many
requests it can hold (too many, and its buffers overflow, which is much slower than no window at all), and how long it
takes. Sources: Zephyr ``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt.c`` and MCUboot ``boot_serial.c`` (a request at the
wrong offset is answered as if all were well), RFC 6298 (timer).
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_PATIENCE: Final = 8
"""Answered requests without a loss before the window grows for the first time after a loss."""
_LONGEST_PATIENCE: Final = 512
_DECAY: Final = 0.995
"""How fast the slowest answer is forgotten: a page erase comes once in up to 80 requests, and must still be known then."""
_SLACK: Final = 1.6


@dataclass(frozen=True)
class WindowLimits:
    """What the device can take.

    Attributes:
        max_requests: Most requests that may be unanswered: what the device's buffers hold.
        first_timeout_s: For the answer to the first request, before which a server may erase the whole slot.
        initial_timeout_s: For the others, until answers have shown how long they take.
        min_timeout_s: Never expect an answer sooner than this.
        max_timeout_s: Never wait longer than this for one.
        max_tries: How often to send without any progress before giving up.
    """

    max_requests: int = 1
    first_timeout_s: float = 40.0
    initial_timeout_s: float = 1.0
    min_timeout_s: float = 0.05
    max_timeout_s: float = 8.0
    max_tries: int = 10


@dataclass(frozen=True)
class Piece:
    """One request.

    Attributes:
        number: Counts the requests; the low eight bits are the SMP sequence number.
        offset: First byte of the image in it.
        size_bytes: How many bytes; 0 only asks the device for its offset.
    """

    number: int
    offset: int
    size_bytes: int

    @property
    def sequence(self) -> int:
        """SMP sequence number of the request."""
        return self.number & 0xFF

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.offset + self.size_bytes


class Outcome(StrEnum):
    """What an answer meant."""

    ADVANCED = "advanced"
    """The device has more of the image than before."""
    WENT_BACK = "went-back"
    """Something was lost; the next piece starts where the device wants it."""
    STALE = "stale"
    """The answer to a request that does not matter any more."""
    SESSION_LOST = "session-lost"
    """The device wants an offset that it had passed: it has restarted, or somebody else uploads."""


@dataclass(frozen=True)
class _Sent:
    piece: Piece
    time_s: float


class UploadWindow:
    """State of one upload; the caller does the input and output and says what time it is.

    Args:
        size_bytes: Size of the image.
        limits: What the device can take.
        start: Offset that the device wants first; a request for offset 0 is always sent alone, because the device may
            erase before it answers.

    Attributes:
        acknowledged: Bytes that the device certainly has.
        losses: How often something was lost.
        sent_bytes: Bytes of the image in all requests, repeated ones included.
    """

    def __init__(self, size_bytes: int, limits: WindowLimits, start: int = 0) -> None:
        self._size_bytes = size_bytes
        self._limits = limits
        self._next = self.acknowledged = start
        self._number = 0
        self._outstanding: deque[_Sent] = deque()
        self._window = 1
        self._streak = 0
        self._patience = 1
        self._tries = 0
        self._timer = _Timer(limits)
        self.losses = 0
        self.sent_bytes = 0

    @property
    def done(self) -> bool:
        """Whether the device has the whole image."""
        return self.acknowledged >= self._size_bytes

    @property
    def window(self) -> int:
        """How many requests may be unanswered now."""
        return self._window

    @property
    def outstanding(self) -> int:
        """How many are."""
        return len(self._outstanding)

    @property
    def next_offset(self) -> int:
        """Where the next piece starts."""
        return self._next

    @property
    def gave_up(self) -> bool:
        """Whether the device does not get on, however often it is asked."""
        return self._tries >= self._limits.max_tries

    @property
    def may_send(self) -> bool:
        """Whether a piece may be sent now."""
        alone = self._outstanding and self._outstanding[0].piece.offset == 0
        return not alone and self._next < self._size_bytes and len(self._outstanding) < self._window

    def send(self, size_bytes: int, now_s: float) -> Piece:
        """Take the next piece, which the caller sends at once.

        Args:
            size_bytes: How many bytes the caller puts into it, at most what is left of the image.
            now_s: The time.
        """
        piece = Piece(self._number, self._next, min(size_bytes, self._size_bytes - self._next))
        self._number += 1
        self._outstanding.append(_Sent(piece, now_s))
        self._next = piece.end
        self.sent_bytes += piece.size_bytes
        return piece

    def deadline_s(self) -> float | None:
        """When to call :meth:`on_timeout`; None while nothing is unanswered."""
        if not self._outstanding:
            return None
        oldest = self._outstanding[0]
        if oldest.piece.offset == 0:
            return oldest.time_s + self._limits.first_timeout_s
        return max(oldest.time_s, self._timer.last_answer_s) + self._timer.timeout_s

    def on_timeout(self) -> None:
        """Nothing came in time: start again at the last byte that the device certainly has, one request at a time."""
        self._timer.back_off()
        self._tries += 1
        self._go_back(self.acknowledged)

    def on_answer(self, sequence: int, offset: int, now_s: float) -> Outcome:
        """Take the device's answer.

        Args:
            sequence: SMP sequence number of the answer.
            offset: The offset that the device wants next.
            now_s: The time.
        """
        sent = self._take(sequence)
        if sent is None:
            # Late, after it was given up. What it says about the device's progress still counts.
            return self._advance(offset) if self.acknowledged < offset <= self._next else Outcome.STALE
        self._timer.measure(
            now_s - sent.time_s
        )  # a repeated request has a number of its own, so this is never wrong
        self._timer.last_answer_s = now_s
        if offset < self.acknowledged:
            self._tries += 1
            self._go_back(self.acknowledged)
            return Outcome.SESSION_LOST
        if sent.piece.end == offset or offset > sent.piece.end:
            self._grow()
            return self._advance(offset)
        advanced = offset > self.acknowledged
        self._tries = 0 if advanced else self._tries + 1
        self.acknowledged = offset
        if sent.piece.offset < offset:  # the device rounds down to whole words: nothing was lost
            self._outstanding.clear()
            self._next = offset
        else:
            self._go_back(offset)
        return Outcome.WENT_BACK

    def _advance(self, offset: int) -> Outcome:
        self._tries = 0
        advanced = offset > self.acknowledged
        self.acknowledged = max(self.acknowledged, offset)
        self._next = max(self._next, self.acknowledged)
        while self._outstanding and self._outstanding[0].piece.end <= self.acknowledged:
            self._outstanding.popleft()  # its answer was lost, or is still to come
        return Outcome.ADVANCED if advanced else Outcome.STALE

    def _take(self, sequence: int) -> _Sent | None:
        """The unanswered request with that number; older ones that were not answered are lost, or their answers are."""
        found = next((sent for sent in self._outstanding if sent.piece.sequence == sequence), None)
        while found is not None and self._outstanding.popleft() is not found:
            pass
        return found

    def _go_back(self, offset: int) -> None:
        self.losses += 1
        self._outstanding.clear()
        self._next = offset
        self._streak = 0
        if self._window > 1:  # perhaps more than the device can hold: be slower to try that again
            self._patience = min(max(_PATIENCE, 2 * self._patience), _LONGEST_PATIENCE)
        self._window = 1

    def _grow(self) -> None:
        self._streak += 1
        if self._streak >= self._patience * self._window and self._window < self._limits.max_requests:
            self._window += 1
            self._streak = 0


class _Timer:
    """How long to wait for an answer: somewhat more than the slowest so far, which is slowly forgotten."""

    def __init__(self, limits: WindowLimits) -> None:
        self._limits = limits
        self._slowest_s: float | None = None
        self._factor = 1
        self.last_answer_s = float("-inf")

    @property
    def timeout_s(self) -> float:
        known = self._slowest_s is not None
        usual = _SLACK * (self._slowest_s or 0.0) if known else self._limits.initial_timeout_s
        bounded = max(self._limits.min_timeout_s, usual) * self._factor
        return min(bounded, self._limits.max_timeout_s)

    def measure(self, duration_s: float) -> None:
        self._slowest_s = max(duration_s, _DECAY * (self._slowest_s or 0.0))
        self._factor = 1

    def back_off(self) -> None:
        self._factor *= 2
