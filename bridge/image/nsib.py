"""What Nordic's immutable bootloader (NSIB, b0) looks for in an image of MCUboot: ``fw_info`` and validation data.

Sources: sdk-nrf ``include/fw_info_bare.h``, ``subsys/fw_info/Kconfig`` (magic numbers), ``subsys/bootloader/bl_validation``,
``bl_crypto/bl_crypto.c`` (the signature is over the SHA-256 of the SHA-256) and ``scripts/bootloader/validation_data.py``.
Built with partition manager or not, an image begins ``PAD_BYTES`` behind its slot, after MCUboot's header.
"""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

PAD_BYTES: Final = 0x200
FW_INFO_OFFSETS: Final = (0x0, 0x200, 0x400, 0x600, 0x800, 0xE00, 0x1000)
VALID: Final = 0x9102FFFF
INVALIDATED: Final = 0xFFFF0000
"""Written over ``valid`` to make an image unbootable for ever."""

_LOWEST_APPLICATION: Final = 0x2_0000
"""Behind the immutable bootloader (0x8000) and two slots of MCUboot, of at least 0xC000 each."""
_HARDWARE_ID: Final = 91
_COMMON_MAGIC: Final = 0x281EE6DE
_FW_INFO_MAGIC: Final = (_COMMON_MAGIC, 0x8FCEBB4C, 2 | _HARDWARE_ID << 8)
_VALIDATION_MAGIC: Final = (_COMMON_MAGIC, 0x86518483, 2 | _HARDWARE_ID << 8 | 1 << 16)
_FW_INFO: Final = struct.Struct("<3I6I4I2I")
_VALIDATION: Final = struct.Struct("<3II32s64s64s")
_COORDINATE_BYTES: Final = 32
_SEARCH_DISTANCE: Final = 4
FW_INFO_BYTES: Final = _FW_INFO.size
FW_INFO_REACH_BYTES: Final = FW_INFO_OFFSETS[-1] + FW_INFO_BYTES
"""So much of an image must be there to know that it has none."""
VALID_OFFSET: Final = 32
"""Where ``valid`` is in a ``fw_info``."""


@dataclass(frozen=True)
class FwInfo:
    """The ``fw_info`` of an image.

    Attributes:
        offset: Where it was found, from the start of the image.
        total_size_bytes: Its own size.
        size_bytes: Size of the image that is signed.
        version: Number for the monotonic counter.
        address: Where the image belongs.
        boot_address: Where its vector table is.
        valid: ``VALID`` unless the bootloader has given the image up.
    """

    offset: int
    total_size_bytes: int
    size_bytes: int
    version: int
    address: int
    boot_address: int
    valid: int

    @property
    def is_mcuboot(self) -> bool:
        """Whether it belongs into one of MCUboot's own slots; applications can have a ``fw_info``, too."""
        return self.address < _LOWEST_APPLICATION


def find_fw_info(image: bytes) -> FwInfo | None:
    """Find the ``fw_info`` at one of the places where it may be."""
    for offset in FW_INFO_OFFSETS:
        if offset + _FW_INFO.size <= len(image):
            fields = _FW_INFO.unpack_from(image, offset)
            if fields[:3] == _FW_INFO_MAGIC:
                return FwInfo(offset, *fields[3:9])
    return None


def validation_error(image: bytes, info: FwInfo, key_hash: bytes | None) -> str | None:
    """Check an image's validation data.

    Args:
        image: The image from its first byte on, and what comes behind it.
        info: Its ``fw_info``.
        key_hash: Truncated digest of the key that must have signed it; None checks the digest only.

    Returns:
        Why it is not good (``wrong-key`` if it is another's), or None.
    """
    found = _find_validation(image, info)
    if found is None:
        return "no-validation-data"
    address, digest, public_key, signature = found
    if address != info.address:
        return "wrong-address"
    firmware = image[: info.size_bytes]
    if key_hash is None:
        return None if hashlib.sha256(firmware).digest() == digest else "digest-mismatch"
    if hash_of_key(public_key) != key_hash:
        return "wrong-key"
    return None if _signed_by(public_key, signature, firmware) else "bad-signature"


def _find_validation(image: bytes, info: FwInfo) -> tuple[int, bytes, bytes, bytes] | None:
    for place in range(info.size_bytes, info.size_bytes + _SEARCH_DISTANCE + 1):
        if place + _VALIDATION.size <= len(image):
            *magic, address, digest, public_key, signature = _VALIDATION.unpack_from(image, place)
            if tuple(magic) == _VALIDATION_MAGIC:
                return address, digest, public_key, signature
    return None


def hash_of_key(public_key: bytes) -> bytes:
    """What is provisioned of a public key (64 bytes): half of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:16]


def raw_public_key(key: ec.EllipticCurvePublicKey) -> bytes:
    """X and Y of a P-256 key."""
    numbers = key.public_numbers()
    return numbers.x.to_bytes(_COORDINATE_BYTES, "big") + numbers.y.to_bytes(_COORDINATE_BYTES, "big")


def make_nsib_image(
    code: bytes, *, version: int, address: int, key: ec.EllipticCurvePrivateKey, info_offset: int = 0x200
) -> bytes:
    """Make an image that the immutable bootloader starts.

    Args:
        code: Vector table and code; the bytes at ``info_offset`` are replaced.
        version: Number for the monotonic counter.
        address: Where it belongs.
        key: Signs it (P-256); the signature is the same each time.
        info_offset: Where ``fw_info`` goes.
    """
    size = len(code) + -len(code) % 4
    info = _FW_INFO.pack(*_FW_INFO_MAGIC, _FW_INFO.size, size, version, address, address, VALID, *[0] * 6)
    firmware = (code[:info_offset] + info + code[info_offset + len(info) :]).ljust(size, b"\0")
    digest = hashlib.sha256(firmware).digest()
    der = key.sign(digest, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = utils.decode_dss_signature(der)
    signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
    return firmware + _VALIDATION.pack(
        *_VALIDATION_MAGIC, address, digest, raw_public_key(key.public_key()), signature
    )


def _signed_by(public_key: bytes, signature: bytes, firmware: bytes) -> bool:
    x, y, r, s = (
        int.from_bytes(part[start : start + _COORDINATE_BYTES], "big")
        for part in (public_key, signature)
        for start in (0, _COORDINATE_BYTES)
    )
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        key.verify(
            utils.encode_dss_signature(r, s), hashlib.sha256(firmware).digest(), ec.ECDSA(hashes.SHA256())
        )
    except (InvalidSignature, ValueError):
        return False
    return True
