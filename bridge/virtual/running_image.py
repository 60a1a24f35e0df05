"""The image that runs, as far as the board's behaviour depends on it: version, confirmation, behaviour block.

Source of the behaviour block: :mod:`bridge.image.sample`. An image without one, such as a real one, behaves
as the personality that the board was started with.
"""

from dataclasses import dataclass

from bridge.image.sample import find_behaviour
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.mcuboot import SwapType, running_version, swap_type, write_img_confirmed


@dataclass(frozen=True)
class Behaviour:
    """What an application does beyond its personality.

    Attributes:
        confirms: It confirms itself after an update.
        crash_loop: It dies before it says anything.
        ready_delay_ms: How much later than usual it is ready.
        registers: It finds its network.
    """

    confirms: bool = True
    crash_loop: bool = False
    ready_delay_ms: int = 0
    registers: bool = True


class RunningImage:
    """The image in the primary slot.

    Args:
        flash: The board's flash.
        layout: Where the slot is.
    """

    def __init__(self, flash: Flash, layout: Layout) -> None:
        self._flash = flash
        self._layout = layout
        self.version = running_version(flash, layout)
        found = find_behaviour(flash.read(layout.primary.address, layout.primary.size)) or {}
        self.behaviour = Behaviour(
            confirms=bool(found.get("confirm", True)),
            crash_loop=bool(found.get("crash_loop", False)),
            ready_delay_ms=int(found.get("ready_delay_ms", 0)),
            registers=bool(found.get("registers", True)),
        )

    @property
    def unconfirmed(self) -> bool:
        """Whether the next reset would bring the old image back."""
        return swap_type(self._flash, self._layout) is SwapType.REVERT

    def confirm(self) -> None:
        """Mark the image as good."""
        write_img_confirmed(self._flash, self._layout)
