"""How long to wait for an answer over a line on which answers get lost and devices sometimes take long.

Source: RFC 6298 for the principle; the two times instead of one are because a page erase makes one answer in a dozen take
ten times as long as the others.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

_DECAY: Final = 0.995
"""How fast the slowest answer is forgotten: a page erase comes once in up to 80 requests, and must still be known then."""
_SLACK: Final = 1.6
_RECENT: Final = 16
_EARLY_S: Final = 0.5
_USUAL: Final = 0.75
"""Share of the recent answers that the usual time covers; those behind a page erase are fewer than the rest."""


@dataclass(frozen=True)
class WindowLimits:
    """What the device can take.

    Attributes:
        max_requests: Most requests that may be unanswered: what the device's buffers hold.
        flow_control: The device's UART stops the host when it is full.
        first_timeout_s: For the answer to the first request, before which a server may erase the whole slot.
        initial_timeout_s: For the others, until answers have shown how long they take.
        min_timeout_s: Never expect an answer sooner than this.
        min_question_s: Never ask sooner than this where the device is.
        max_timeout_s: Never wait longer than this for one.
        max_tries: How often to send without any progress before giving up.
    """

    max_requests: int = 1
    flow_control: bool = False
    first_timeout_s: float = 40.0
    initial_timeout_s: float = 1.0
    min_timeout_s: float = 0.05
    min_question_s: float = 0.02
    max_timeout_s: float = 8.0
    max_tries: int = 10


class AnswerTimer:
    """How long to wait for an answer.

    The usual time is that of most recent answers; the slowest so far, which is slowly forgotten, is one behind a page erase.

    Args:
        limits: The bounds.

    Attributes:
        last_answer_s: When the last answer came.
        timeout_s: How long to wait before sending again.
        question_s: How long to wait before asking where the device is.
    """

    def __init__(self, limits: WindowLimits) -> None:
        self._limits = limits
        self._slowest_s: float | None = None
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._answers = 0
        self._factor = 1
        self.last_answer_s = float("-inf")
        self.timeout_s = limits.initial_timeout_s
        self.question_s = min(limits.initial_timeout_s, _EARLY_S)

    def measure(self, duration_s: float) -> bool:
        """Learn from an answer that took ``duration_s``; True when that was longer than usual."""
        slow = bool(self._recent) and duration_s > self.question_s
        self._slowest_s = max(duration_s, _DECAY * (self._slowest_s or 0.0))
        self._answers += 1
        self._recent.append(duration_s)
        self._factor = 1
        usual_s = sorted(self._recent)[math.ceil(_USUAL * len(self._recent)) - 1]
        self.question_s = max(self._limits.min_question_s, _SLACK * usual_s)
        self._bound()
        return slow

    def back_off(self) -> None:
        """Nothing came: wait twice as long next time."""
        self._factor *= 2
        self._bound()

    def _bound(self) -> None:
        limits = self._limits
        known = self._answers >= _RECENT  # before, the slowest may be still to come
        floor_s = limits.min_timeout_s if known else min(limits.initial_timeout_s, _EARLY_S)
        usual_s = limits.initial_timeout_s if self._slowest_s is None else _SLACK * self._slowest_s
        bounded = max(floor_s, usual_s) * self._factor
        self.timeout_s = min(bounded, self._limits.max_timeout_s)
