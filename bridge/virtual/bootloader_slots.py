"""How MCUboot updates itself, between the immutable bootloader and the application.

Sources: sdk-mcuboot ``boot/bootutil/src/loader.c`` and ``swap_nsib.c``. An update of MCUboot is written to the application's
secondary slot and marked like any other. MCUboot tells by the reset vector that it is meant for s0 or s1, copies it there and
resets; the immutable bootloader then takes the slot with the higher version.
"""

from collections.abc import Callable, Sequence
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import IMAGE_MAGIC_BYTES, parse_header
from bridge.virtual.flash import Flash
from bridge.virtual.immutable_bootloader import ImmutableBootloader, bootloader_slots, provisioned_keys
from bridge.virtual.layout import Layout
from bridge.virtual.otp import Otp
from bridge.virtual.slot_image import SlotImage
from bridge.virtual.swap_request import swap_type
from bridge.virtual.trailer import SwapType, Trailer

_HEADER_BYTES: Final = 32
_WORD_BYTES: Final = 4


def install_bootloader_update(
    flash: Flash, layout: Layout, public_keys_pem: Sequence[bytes], active_slot: int
) -> str | None:
    """What MCUboot does with an image for s0 or s1 in the application's secondary slot.

    Args:
        flash: The flash.
        layout: Where the slots are.
        public_keys_pem: Keys that MCUboot trusts; with none, digests only.
        active_slot: The slot that this MCUboot runs from.

    Returns:
        ``installed`` when it was copied (MCUboot then resets), why it was erased, or None when there is nothing to do.
    """
    secondary = layout.secondary
    target = target_slot(flash, layout)
    if target is None:
        return None
    if target == active_slot:
        flash.erase(secondary.address, secondary.size)
        return "wrong-slot"
    if swap_type(flash, layout) not in (SwapType.TEST, SwapType.PERM):
        return None
    try:
        SlotImage(flash, secondary).validate(public_keys_pem)
    except ImageRefusedError as error:
        flash.erase(secondary.address, secondary.size)
        return error.reason
    inactive = bootloader_slots(layout)[target]
    flash.erase(inactive.address, inactive.size)
    flash.write(inactive.address, flash.read(secondary.address, inactive.size))
    Trailer(flash, secondary).erase()
    flash.erase(secondary.address, min(inactive.size + flash.page_size, secondary.size))
    return "installed"


def start_bootloader(
    flash: Flash,
    layout: Layout,
    otp: Otp,
    public_keys_pem: Sequence[bytes],
    note: Callable[..., None],
) -> bool:
    """From reset to a running MCUboot that has no update of itself to install.

    Args:
        flash: The flash.
        layout: Where the slots are; without slots for MCUboot there is no immutable bootloader.
        otp: The immutable bootloader's counter.
        public_keys_pem: Keys that both bootloaders trust.
        note: Takes events: ``bootloader`` whenever something else happened than at the last reset.

    Returns:
        False when nothing can be started.
    """
    if layout.bootloader_slots is None:
        return True
    keys = provisioned_keys(public_keys_pem)
    while True:
        immutable = ImmutableBootloader(flash, layout, otp, keys)
        active = immutable.choose()
        if active is None:
            note("bootloader", slot=None, version=None, refused=immutable.refused, update=None)
            return False
        update = install_bootloader_update(flash, layout, public_keys_pem, active.slot)
        if immutable.refused or update is not None:
            note(
                "bootloader",
                slot=active.slot,
                version=active.version,
                refused=immutable.refused,
                update=update,
            )
        if update != "installed":
            return True


def target_slot(flash: Flash, layout: Layout) -> int | None:
    """The slot that an image in the secondary slot is meant for, by its reset vector; None for an application."""
    if layout.bootloader_slots is None:
        return None
    address = layout.secondary.address
    header = flash.read(address, _HEADER_BYTES)
    if not header.startswith(IMAGE_MAGIC_BYTES):
        return None
    try:
        start = parse_header(header).header_size_bytes
        vector = int.from_bytes(flash.read(address + start + _WORD_BYTES, _WORD_BYTES), "little")
    except (ImageRefusedError, ValueError):
        return None
    for number, slot in enumerate(bootloader_slots(layout)):
        if slot.address <= vector <= slot.end:
            return number
    return None
