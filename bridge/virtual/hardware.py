"""What an application on the virtual board runs on, handed to it at its start."""

from collections.abc import Callable
from dataclasses import dataclass

from bridge.virtual.clock import Timeline
from bridge.virtual.cpu import Cpu
from bridge.virtual.faults import FaultPlan, ReplyFaults
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.modem import Modem
from bridge.virtual.retention import RetainedState
from bridge.virtual.uart import Uart


@dataclass(frozen=True)
class Hardware:
    """What the application runs on.

    Attributes:
        timeline: Board time.
        cpu: The processor.
        uart: The line to the host.
        flash: All flash.
        layout: Where the slots are.
        modem: The modem core.
        faults: What goes wrong on purpose.
        replies: What happens to replies on purpose.
        retained: What a reset leaves alone.
        reset: Resets the board; the argument says why.
        note: Records an event for people and tests.
    """

    timeline: Timeline
    cpu: Cpu
    uart: Uart
    flash: Flash
    layout: Layout
    modem: Modem
    faults: FaultPlan
    replies: ReplyFaults
    retained: RetainedState
    reset: Callable[[str], None]
    note: Callable[..., None]
