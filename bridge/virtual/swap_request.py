"""How an application and MCUboot talk to each other: through the trailers, and nothing else.

Sources: MCUboot ``boot/bootutil/src/bootutil_public.c`` (``boot_swap_type_multi``, ``boot_set_pending``,
``boot_set_confirmed``); Zephyr ``subsys/dfu/boot/mcuboot.c`` for the names an application knows them by.
"""

from bridge.image.mcuboot import HEADER_BYTES, parse_header
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.trailer import Flag, Magic, SwapState, SwapType, Trailer


def decide(primary: SwapState, secondary: SwapState) -> SwapType:
    """MCUboot's table of what the next boot does; the first row that fits counts.

    ========= ========= ========= ========= ========= ======
    secondary secondary primary   primary   primary
    magic     image_ok  magic     image_ok  copy_done result
    ========= ========= ========= ========= ========= ======
    good      unset     any       any       any       TEST
    good      set       any       any       any       PERM
    unset     any       good      unset     set       REVERT
    otherwise                                         NONE
    ========= ========= ========= ========= ========= ======
    """
    if secondary.magic is Magic.GOOD and secondary.image_ok is not Flag.BAD:
        return SwapType.PERM if secondary.image_ok is Flag.SET else SwapType.TEST
    on_trial = (
        primary.magic is Magic.GOOD and primary.image_ok is Flag.UNSET and primary.copy_done is Flag.SET
    )
    return SwapType.REVERT if on_trial and secondary.magic is Magic.UNSET else SwapType.NONE


def swap_type(flash: Flash, layout: Layout) -> SwapType:
    """What the next boot would do, as an application asks it (``mcuboot_swap_type``)."""
    return decide(Trailer(flash, layout.primary).state(), Trailer(flash, layout.secondary).state())


def request_upgrade(flash: Flash, layout: Layout, *, permanent: bool, slot: Slot | None = None) -> bool:
    """Mark the secondary image for the next boot (``boot_request_upgrade``).

    Args:
        flash: The flash.
        layout: Where the slots are.
        permanent: Install it for good instead of on trial.
        slot: Mark that slot instead, whatever it means.

    Returns:
        False when a damaged trailer was found: MCUboot's code erases the whole slot then, and reports -EFAULT.
    """
    slot = slot or layout.secondary
    trailer = Trailer(flash, slot)
    magic = trailer.state().magic
    if magic is Magic.BAD:
        flash.erase(slot.address, slot.size)
        return False
    if magic is Magic.UNSET:
        trailer.write_magic()
        if permanent:
            trailer.write_image_ok()
        trailer.write_swap_info(SwapType.PERM if permanent else SwapType.TEST)
    return True


def write_img_confirmed(flash: Flash, layout: Layout) -> bool:
    """Confirm the running image (``boot_write_img_confirmed``); one that never was on trial needs nothing.

    Returns:
        False when the primary trailer is damaged; then nothing is written.
    """
    trailer = Trailer(flash, layout.primary)
    state = trailer.state()
    if state.magic is Magic.GOOD and state.image_ok is Flag.UNSET:
        trailer.write_image_ok()
    return state.magic is not Magic.BAD


def is_img_confirmed(flash: Flash, layout: Layout) -> bool:
    """Whether the running image is confirmed (``boot_is_img_confirmed``); one from the factory counts as such."""
    state = Trailer(flash, layout.primary).state()
    return state.magic is Magic.UNSET or state.image_ok is Flag.SET


def running_version(flash: Flash, layout: Layout) -> str:
    """Version in the header of the image in the primary slot (``boot_read_bank_header``).

    Raises:
        ImageRefusedError: There is no image.
    """
    return parse_header(flash.read(layout.primary.address, HEADER_BYTES)).version
