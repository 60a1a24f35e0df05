"""The MCUboot that a virtual board is delivered with, in its slot s0, and the key that its factory signed it with.

No real code: what runs is :mod:`bridge.virtual.mcuboot`. The image is there so that the immutable bootloader has something
to verify, and so that version and slot of the bootloader are read from flash.
"""

from functools import cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from bridge.image.nsib import PAD_BYTES, hash_of_key, make_nsib_image, raw_public_key
from bridge.virtual.layout import Slot

FACTORY_VERSION: Final = 1

_SECRET: Final = int.from_bytes(b"nRF91 Bridge virtual factory key", "big") >> 1
_CODE_BYTES: Final = 2048


@cache
def factory_bootloader(slot: Slot) -> bytes:
    """What the factory programs at the start of a slot: room for MCUboot's header, then the image."""
    address = slot.address + PAD_BYTES
    vectors = 0x2000_8000.to_bytes(4, "little") + (address + 0x41).to_bytes(4, "little")
    code = vectors.ljust(_CODE_BYTES, b"\0")
    image = make_nsib_image(code, version=FACTORY_VERSION, address=address, key=_factory_key())
    return b"\xff" * PAD_BYTES + image


def factory_key_hash() -> bytes:
    """What is provisioned of the factory's key."""
    return hash_of_key(raw_public_key(_factory_key().public_key()))


@cache
def _factory_key() -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(_SECRET, ec.SECP256R1())
