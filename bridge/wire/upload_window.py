"""Which piece of an image to send next over SMP, and when to send one again: go-back-N with a careful window.

An SMP server answers every upload request with the offset that it wants next, also when it ignored the request, so
that offset is all that is needed to find back after a loss. Two things must be learned from the device: how many
requests it can hold (too many, and its buffers overflow, which is much slower than no window at all), and how long it
takes. A window of more than one is earned, by answers and by page erases survived, and ends at the first loss; how soon it
may be tried again depends on whether it had proved itself. A request whose answer is later than usual may be lost or may
have hit a page erase: a short question tells, long before it is time to send everything again. Sources: Zephyr
``subsys/mgmt/mcumgr/grp/img_mgmt/src/img_mgmt.c`` and MCUboot ``boot_serial.c`` (a request at the wrong offset is answered
as if all were well).
"""

from collections import deque
from typing import Final

from bridge.wire.answer_timer import AnswerTimer, WindowLimits
from bridge.wire.upload_piece import Outcome, Piece, Sent
from bridge.wire.window_growth import WindowGrowth

__all__ = ["Outcome", "Piece", "UploadWindow", "WindowLimits"]

_ABANDONED: Final = 32
"""How many given-up requests are remembered, for what their late answers tell."""


_ERASE_SIGN_S: Final = 0.04
"""A device that was busy for this long after a question had been sent was erasing a page, which takes twice as long."""


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
        questions: How often the device was asked where it is.
        end_unseen: The server said, instead of confirming the last piece, that it wants the beginning: it has forgotten
            the session, as Zephyr's does when an upload is complete, and the answer that said so was lost.
    """

    def __init__(self, size_bytes: int, limits: WindowLimits, start: int = 0) -> None:
        self._size_bytes = size_bytes
        self._limits = limits
        self._next = self.acknowledged = start
        self._number = 0
        self._outstanding: deque[Sent] = deque()
        self._abandoned: dict[int, float] = {}
        self._growth = WindowGrowth(limits.max_requests, start, flow_control=limits.flow_control)
        self._idle_question: int | None = None
        self._last_was_slow = False
        self._tries = 0
        self._spoiled = False
        self._timer = AnswerTimer(limits)
        self.losses = 0
        self.sent_bytes = 0
        self.questions = 0
        self.end_unseen = False
        self._last_start = start

    @property
    def done(self) -> bool:
        """Whether the device has the whole image."""
        return self.acknowledged >= self._size_bytes

    @property
    def window(self) -> int:
        """How many requests may be unanswered now."""
        return self._growth.window

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
    def unsure(self) -> bool:
        """Whether the device may hold the beginning of something whose end was lost, which would spoil what comes next."""
        return self._spoiled or self._asking or (bool(self._outstanding) and not self._growth.proven)

    @property
    def may_send(self) -> bool:
        """Whether a piece may be sent now."""
        if self._outstanding and self._outstanding[0].piece.offset == 0:
            return False
        requests = len(self._outstanding) - self._asking
        free = requests < self._growth.window and len(self._outstanding) < self._limits.max_requests
        return free and self._next < self._size_bytes

    def send(self, size_bytes: int, now_s: float) -> Piece:
        """Take the next piece, which the caller sends at once.

        Args:
            size_bytes: How many bytes the caller puts into it, at most what is left of the image.
            now_s: The time.
        """
        piece = self._take_number(self._next, min(size_bytes, self._size_bytes - self._next), now_s)
        self._next = piece.end
        self._last_start = piece.offset
        self.sent_bytes += piece.size_bytes
        return piece

    def ask(self, now_s: float) -> Piece:
        """Take a piece without bytes, which the caller sends at once to learn what offset the device wants."""
        self.questions += 1
        return self._take_number(self._next, 0, now_s)

    def _take_number(self, offset: int, size_bytes: int, now_s: float) -> Piece:
        piece = Piece(self._number, offset, size_bytes)
        self._number += 1
        self._outstanding.append(Sent(piece, now_s))
        return piece

    def deadline_s(self) -> float | None:
        """When to call :meth:`on_timeout`; None while nothing is unanswered."""
        if not self._outstanding:
            return None
        oldest = self._outstanding[0]
        if oldest.piece.offset == 0:
            return oldest.time_s + self._limits.first_timeout_s
        return self._quiet_since_s + self._timer.timeout_s

    def question_s(self) -> float | None:
        """When to call :meth:`ask`; None while there is nothing to ask, or the device could not hold one more request."""
        if not 0 < len(self._outstanding) < self._limits.max_requests or self._asking:
            return None
        return self._quiet_since_s + self._timer.question_s

    @property
    def _quiet_since_s(self) -> float:
        sent = self._outstanding[-1 if self._asking else 0]
        return max(sent.time_s, self._timer.last_answer_s)

    @property
    def _asking(self) -> bool:
        return any(not sent.piece.size_bytes for sent in self._outstanding)

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
        self._weigh_question(sequence, sent)
        if sent is None:
            # Late, after it was given up. What it says about the device's progress and pace still counts.
            if sequence in self._abandoned:
                self._timer.measure(now_s - self._abandoned.pop(sequence))
            return self._advance(offset) if self.acknowledged < offset <= self._next else Outcome.STALE
        self._timer.last_answer_s = now_s
        if sent.piece.size_bytes:
            # A repeated request has a number of its own, so this is never wrong.
            slow = self._timer.measure(now_s - sent.time_s)
            if offset >= sent.piece.end:
                self._last_was_slow = slow
        elif self._opening(sent.piece):  # what it wants belongs to an earlier session
            self._tries += 1
            self._go_back(self.acknowledged)
            return Outcome.WENT_BACK
        if offset == 0 and self._only_the_end_is_open:
            self.end_unseen = True
            return self._advance(self._size_bytes)
        if offset < self.acknowledged:
            self._tries += 1
            self._go_back(self.acknowledged)
            return Outcome.SESSION_LOST
        if offset >= sent.piece.end:
            self._spoiled = False
            if sent.piece.size_bytes:
                self._growth.on_answer(offset)
            return self._advance(offset)
        return self._fall_behind(sent.piece, offset)

    @property
    def _only_the_end_is_open(self) -> bool:
        return 0 < self.acknowledged == self._last_start and self._next == self._size_bytes

    def _weigh_question(self, sequence: int, sent: Sent | None) -> None:
        """A question whose occasion passed while it was under way: does its answer come, before that of anything later?"""
        if self._idle_question is None or (sent is None and sequence != self._idle_question):
            return
        self._growth.on_evidence(sequence == self._idle_question)
        self._idle_question = None

    def _opening(self, question: Piece) -> bool:
        """Whether a question was answered before the request that opens the session."""
        return question.offset > 0 and self.acknowledged == 0

    def _fall_behind(self, piece: Piece, offset: int) -> Outcome:
        advanced = offset > self.acknowledged
        self._tries = 0 if advanced else self._tries + 1
        self.acknowledged = offset
        if piece.offset < offset:  # the device rounds down to whole words: nothing was lost
            self._abandon()
            self._next = offset
        else:
            self._go_back(offset)
        return Outcome.WENT_BACK

    def _advance(self, offset: int) -> Outcome:
        self._tries = 0
        advanced = offset > self.acknowledged
        self.acknowledged = max(self.acknowledged, offset)
        self._next = max(self._next, self.acknowledged)
        while self._outstanding and self._answered(self._outstanding[0].piece):
            self._outstanding.popleft()  # its answer was lost, or is still to come
        if self._outstanding and not any(sent.piece.size_bytes for sent in self._outstanding):
            question = self._outstanding[-1]
            if self._timer.last_answer_s - question.time_s > _ERASE_SIGN_S:
                self._idle_question = question.piece.sequence
            self._outstanding.clear()
            self._spoiled = True  # it may have been cut off in the middle
        return Outcome.ADVANCED if advanced else Outcome.STALE

    def _answered(self, piece: Piece) -> bool:
        return piece.end <= self.acknowledged and (piece.size_bytes > 0 or piece.end < self.acknowledged)

    def _take(self, sequence: int) -> Sent | None:
        """The unanswered request with that number; older ones that were not answered are lost, or their answers are."""
        found = next((sent for sent in self._outstanding if sent.piece.sequence == sequence), None)
        while found is not None and self._outstanding.popleft() is not found:
            pass
        return found

    def _go_back(self, offset: int) -> None:
        self.losses += 1
        self._spoiled = True
        self._abandon()
        self._next = offset
        self._growth.on_loss(after_erase=self._last_was_slow)

    def _abandon(self) -> None:
        self._abandoned.update(
            (sent.piece.sequence, sent.time_s) for sent in self._outstanding if sent.piece.size_bytes
        )
        while len(self._abandoned) > _ABANDONED:
            del self._abandoned[next(iter(self._abandoned))]
        self._outstanding.clear()
