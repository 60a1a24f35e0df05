"""The parts of an upload over SMP: requests, and what their answers mean."""

from dataclasses import dataclass
from enum import StrEnum


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
class Sent:
    """A request that was sent, and when."""

    piece: Piece
    time_s: float
