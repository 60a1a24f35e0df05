"""Whether a board has enough supply voltage to let its modem rewrite its own flash, and waiting until it has.

A modem that finds its supply too low refuses a delta (result 71303173) and does not start before it is higher, with the
delta still scheduled (nrfxlib ``nrf_modem.h``); one that loses it on the way may need to be reprogrammed. The modem's own
threshold is not published. nRF91 needs 3.0 V (product specifications, "VDD"), and the modem's flash and radio draw more than
an idle board, so a little more is asked for by default.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from bridge import clock
from bridge.errors import BenchError
from bridge.fota.events import Notice, Stage, UpdateEvent, Waiting

DEFAULT_MINIMUM_MV: Final = 3_100
REASON: Final = "battery-low"


@dataclass(frozen=True)
class SupplyRules:
    """What a modem update needs.

    Attributes:
        minimum_mv: Supply voltage in mV (``%XVBAT``); 0 asks for nothing.
        wait_s: How long to wait for it.
        poll_s: How often to look meanwhile.
    """

    minimum_mv: int = DEFAULT_MINIMUM_MV
    wait_s: float = 600.0
    poll_s: float = 5.0


class SupplyClock(Protocol):
    """Time, and waiting."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def wait(self, seconds: float) -> None:
        """Let so many seconds pass."""
        ...


class SystemClock:
    """The system's clock."""

    def now_s(self) -> float:
        """Seconds of :func:`bridge.clock.monotonic`."""
        return clock.monotonic()

    def wait(self, seconds: float) -> None:
        """Wait."""
        clock.event().wait(seconds)


def await_supply(
    read_mv: Callable[[], int | None], rules: SupplyRules, stage: Stage, clock: SupplyClock | None = None
) -> Iterator[UpdateEvent]:
    """Wait until the supply is high enough.

    Args:
        read_mv: Asks the board; None when it does not tell.
        rules: What is enough.
        stage: Where the update is.
        clock: Time; tests bring their own.

    Yields:
        A ``Waiting`` each time that the voltage was found too low, so that whoever iterates can stop; a ``Notice`` when the
        board does not tell.

    Raises:
        BenchError: It did not rise in time (reason ``battery-low``).
        LinkError: The board stopped answering.
    """
    if rules.minimum_mv <= 0:
        return
    clock = clock or SystemClock()
    deadline_s = clock.now_s() + rules.wait_s
    waited = False
    while True:
        found_mv = read_mv()
        if found_mv is None:
            yield Notice(stage, "the board does not tell its supply voltage; make sure that it is sufficient")
            return
        if found_mv >= rules.minimum_mv:
            if waited:
                yield Notice(stage, f"the supply has {found_mv} mV now; going on")
            return
        left_s = deadline_s - clock.now_s()
        if left_s <= 0:
            raise _too_low(found_mv, rules)
        waited = True
        yield Waiting(stage, REASON, _text(found_mv, rules, left_s))
        clock.wait(min(rules.poll_s, left_s))


def _text(found_mv: int, rules: SupplyRules, left_s: float) -> str:
    minutes = math.ceil(left_s / 60)
    return (
        f"the supply has {found_mv} mV, a modem update needs {rules.minimum_mv} mV;"
        f" waiting for at most {minutes} more minute{'s' if minutes != 1 else ''}"
    )


def _too_low(found_mv: int, rules: SupplyRules) -> BenchError:
    return BenchError(
        f"the supply has {found_mv} mV, and a modem update needs {rules.minimum_mv} mV; it did not rise in"
        f" {rules.wait_s:g} s",
        reason=REASON,
        hint="Charge the battery, or raise the supply, and order the update again.",
    )
