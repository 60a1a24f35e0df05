"""What a reset leaves alone and a loss of power does not: the boot mode, and the reasons of the last resets.

Sources: Zephyr ``subsys/retention`` and ``include/zephyr/retention/bootmode.h`` (the boot mode that an application leaves
for MCUboot); nRF9160 product specification (RESETREAS gathers reasons until they are cleared; power-on clears it).
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final


class BootMode(IntEnum):
    """What the application wants MCUboot to do at the next boot (``BOOT_MODE_TYPE_*``)."""

    NORMAL = 0
    BOOTLOADER = 1


class ResetReason(IntFlag):
    """Bits of RESETREAS; none is set after power-on."""

    PIN = 1 << 0
    WATCHDOG = 1 << 1
    SOFT = 1 << 2


NO_REASON: Final = ResetReason(0)
_REASONS: Final = {"button": ResetReason.PIN, "watchdog": ResetReason.WATCHDOG}


@dataclass
class RetainedState:
    """Registers and RAM that keep their content through a reset.

    Attributes:
        boot_mode: See :class:`BootMode`; other numbers are kept and mean nothing to MCUboot.
        reset_reasons: Why the board was reset since power-on, or since somebody cleared the register.
    """

    boot_mode: int = BootMode.NORMAL
    reset_reasons: ResetReason = NO_REASON

    def reset(self, cause: str) -> None:
        """The board is reset: by its ``button``, the ``watchdog``, or else by software."""
        self.reset_reasons |= _REASONS.get(cause, ResetReason.SOFT)

    def power_lost(self) -> None:
        """The supply is gone."""
        self.boot_mode = BootMode.NORMAL
        self.reset_reasons = NO_REASON
