"""MCUboot at a boot: decides from the bytes in flash alone what runs, swaps, reverts, refuses.

Also the few calls by which an application talks to it. Sources: MCUboot ``boot/bootutil/src/loader.c`` and
``bootutil_public.c``; configuration as Serial Modem ships it: swap using move, ECDSA P-256 (other signatures work too), the
primary slot validated at every boot, software downgrade prevention without the build number.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import HEADER_BYTES, ImageFlag, McubootInfo, parse_header, parse_image
from bridge.image.signature import PublicKey, load_public_key, verify_mcuboot_signature
from bridge.virtual.flash import PAGE_BYTES, Flash
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.swap import Swap, erase_slot_ends
from bridge.virtual.trailer import Flag, Magic, SwapState, SwapType, Trailer

__all__ = [
    "BootOutcome",
    "SwapType",
    "boot",
    "request_upgrade",
    "running_version",
    "swap_type",
    "write_img_confirmed",
]

_UPGRADES: Final = (SwapType.TEST, SwapType.PERM, SwapType.REVERT)


@dataclass(frozen=True)
class BootOutcome:
    """What a boot came to.

    Attributes:
        bootable: Whether there is an image to run; it is in the primary slot.
        version: Its version.
        digest: Its image digest, in hex.
        swap_type: What MCUboot did: ``NONE``, a swap, or ``FAIL`` for a refused image.
        log: What its console would say.
    """

    bootable: bool
    version: str | None
    digest: str | None
    swap_type: SwapType
    log: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """For events and JSON."""
        return {**asdict(self), "swap_type": self.swap_type.name.lower(), "log": list(self.log)}


def boot(
    flash: Flash, layout: Layout, public_keys_pem: Sequence[bytes], *, downgrade_prevention: bool = True
) -> BootOutcome:
    """Do what MCUboot does between reset and the application.

    Args:
        flash: Read, and written by swaps.
        layout: Where the slots are.
        public_keys_pem: Keys that images must be signed with; with none, only digests are checked.
        downgrade_prevention: Refuse an update that is older than what runs.

    Returns:
        What runs now.
    """
    return _Boot(flash, layout, public_keys_pem, downgrade_prevention).run()


def swap_type(flash: Flash, layout: Layout) -> SwapType:
    """What the next boot would do, as an application asks it (``mcuboot_swap_type``)."""
    primary = Trailer(flash, layout.primary).state()
    secondary = Trailer(flash, layout.secondary).state()
    return _swap_type(primary, secondary)


def request_upgrade(flash: Flash, layout: Layout, *, permanent: bool) -> None:
    """Mark the secondary image for the next boot (``boot_set_pending``)."""
    trailer = Trailer(flash, layout.secondary)
    magic = trailer.state().magic
    if magic is Magic.GOOD:
        return
    if magic is Magic.BAD:
        flash.erase(layout.secondary.address, layout.secondary.size)
        return
    trailer.write_magic()
    if permanent:
        trailer.write_image_ok()
    trailer.write_swap_info(SwapType.PERM if permanent else SwapType.TEST)


def write_img_confirmed(flash: Flash, layout: Layout) -> None:
    """Confirm the running image (``boot_set_confirmed``); one that never was on trial needs nothing."""
    trailer = Trailer(flash, layout.primary)
    state = trailer.state()
    if state.magic is Magic.GOOD and state.image_ok is Flag.UNSET:
        trailer.write_image_ok()


def running_version(flash: Flash, layout: Layout) -> str:
    """Version in the header of the running image."""
    return parse_header(flash.read(layout.primary.address, HEADER_BYTES)).version


def _swap_type(primary: SwapState, secondary: SwapState) -> SwapType:
    """MCUboot's decision table; the first row that fits counts."""
    if secondary.magic is Magic.GOOD and secondary.image_ok is not Flag.BAD:
        return SwapType.PERM if secondary.image_ok is Flag.SET else SwapType.TEST
    on_trial = (
        primary.magic is Magic.GOOD and primary.image_ok is Flag.UNSET and primary.copy_done is Flag.SET
    )
    return SwapType.REVERT if on_trial and secondary.magic is Magic.UNSET else SwapType.NONE


