"""The immutable bootloader (NSIB, b0), which picks one of MCUboot's two slots at every reset.

Sources: sdk-nrf ``samples/bootloader/src/main.c`` and ``subsys/bootloader/bl_validation``. The slot with the higher version is
tried first, s0 when they are equal. What is found to be bad is made unbootable for ever, and no version below the monotonic
counter is started again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from bridge.image.nsib import (
    INVALIDATED,
    PAD_BYTES,
    VALID,
    VALID_OFFSET,
    FwInfo,
    find_fw_info,
    hash_of_key,
    raw_public_key,
    validation_error,
)
from bridge.image.signature import load_public_key
from bridge.virtual.factory_bootloader import factory_key_hash
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout, Slot
from bridge.virtual.otp import Otp

_WORD_BYTES: Final = 4


def provisioned_keys(public_keys_pem: Sequence[bytes]) -> tuple[bytes, ...]:
    """Hashes of the keys that the immutable bootloader trusts: the factory's, then those that MCUboot trusts.

    Args:
        public_keys_pem: MCUboot's keys; with none, the immutable bootloader too was built to check digests only.
    """
    if not public_keys_pem:
        return ()
    keys = [load_public_key(pem) for pem in public_keys_pem]
    usable = [
        key
        for key in keys
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
    ]
    return (factory_key_hash(), *(hash_of_key(raw_public_key(key)) for key in usable))


@dataclass(frozen=True)
class ActiveBootloader:
    """The MCUboot that runs.

    Attributes:
        slot: 0 for s0, 1 for s1.
        version: Its number for the monotonic counter.
    """

    slot: int
    version: int


def active_bootloader(flash: Flash, layout: Layout) -> ActiveBootloader | None:
    """What an application finds out about MCUboot from flash: of the valid images the one with the higher version."""
    infos = [(number, info) for number, info in enumerate(_infos(flash, layout)) if info is not None]
    valid = [(number, info) for number, info in infos if info.valid == VALID]
    if not valid:
        return None
    number, info = max(valid, key=lambda each: (each[1].version, -each[0]))
    return ActiveBootloader(number, info.version)


class ImmutableBootloader:
    """NSIB (b0) at a reset.

    Args:
        flash: The flash.
        layout: Where the slots are.
        otp: Its counter and revoked keys.
        key_hashes: Provisioned keys; with none it checks digests only.
    """

    def __init__(self, flash: Flash, layout: Layout, otp: Otp, key_hashes: tuple[bytes, ...]) -> None:
        self._flash = flash
        self._layout = layout
        self._otp = otp
        self._keys = key_hashes
        self.refused: dict[int, str] = {}

    def choose(self) -> ActiveBootloader | None:
        """Pick the slot to start; the other one only if that is bad."""
        s0, s1 = _infos(self._flash, self._layout)
        first = 0 if s1 is None or (s0 is not None and s0.version >= s1.version) else 1
        for number in (first, 1 - first):
            info = (s0, s1)[number]
            if info is None:
                continue
            error = self._validate(number, info)
            if error is None:
                if info.version > self._otp.monotonic_version:
                    self._otp.set_monotonic_version(info.version, number)
                return ActiveBootloader(number, info.version)
            self.refused[number] = error
            if info.valid == VALID:
                place = _image_address(self._layout, number) + info.offset + VALID_OFFSET
                self._flash.write(place, INVALIDATED.to_bytes(_WORD_BYTES, "little"))
        return None

    def _validate(self, number: int, info: FwInfo) -> str | None:
        address = _image_address(self._layout, number)
        image = self._flash.read(address, bootloader_slots(self._layout)[number].end - address)
        if info.address != address:
            return "wrong-slot"
        if info.valid != VALID:
            return "invalidated"
        if info.version < self._otp.monotonic_version:
            return "downgrade"
        end = address + info.size_bytes
        reset_vector = int.from_bytes(image[_WORD_BYTES : 2 * _WORD_BYTES], "little")
        if info.size_bytes > len(image) or not address <= reset_vector < end:
            return "bad-header"
        if not self._keys:
            return validation_error(image, info, None)
        error: str | None = "wrong-key"
        for key_number, key_hash in enumerate(self._keys):
            if key_number in self._otp.invalid_keys:
                continue
            error = validation_error(image, info, key_hash)
            if error is None:
                for older in range(key_number):
                    self._otp.invalidate_key(older)
            if error != "wrong-key":
                break
        return error


def bootloader_slots(layout: Layout) -> tuple[Slot, Slot]:
    """The slots of MCUboot itself, on a layout that has them."""
    assert layout.bootloader_slots is not None
    return layout.bootloader_slots


def _image_address(layout: Layout, number: int) -> int:
    return bootloader_slots(layout)[number].address + PAD_BYTES


def _infos(flash: Flash, layout: Layout) -> tuple[FwInfo | None, FwInfo | None]:
    s0, s1 = (
        find_fw_info(flash.read(_image_address(layout, number), slot.size - PAD_BYTES))
        for number, slot in enumerate(bootloader_slots(layout))
    )
    return s0, s1
