"""What MCUboot on the virtual board runs on, handed to it at every reset."""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.virtual.cpu import Cpu
from bridge.virtual.faults import ReplyFaults
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.retention import RetainedState
from bridge.virtual.uart import Uart


@dataclass(frozen=True)
class BootMachine:
    """What MCUboot runs on.

    Attributes:
        cpu: The processor.
        uart: The line to the host.
        flash: All flash.
        layout: Where the slots are.
        replies: What happens to replies on purpose.
        retained: What the reset has left alone.
        button_held: Whether somebody holds the board's button down now.
        reset: Resets the board; the argument says why.
        note: Records an event for people and tests.
    """

    cpu: Cpu
    uart: Uart
    flash: Flash
    layout: Layout
    replies: ReplyFaults
    retained: RetainedState
    button_held: Callable[[], bool]
    reset: Callable[[str], None]
    note: Callable[..., None]