class _Boot:
    def __init__(
        self, flash: Flash, layout: Layout, public_keys_pem: Sequence[bytes], downgrade_prevention: bool
    ) -> None:
        self._flash = flash
        self._layout = layout
        self._keys: list[PublicKey] = [load_public_key(pem) for pem in public_keys_pem]
        self._downgrade_prevention = downgrade_prevention
        self._swap = Swap(flash, layout)
        self._log: list[str] = []

    def run(self) -> BootOutcome:
        done = self._finish_interrupted() or self._upgrade()
        running = self._validate(self._layout.primary)
        if running is None:
            self._log.append("E: Unable to find bootable image")
            return BootOutcome(False, None, None, done, tuple(self._log))
        return BootOutcome(True, running.version, running.digest, done, tuple(self._log))

    def _finish_interrupted(self) -> SwapType | None:
        interrupted = self._swap.interrupted()
        if interrupted is None:
            return None
        if interrupted.entries_done == 0:
            # Nothing has moved yet: the image is judged again before the swap really starts.
            if interrupted.swap_type is SwapType.NONE:
                return None
            if self._validate(self._layout.secondary) is None:
                return self._refuse()
        self._log.append("I: Completing an interrupted swap")
        self._swap.resume(interrupted)
        return interrupted.swap_type

    def _upgrade(self) -> SwapType:
        wanted = swap_type(self._flash, self._layout)
        self._log.append(f"I: Swap type: {wanted.name.lower()}")
        if wanted not in _UPGRADES:
            return SwapType.NONE
        new = self._validate(self._layout.secondary)
        if new is None:
            return self._refuse()
        if wanted is not SwapType.REVERT and self._is_downgrade(new):
            self._log.append("I: Image 0 in slot 1 erased due to downgrade prevention")
            erase_slot_ends(self._flash, self._layout)
            return SwapType.NONE
        old_bytes = self._image_size_bytes(self._layout.primary)
        self._log.append("I: Starting swap using move algorithm.")
        self._swap.begin(wanted, max(new.size_bytes, old_bytes))
        return wanted

    def _refuse(self) -> SwapType:
        """Erase an image that is not valid, and make sure that the running one is not reverted instead."""
        self._log.append("E: Image in the secondary slot is not valid!")
        erase_slot_ends(self._flash, self._layout)
        primary = self._swap.primary_trailer
        if primary.state().image_ok is Flag.UNSET:
            primary.write_image_ok()
        return SwapType.FAIL

    def _is_downgrade(self, new: McubootInfo) -> bool:
        if not self._downgrade_prevention:
            return False
        try:
            running = running_version(self._flash, self._layout)
        except ImageRefusedError:
            return False
        return _release(new.version) < _release(running)

    def _validate(self, slot: Slot) -> McubootInfo | None:
        """The image in a slot, if it is whole, fits, and is signed by a known key."""
        room = Trailer(self._flash, slot).first_page - slot.address
        try:
            image = parse_image(self._flash.read(slot.address, room), allow_trailing=True)
            self._check_signature(image)
        except ImageRefusedError as error:
            self._log.append(f"W: {error.message}")
            return None
        return None if image.header.flags & ImageFlag.NON_BOOTABLE else image

    def _check_signature(self, image: McubootInfo) -> None:
        """One of the keys must have signed it; MCUboot without keys checks digests only."""
        for number, key in enumerate(self._keys, start=1):
            try:
                verify_mcuboot_signature(image, key)
            except ImageRefusedError:
                if number == len(self._keys):
                    raise
            else:
                return

    def _image_size_bytes(self, slot: Slot) -> int:
        """Size of the image in a slot, or 0 when there is none; MCUboot does not validate it for that."""
        try:
            return parse_image(
                self._flash.read(slot.address, slot.size - PAGE_BYTES), allow_trailing=True
            ).size_bytes
        except ImageRefusedError:
            return 0


def _release(version: str) -> tuple[int, ...]:
    """Major, minor and revision; the build number does not count."""
    return tuple(int(part) for part in version.partition("+")[0].split("."))
