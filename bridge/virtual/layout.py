"""Where the image slots of a board are.

Source: ncs-serial-modem ``app/boards/nrf9151dk_nrf9151_ns.overlay`` (partitions of the Serial Modem build). The primary slot is
one page larger than the secondary, which swap-using-move needs.
"""

from dataclasses import dataclass
from typing import Final

from bridge.errors import UsageError

FLASH_BYTES: Final = 0x100000


@dataclass(frozen=True)
class Slot:
    """An image slot.

    Attributes:
        address: First byte in flash.
        size: Size in bytes.
    """

    address: int
    size: int

    @property
    def end(self) -> int:
        """First byte after the slot."""
        return self.address + self.size


@dataclass(frozen=True)
class Layout:
    """The flash of one board model.

    Attributes:
        model: Name of the board.
        flash_size: Size of the internal flash in bytes.
        primary: Slot that the application runs from.
        secondary: Slot that an update is written to.
    """

    model: str
    flash_size: int
    primary: Slot
    secondary: Slot


_LAYOUTS: Final = {
    "nrf9151dk": Layout("nrf9151dk", FLASH_BYTES, Slot(0x20000, 0x6F000), Slot(0x8F000, 0x6E000)),
}


def layout_of(model: str) -> Layout:
    """The layout of a board model.

    Raises:
        UsageError: There is no such virtual board.
    """
    try:
        return _LAYOUTS[model]
    except KeyError:
        known = ", ".join(sorted(_LAYOUTS))
        raise UsageError(
            f"there is no virtual board {model}", reason="unknown-model", hint=f"Known: {known}."
        ) from None
