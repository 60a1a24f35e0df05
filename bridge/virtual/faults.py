"""What goes wrong on purpose: a plan that is the same for the same seed and the same traffic.

Everything is counted from the board's start: flash operations, bytes from and to the host, replies. Nothing
here knows the clock, so a plan gives the same fault at both timings.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_NS_PER_MS: Final = 1_000_000


class ByteFault(StrEnum):
    """What happens to one byte on the line."""

    DROP = "drop"
    FLIP = "flip"
    DUPLICATE = "duplicate"
    POWER_CUT = "power-cut"
    """The supply goes away while it is on the line."""


class ReplyFault(StrEnum):
    """What happens to one reply or URC of the board."""

    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"


class PowerCutError(Exception):
    """The supply went away in the middle of something; nothing after this moment happens."""


@dataclass(frozen=True)
class FaultRates:
    """Faults that strike at random.

    Attributes:
        drop_every: Mean distance in bytes of dropped ones; 0 for never.
        flip_every: Mean distance in bytes of those that lose a bit; 0 for never.
    """

    drop_every: int = 0
    flip_every: int = 0

    @property
    def chance(self) -> float:
        """Probability that a byte is hit."""
        return sum(1 / every for every in (self.drop_every, self.flip_every) if every)


@dataclass(frozen=True)
class FaultPlan:
    """The faults of one run.

    Attributes:
        power_cut_at_flash_operation: Number (from 1) of the flash operation that a power cut interrupts.
        rx: Byte number (from 0) from the host -> what happens to it.
        tx: Byte number (from 0) to the host -> what happens to it.
        replies: Number (from 0) of a reply, URC or SMP answer -> what happens to it.
        reply_delay_ms: How late a delayed reply is.
        failing_writes: Numbers (from 0) of ``#XDFUWRITE`` transfers that report ``#XDFU: t,1,-1``.
        seed: Chooses the bit that a flipped byte loses, and where random faults strike.
        rx_rates: Random faults of bytes from the host.
        tx_rates: Random faults of bytes to the host.
    """

    power_cut_at_flash_operation: int | None = None
    rx: dict[int, ByteFault] = field(default_factory=dict)
    tx: dict[int, ByteFault] = field(default_factory=dict)
    replies: dict[int, ReplyFault] = field(default_factory=dict)
    reply_delay_ms: int = 1_500
    failing_writes: frozenset[int] = frozenset()
    seed: int = 0
    rx_rates: FaultRates = field(default_factory=FaultRates)
    tx_rates: FaultRates = field(default_factory=FaultRates)


class ByteFaults:
    """Applies byte faults to a stream.

    Args:
        faults: Byte number (from 0) -> fault.
        seed: Chooses flipped bits and where random faults strike.
        rates: Random faults.
    """

    def __init__(
        self, faults: dict[int, ByteFault] | None = None, seed: int = 0, rates: FaultRates | None = None
    ) -> None:
        self._faults = dict(faults or {})
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self._rates = rates or FaultRates()
        self._next_random = self._gap()
        self._position = 0

    @property
    def position(self) -> int:
        """How many bytes have come by."""
        return self._position

    def apply(self, data: bytes) -> bytes:
        """What is left of ``data``, the next bytes of the stream.

        Raises:
            PowerCutError: One of them is the last that the board saw.
        """
        first = self._position
        self._position += len(data)
        if self._next_random < self._position:
            self._strike()
        if not self._faults:
            return data
        hits = sorted(number for number in self._faults if first <= number < self._position)
        if not hits:
            return data
        result = bytearray()
        start = 0
        for number in hits:
            index = number - first
            result += data[start:index] + self._hit(self._faults.pop(number), data[index])
            start = index + 1
        return bytes(result + data[start:])

    def add(self, ahead: int, fault: ByteFault) -> None:
        """Have a fault strike the byte that comes after so many more (0 for the very next one)."""
        self._faults[self._position + ahead] = fault

    def forget(self) -> None:
        """Leave all bytes alone from now on."""
        self._faults.clear()
        self._next_random = math.inf

    def _gap(self) -> float:
        chance = self._rates.chance
        return self._random.expovariate(chance) if chance else math.inf

    def _strike(self) -> None:
        """Add the random faults up to the current position."""
        while self._next_random < self._position:
            drop_chance = 1 / self._rates.drop_every if self._rates.drop_every else 0.0
            dropped = self._random.random() * self._rates.chance < drop_chance
            self._faults.setdefault(int(self._next_random), ByteFault.DROP if dropped else ByteFault.FLIP)
            self._next_random += self._gap()

    def _hit(self, fault: ByteFault, byte: int) -> bytes:
        if fault is ByteFault.POWER_CUT:
            raise PowerCutError
        if fault is ByteFault.DROP:
            return b""
        if fault is ByteFault.DUPLICATE:
            return bytes((byte, byte))
        return bytes((byte ^ 1 << self._random.randrange(8),))


class ReplyFaults:
    """Applies reply faults to all that the board says in answer to something, over all its resets.

    Args:
        plan: Which replies are hit.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self._faults = dict(plan.replies)
        self._delay_ns = plan.reply_delay_ms * _NS_PER_MS
        self.count = 0
        """How many replies there have been."""

    def add(self, ahead: int, fault: ReplyFault) -> None:
        """Have a fault strike the reply that comes after so many more (0 for the very next one)."""
        self._faults[self.count + ahead] = fault

    def forget(self) -> None:
        """Leave all replies alone from now on."""
        self._faults.clear()

    def give(
        self,
        data: bytes,
        transmit: Callable[[bytes], None],
        later: Callable[[int, Callable[[], None]], object],
    ) -> None:
        """Send the next reply, or what the plan makes of it.

        Args:
            data: The reply.
            transmit: Sends bytes.
            later: Does something after so many nanoseconds.
        """
        fault = self._faults.get(self.count)
        self.count += 1
        if fault is ReplyFault.DROP:
            return
        if fault is ReplyFault.DELAY:
            later(self._delay_ns, lambda: transmit(data))
            return
        transmit(data * 2 if fault is ReplyFault.DUPLICATE else data)
