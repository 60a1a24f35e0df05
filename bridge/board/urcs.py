"""URCs that have come and nobody has taken yet; whoever wants one finds it here or waits for it."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bridge import clock
from bridge.errors import LinkError

_KEPT_URCS: Final = 256

UrcFilter = str | Callable[[str], bool]
"""Beginning of the wanted URC, or a function that knows it."""


class UrcBox:
    """Keeps the latest URCs; filled by the reader thread, emptied by any other."""

    def __init__(self) -> None:
        self._changed = clock.condition()
        self._urcs: deque[str] = deque(maxlen=_KEPT_URCS)
        self._subscribers: list[Callable[[str], None]] = []
        self._lost: LinkError | None = None

    def put(self, urcs: list[str]) -> None:
        """Keep new URCs and tell the subscribers."""
        with self._changed:
            self._urcs.extend(urcs)
            self._changed.notify_all()
            subscribers = list(self._subscribers)
        for urc in urcs:
            for subscriber in subscribers:
                subscriber(urc)

    def link_lost(self, error: LinkError) -> None:
        """Nothing more will come: who waits gets this error."""
        with self._changed:
            self._lost = error
            self._changed.notify_all()

    def link_restored(self) -> None:
        """More may come."""
        with self._changed:
            self._lost = None

    def wait(self, wanted: UrcFilter, timeout_s: float) -> str:
        """Take the oldest URC that fits, or wait for one.

        Raises:
            LinkError: None came in time (reason ``no-answer``), or the link is lost.
        """
        deadline = clock.monotonic() + timeout_s
        with self._changed:
            while True:
                for urc in self._urcs:
                    if _fits(urc, wanted):
                        self._urcs.remove(urc)
                        return urc
                if self._lost is not None:
                    raise self._lost
                left_s = deadline - clock.monotonic()
                if left_s <= 0 or not self._changed.wait(left_s):
                    name = repr(wanted) if isinstance(wanted, str) else "the expected message"
                    raise LinkError(f"{name} did not come within {timeout_s:.1f} s", reason="no-answer")

    def take(self, wanted: UrcFilter = "") -> list[str]:
        """Remove and return all that fit."""
        with self._changed:
            taken = [urc for urc in self._urcs if _fits(urc, wanted)]
            for urc in taken:
                self._urcs.remove(urc)
            return taken

    @contextmanager
    def subscription(self, callback: Callable[[str], None]) -> Iterator[None]:
        """Have every URC given to a function as it comes, as long as the block lasts."""
        with self._changed:
            self._subscribers.append(callback)
        try:
            yield
        finally:
            with self._changed:
                self._subscribers.remove(callback)


def _fits(urc: str, wanted: UrcFilter) -> bool:
    return urc.startswith(wanted) if isinstance(wanted, str) else wanted(urc)
