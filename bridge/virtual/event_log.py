"""What happened on a board since its making, the latest of it in full; whoever waits for something is woken."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from bridge import clock
from bridge.virtual.events import BoardEvent

_log = logging.getLogger(__name__)

KEPT_EVENTS: Final = 1024
"""Far more than any test looks at; a board that is served for weeks must not grow."""

Listener = Callable[[BoardEvent], None]


class EventLog:
    """The events of one board; notes come from its thread, questions from any.

    Attributes:
        events: The latest ``KEPT_EVENTS``, oldest first.
    """

    def __init__(self) -> None:
        self.events: list[BoardEvent] = []
        self._forgotten: Counter[str] = Counter()
        self._changed = clock.condition()
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` for everything that happens from now on."""
        self._listeners.append(listener)

    def note(self, event: BoardEvent) -> None:
        """Something happened."""
        _log.debug("%.3f s: %s %s", event.time_s, event.kind, event.details)
        with self._changed:
            self.events.append(event)
            if len(self.events) > KEPT_EVENTS:
                self._forgotten[self.events.pop(0).kind] += 1
            self._changed.notify_all()
        for listener in self._listeners:
            listener(event)

    def wait_for(self, kind: str, count: int, timeout_s: float) -> BoardEvent:
        """Wait until ``count`` events of a kind have happened; returns the last of them, or the oldest that is kept.

        Raises:
            TimeoutError: They did not happen in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._count(kind) >= count, timeout_s):
                raise TimeoutError(f"no {kind} event number {count} of the virtual board")
            return self._of(kind)[max(0, count - 1 - self._forgotten[kind])]

    def _count(self, kind: str) -> int:
        return self._forgotten[kind] + len(self._of(kind))

    def _of(self, kind: str) -> list[BoardEvent]:
        return [event for event in self.events if event.kind == kind]
