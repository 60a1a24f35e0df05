"""What happened on a board, kept from its making on; whoever waits for something is woken."""

import logging
from collections.abc import Callable

from bridge import clock
from bridge.virtual.events import BoardEvent

_log = logging.getLogger(__name__)

Listener = Callable[[BoardEvent], None]


class EventLog:
    """The events of one board; notes come from its thread, questions from any.

    Attributes:
        events: All of them, oldest first.
    """

    def __init__(self) -> None:
        self.events: list[BoardEvent] = []
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
            self._changed.notify_all()
        for listener in self._listeners:
            listener(event)

    def wait_for(self, kind: str, count: int, timeout_s: float) -> BoardEvent:
        """Wait until ``count`` events of a kind have happened; returns the last of them.

        Raises:
            TimeoutError: They did not happen in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._of(kind)) >= count, timeout_s):
                raise TimeoutError(f"no {kind} event number {count} of the virtual board")
            return self._of(kind)[count - 1]

    def _of(self, kind: str) -> list[BoardEvent]:
        return [event for event in self.events if event.kind == kind]
