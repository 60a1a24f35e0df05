"""What can go wrong with a virtual board and its cable, switched on while a test runs."""

import threading
from pathlib import Path

from bridge.pytest_plugin.virtual_bench import VirtualDevice
from bridge.virtual.events import BoardEvent
from bridge.virtual.faults import ByteFault, ReplyFault


class BoardFaults:
    """Faults, counted from the moment in which they are asked for.

    Args:
        device: The board.
    """

    def __init__(self, device: VirtualDevice) -> None:
        self._device = device
        self._board = device.virtual

    # --- the line -------------------------------------------------------------------------------------------

    def to_board(self, ahead_bytes: int, fault: str = "drop") -> None:
        """Have a byte to the board hit: ``drop``, ``flip``, ``duplicate`` or ``power-cut``."""
        self._board.call(lambda: self._board.rx_faults.add(ahead_bytes, ByteFault(fault)))

    def from_board(self, ahead_bytes: int, fault: str = "drop") -> None:
        """Have a byte from the board hit."""
        self._board.call(lambda: self._board.tx_faults.add(ahead_bytes, ByteFault(fault)))

    def reply(self, ahead: int, fault: str = "drop") -> None:
        """Have an answer of the board hit: ``drop``, ``delay`` or ``duplicate``."""
        self._board.call(lambda: self._board.replies.add(ahead, ReplyFault(fault)))

    def say(self, text: str) -> None:
        """Have the firmware write something between what it is asked for."""
        self._board.say(text.encode("latin-1"))

    def clear(self) -> None:
        """Nothing more goes wrong on the line."""

        def forget() -> None:
            self._board.rx_faults.forget()
            self._board.tx_faults.forget()
            self._board.replies.forget()

        self._board.call(forget)

    # --- the cable ------------------------------------------------------------------------------------------

    @property
    def link(self) -> Path:
        """The link that leads to the port, whatever its own name is."""
        return self._device.cable.link

    def unplug(self) -> None:
        """Pull the cable."""
        self._device.cable.unplug()

    def plug(self) -> None:
        """Put it back; the port's own name is another one, as after USB enumeration."""
        self._device.cable.plug()

    # --- the button -----------------------------------------------------------------------------------------

    def hold_button(self) -> None:
        """Press the button that leads into MCUboot's recovery, and keep it down."""
        self._board.hold_button()

    def release_button(self) -> None:
        """Let it go."""
        self._board.release_button()

    # --- the supply -----------------------------------------------------------------------------------------

    def power_cut_at_flash_operation(self, ahead: int) -> None:
        """Take the supply away at a flash operation from now on (1 for the next)."""
        flash = self._board.flash
        self._board.call(lambda: flash.cut_power_at(flash.operations + ahead))

    def power_cut(self) -> None:
        """Take the supply away now."""
        self._board.power_cut()

    def power_on(self) -> None:
        """Give it back."""
        self._board.power_on()

    def power_returns(self) -> None:
        """From now on give the supply back by itself each time that it was lost."""

        def on_event(event: BoardEvent) -> None:
            if event.kind == "power-off" and event.details.get("reason") != "stopped":
                # The board's own thread tells; it must not wait for itself.
                threading.Thread(target=self._board.power_on, name="power-returns", daemon=True).start()

        self._board.on_event(on_event)

    def wait_for(self, event: str, count: int = 1, timeout_s: float = 60.0) -> BoardEvent:
        """Wait until something has happened on the board, such as ``boot``, ``ready`` or ``power-off``."""
        return self._board.wait_for_event(event, count=self.count(event) + count, timeout_s=timeout_s)

    def count(self, event: str) -> int:
        """How often something has happened on the board since it was built."""
        return sum(each.kind == event for each in self._board.events)
