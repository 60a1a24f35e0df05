"""Updates of MCUboot itself: an image that the immutable bootloader accepts, in an image that MCUboot accepts.

Names and layers as an nRF Connect SDK build makes them for Serial Modem's nRF9151 DK layout.
"""

import hashlib
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bridge.errors import UsageError
from bridge.image.nsib import PAD_BYTES, make_nsib_image
from bridge.lab.sample_signing import sign_image

SLOT_ADDRESSES: Final = (0x8000, 0x14000)
SLOT_BYTES: Final = 0xC000

_CODE_BYTES: Final = 6000
_VECTORS: Final = 16
_STACK: Final = 0x2000_8000
_FILE_NAMES: Final = ("signed_by_mcuboot_and_b0_mcuboot.bin", "signed_by_mcuboot_and_b0_s1_image.bin")


def bootloader_file_name(slot: int) -> str:
    """Name of the file that a build makes for a slot."""
    return _FILE_NAMES[slot]


def make_bootloader_image(version: int, slot: int, *, mcuboot_key: bytes, b0_key: bytes) -> bytes:
    """Make an image of MCUboot for a slot.

    Args:
        version: Number for the monotonic counter.
        slot: 0 or 1.
        mcuboot_key: Private key (PEM) of MCUboot's signature.
        b0_key: Private key (PEM) of the immutable bootloader's signature.

    Raises:
        UsageError: imgtool is missing, a key is of another kind, or there is no such slot.
    """
    key = load_pem_private_key(b0_key, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or slot not in (0, 1):
        raise UsageError("MCUboot updates are for slot 0 or 1, signed with ECDSA P-256", reason="bad-recipe")
    address = SLOT_ADDRESSES[slot] + PAD_BYTES
    vectors = struct.pack(f"<{_VECTORS}I", _STACK, *[address + 4 * _VECTORS + 1] * (_VECTORS - 1))
    filler = hashlib.shake_256(f"nRF91 Bridge sample: bootloader {version} s{slot}".encode())
    code = vectors + filler.digest(_CODE_BYTES)
    image = make_nsib_image(code, version=version, address=address, key=key)
    return sign_image(image, version=f"0.0.{version}", key_pem=mcuboot_key, slot_size_bytes=0)
