"""MCUboot at a boot: decides from the bytes in flash alone what runs, swaps, reverts, refuses.

Source: MCUboot ``boot/bootutil/src/loader.c`` (``context_boot_go`` and what it calls). Configuration as Serial
Modem ships it: swap using move, one image pair, ECDSA P-256 (other signatures work too), the primary slot validated
at every boot, software downgrade prevention without the build number, whole slots erased rather than their ends
(``MCUBOOT_STORAGE_MINIMAL_SCRAMBLE`` is off by default).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import McubootInfo
from bridge.virtual.bootloader_slots import target_slot
from bridge.virtual.flash import Flash, FlashError
from bridge.virtual.layout import Layout
from bridge.virtual.slot_image import SlotImage, release
from bridge.virtual.swap import Swap, Unfinished
from bridge.virtual.swap_request import (
    decide,
    is_img_confirmed,
    request_upgrade,
    running_version,
    swap_type,
    write_img_confirmed,
)
from bridge.virtual.trailer import Flag, SwapType

__all__ = [
    "BootOutcome",
    "SwapType",
    "boot",
    "is_img_confirmed",
    "request_upgrade",
    "running_version",
    "swap_type",
    "write_img_confirmed",
]

_UPGRADES: Final = (SwapType.TEST, SwapType.PERM)


@dataclass(frozen=True)
class BootOutcome:
    """What a boot came to.

    Attributes:
        bootable: Whether there is an image to run; it is in the primary slot.
        version: Its version.
        digest: Its image digest, in hex.
        swap_type: The swap that MCUboot did, NONE for none.
        resumed: It was one that an earlier boot had begun.
        refused: Why an update was not taken, such as ``bad-signature``, ``digest-mismatch`` or ``downgrade``. The
            board itself tells nobody.
        log: What MCUboot's console would say; Serial Modem ships it without a UART.
    """

    bootable: bool
    version: str | None
    digest: str | None
    swap_type: SwapType = SwapType.NONE
    resumed: bool = False
    refused: str | None = None
    log: tuple[str, ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, object]:
        """For events and JSON."""
        return {
            "bootable": self.bootable,
            "version": self.version,
            "digest": self.digest,
            "swap_type": self.swap_type.name.lower(),
            "resumed": self.resumed,
            "refused": self.refused,
            "log": list(self.log),
        }


def boot(
    flash: Flash,
    layout: Layout,
    public_keys_pem: Sequence[bytes],
    *,
    downgrade_prevention: bool = True,
    log: Callable[[str], None] | None = None,
) -> BootOutcome:
    """Do what MCUboot does between reset and the application.

    Args:
        flash: Read, and written by swaps; its observer accounts for the time and may cut the power.
        layout: Where the slots are.
        public_keys_pem: Keys that images must be signed with; with none, only digests are checked.
        downgrade_prevention: Refuse an update that is older than what runs.
        log: Takes the lines of MCUboot's console as they come.

    Returns:
        What runs now.
    """
    return _Boot(flash, layout, tuple(public_keys_pem), downgrade_prevention, log).run()


class _Boot:
    def __init__(
        self,
        flash: Flash,
        layout: Layout,
        keys: tuple[bytes, ...],
        downgrade_prevention: bool,
        log: Callable[[str], None] | None,
    ) -> None:
        self._flash = flash
        self._layout = layout
        self._keys = keys
        self._downgrade_prevention = downgrade_prevention
        self._listener = log
        self._primary = SlotImage(flash, layout.primary)
        self._secondary = SlotImage(flash, layout.secondary)
        self._swap = Swap(flash, layout)
        self._log: list[str] = []
        self._done = SwapType.NONE
        self._resumed = False
        self._refused: str | None = None

    def run(self) -> BootOutcome:
        self._say("*** Booting MCUboot ***")
        self._say("I: Starting bootloader")
        try:
            self._update()
        except (ImageRefusedError, FlashError) as error:
            # MCUboot asserts that the sizes of both images can be read before it swaps them, and that flash does what it
            # is asked to; a swap of a size that no slot has, from a trailer that was torn or written by others, ends there.
            self._say(f"E: assertion failed: {error.message}")
            return self._outcome(None)
        running = self._validate(self._primary)
        if isinstance(running, ImageRefusedError):
            if not self._primary.is_absent:
                self._say("E: Image in the primary slot is not valid!")
            self._say("E: Unable to find bootable image")
            return self._outcome(None)
        self._say(f"I: Bootloader chainload address offset: {self._layout.primary.address:#x}")
        self._say(f"I: Image version: v{running.version}")
        self._say("I: Jumping to the first image slot")
        return self._outcome(running)

    def _update(self) -> None:
        """``boot_prepare_image_for_update`` and ``boot_perform_update``."""
        if not self._swap.is_possible:
            self._say("W: Cannot upgrade: not a compatible amount of sectors")
            return
        unfinished = self._unfinished()
        moved = unfinished is not None and unfinished.entries_done > 0
        if moved and unfinished is not None:
            if self._swap.headers_are_where_expected(unfinished):
                self._finish(unfinished)
            else:
                self._say("W: Failed reading image headers; Image=0")
            return
        if not self._primary.has_magic:
            self._say(
                "W: Failed reading image headers; Image=0"
            )  # and so nothing is installed on an empty board
            return
        begun = unfinished is not None and unfinished.swap_type is not SwapType.NONE
        wanted = unfinished.swap_type if begun and unfinished is not None else self._table()
        if wanted is not SwapType.NONE:
            self._start(wanted, trailer_written=unfinished is not None, begun=begun)

    def _unfinished(self) -> Unfinished | None:
        unfinished = self._swap.unfinished()
        self._say(f"I: Primary image: {self._swap.primary_trailer.state()}")
        self._say(f"I: Secondary image: {self._swap.secondary_trailer.state()}")
        self._say(f"I: Boot source: {'primary slot' if unfinished else 'none'}")
        return unfinished

    def _table(self) -> SwapType:
        if target_slot(self._flash, self._layout) is not None:
            return SwapType.NONE  # an update of MCUboot itself is no business of the application's slots
        wanted = decide(self._swap.primary_trailer.state(), self._swap.secondary_trailer.state())
        self._say(f"I: Image index: 0, Swap type: {wanted.name.lower()}")
        return wanted

    def _finish(self, unfinished: Unfinished) -> None:
        self._say("I: Starting swap using move algorithm.")
        self._swap.resume(unfinished)
        self._swap.mark_finished(unfinished.swap_type)
        self._done, self._resumed = unfinished.swap_type, True

    def _start(self, wanted: SwapType, *, trailer_written: bool, begun: bool) -> None:
        if not self._secondary_is_good(wanted):
            if begun and self._swap.primary_trailer.state().image_ok is Flag.UNSET:
                # Swap type "fail": the half-begun swap is made to look like a finished revert.
                self._swap.primary_trailer.write_image_ok()
            return
        if wanted in _UPGRADES and self._is_downgrade():
            self._refused = "downgrade"
            self._say("I: Image 0 in slot 1 erased due to downgrade prevention")
            self._erase_secondary()
            return
        size_bytes = max(self._primary.size_bytes(), self._secondary.size_bytes())
        self._say("I: Starting swap using move algorithm.")
        if self._swap.has_room_for(size_bytes):
            self._swap.begin(wanted, size_bytes, trailer_written=trailer_written)
            self._done, self._resumed = wanted, begun
        else:
            self._refused = "no-room"
            self._say("W: Not enough free space to run swap upgrade")
        self._swap.mark_finished(wanted)  # MCUboot does so even when there was no room

    def _secondary_is_good(self, wanted: SwapType) -> bool:
        """``boot_validate_slot`` of the secondary: what is not good is erased."""
        judged = self._validate(self._secondary)
        if isinstance(judged, McubootInfo):
            return True
        self._refused = judged.reason
        if self._secondary.is_absent:
            self._swap.secondary_trailer.erase()
            if SwapType.REVERT in (wanted, swap_type(self._flash, self._layout)):
                self._swap.primary_trailer.erase()
                self._say("I: Cleared image 0 primary slot trailer due to stuck revert")
        else:
            self._say("E: Image in the secondary slot is not valid!")
            self._erase_secondary()
        return False

    def _validate(self, image: SlotImage) -> McubootInfo | ImageRefusedError:
        if image.is_absent:
            return ImageRefusedError("there is no bootable image in the slot", reason="no-image")
        try:
            return image.validate(self._keys)
        except ImageRefusedError as error:
            return error

    def _is_downgrade(self) -> bool:
        new, old = self._secondary.header.version, self._primary.header.version
        return self._downgrade_prevention and release(new) < release(old)

    def _erase_secondary(self) -> None:
        self._flash.erase(self._layout.secondary.address, self._layout.secondary.size)

    def _say(self, line: str) -> None:
        self._log.append(line)
        if self._listener is not None:
            self._listener(line)

    def _outcome(self, running: McubootInfo | None) -> BootOutcome:
        version, digest = (running.version, running.digest) if running else (None, None)
        return BootOutcome(
            running is not None, version, digest, self._done, self._resumed, self._refused, tuple(self._log)
        )
