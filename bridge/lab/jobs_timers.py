"""Which timer is next: one per key, cheap to move, for thousands of them."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

_Key = TypeVar("_Key", bound=Hashable)


class Timers(Generic[_Key]):
    """Keys with the time at which each is due. Keys of one time come in the order in which they were set."""

    def __init__(self) -> None:
        self._at: dict[_Key, float] = {}
        self._heap: list[tuple[float, int, _Key]] = []
        self._count = 0

    def set(self, key: _Key, at: float | None) -> None:
        """Start, move or (None) stop the timer of a key."""
        if self._at.get(key) == at:
            return
        if at is None:
            del self._at[key]
            return
        self._at[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))

    def next(self) -> float | None:
        """When the next one is due, or None."""
        while self._heap and self._at.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)  # moved or stopped meanwhile
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> _Key | None:
        """Take out the first key that is due, or give None."""
        at = self.next()
        if at is None or at > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._at[key]
        return key
