"""What a board keeps without power: flash, the modem's memory, and one-time programmable cells; from a factory, or as left.

A fresh board with slots for MCUboot itself gets one from the factory, or its immutable bootloader would have nothing to start.
"""

from dataclasses import dataclass

from bridge.errors import UsageError
from bridge.virtual.factory_bootloader import factory_bootloader
from bridge.virtual.flash import Flash
from bridge.virtual.layout import BoardModel, Layout
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.otp import Otp
from bridge.virtual.state import StateDir


@dataclass(frozen=True)
class Memories:
    """The memories of one board.

    Attributes:
        flash: All flash that the CPU reaches.
        modem_nvm: What the modem keeps.
        otp: Counter and keys of the immutable bootloader.
    """

    flash: Flash
    modem_nvm: ModemNvm
    otp: Otp


def load_memories(model: BoardModel, state: StateDir | None, factory_image: bytes | None) -> Memories:
    """The memories as they were left in a state directory, or those of a fresh board.

    Args:
        model: The board's model.
        state: Where the board lives between processes, if it does.
        factory_image: What a fresh board has in its primary slot; None for nothing.

    Raises:
        UsageError: The factory image does not fit (reason ``image-too-large``).
        BenchError: What is in the directory is damaged.
    """
    content = None if state is None else state.load_flash()
    flash = model.layout.make_flash(content)
    if content is None and factory_image is not None:
        slot = model.layout.primary
        if len(factory_image) > slot.size:
            raise UsageError(
                f"the factory image does not fit into {slot.size} bytes", reason="image-too-large"
            )
        flash.program(slot.address, factory_image)
    nvm = None if state is None else state.load_modem()
    otp = None if state is None else state.load_otp()
    if otp is None:
        _install_bootloader(flash, model.layout)
    return Memories(
        flash, nvm or ModemNvm(family=model.modem_family, version=model.modem_version), otp or Otp()
    )


def _install_bootloader(flash: Flash, layout: Layout) -> None:
    slots = layout.bootloader_slots
    if slots is not None and all(flash.is_erased(slot.address, slot.size) for slot in slots):
        flash.program(slots[0].address, factory_bootloader(slots[0]))
