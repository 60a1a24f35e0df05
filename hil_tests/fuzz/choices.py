"""Arbitrary bytes as a list of decisions, so that one input can build well-formed things with odd contents.

The same bytes give the same decisions with Hypothesis, with atheris and in a replay.
"""

from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")


class Choices:
    """Takes decisions from bytes, front to back; when they are used up, every decision is the first one.

    Args:
        data: The bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def more(self) -> bool:
        """Whether bytes are left."""
        return self._position < len(self._data)

    def take(self, size_bytes: int) -> bytes:
        """The next bytes; fewer at the end."""
        piece = self._data[self._position : self._position + size_bytes]
        self._position += len(piece)
        return piece

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def byte(self) -> int:
        """0 to 255."""
        piece = self.take(1)
        return piece[0] if piece else 0

    def number(self, size_bytes: int = 4) -> int:
        """A number of so many bytes."""
        return int.from_bytes(self.take(size_bytes), "little")

    def flag(self) -> bool:
        """Yes or no."""
        return bool(self.byte() & 1)

    def of(self, options: Sequence[_T]) -> _T:
        """One of several."""
        return options[self.byte() % len(options)]

    def piece(self) -> bytes:
        """A short run of bytes, its length in front."""
        return self.take(self.byte())


def in_pieces(data: bytes, seed: int) -> list[bytes]:
    """Cut bytes as a line might deliver them: whole, one by one, or in pieces whose size the seed gives."""
    size = (len(data), 1, 2 + seed % 61)[seed % 3]
    return [data[start : start + size] for start in range(0, len(data), max(1, size))]
