"""When a board's state is written to its directory: soon after a change, not at every flash operation."""

import time
from collections.abc import Callable
from typing import Final

from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp
from bridge.virtual.state import StateDir

_INTERVAL_S: Final = 1.0


class StateKeeper:
    """Saves a board.

    Args:
        state: Where; None for a board that lives only in this process.

    Attributes:
        otp: Saved with the rest.
    """

    def __init__(self, state: StateDir | None) -> None:
        self.otp = Otp()
        self._state = state
        self._changed = False
        self._last_save_s = 0.0

    def changed(self) -> None:
        """Something is no longer as it was saved."""
        self._changed = True

    def save_when_due(self, flash: Callable[[], bytes], modem: ModemNvm) -> float | None:
        """Save if something changed and the last save is some time ago.

        Returns:
            Seconds until a save is due, None when there is nothing to save.
        """
        if self._state is None or not self._changed:
            return None
        left_s = self._last_save_s + _INTERVAL_S - time.monotonic()
        if left_s > 0:
            return left_s
        self.save(flash, modem)
        return None

    def save(self, flash: Callable[[], bytes], modem: ModemNvm) -> None:
        """Save if there is a directory."""
        if self._state is not None:
            self._state.save(flash(), modem, self.otp)
            self._changed = False
            self._last_save_s = time.monotonic()

    def close(self) -> None:
        """Let another process have the directory."""
        if self._state is not None:
            self._state.close()
            self._state = None
