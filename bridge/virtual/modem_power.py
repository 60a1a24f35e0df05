"""Power that fails while the modem works on its own flash, counted like the operations of the application's flash.

Source: nrfxlib ``nrf_modem/doc/delta_dfu.rst``, "Fail-safety": a transfer that the power cut short is resumed at the offset
that the modem tells, an update that it cut short goes on at the modem's next start.
"""

from collections.abc import Callable

from bridge.virtual.faults import PowerCutError
from bridge.virtual.flash import Tear


def _nothing() -> None:
    pass


class ModemOperations:
    """Carries out what changes the modem's flash.

    Attributes:
        count: How many operations there have been.
    """

    def __init__(self) -> None:
        self.count = 0
        self._cut_at: int | None = None
        self._tear: Tear | str = Tear.HALF

    def cut_power_at(self, operation: int | None, tear: Tear | str = Tear.HALF) -> None:
        """Let the power fail in the operation with that number, as ``count`` counts from 1; None for never."""
        self._cut_at = operation
        self._tear = tear

    def do(self, wholly: Callable[[], object], partly: Callable[[], object] = _nothing) -> None:
        """Carry out one operation.

        Args:
            wholly: What it does.
            partly: What it has done when the power fails in the middle.

        Raises:
            PowerCutError: The power fails in it.
        """
        self.count += 1
        if self.count != self._cut_at:
            wholly()
            return
        if self._tear == Tear.AFTER:
            wholly()
        elif self._tear == Tear.HALF:
            partly()
        raise PowerCutError
