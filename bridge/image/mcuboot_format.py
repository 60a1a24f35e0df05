"""MCUboot's image header and TLV areas, as values.

Sources: MCUboot ``boot/bootutil/include/bootutil/image.h`` and ``docs/design.md``; imgtool ``image.py`` for
what is written in practice. Everything is little-endian.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from bridge.errors import ImageRefusedError

IMAGE_MAGIC: Final = 0x96F3B83D
IMAGE_MAGIC_BYTES: Final = struct.pack("<I", IMAGE_MAGIC)
HEADER_BYTES: Final = 32
TLV_INFO_BYTES: Final = 4
TLV_INFO_MAGIC: Final = 0x6907
TLV_PROTECTED_INFO_MAGIC: Final = 0x6908

_HEADER: Final = struct.Struct("<IIHHIIBBHII")
_PAIR: Final = struct.Struct("<HH")


class ImageFlag(IntFlag):
    """Flags in the image header."""

    PIC = 0x1
    ENCRYPTED_AES128 = 0x4
    ENCRYPTED_AES256 = 0x8
    NON_BOOTABLE = 0x10
    RAM_LOAD = 0x20
    ROM_FIXED = 0x100
    COMPRESSED_LZMA1 = 0x200
    COMPRESSED_LZMA2 = 0x400
    COMPRESSED_ARM_THUMB = 0x800


class TlvType(IntEnum):
    """TLV types that have a name; vendors may add their own (``0x..a0`` and up)."""

    KEY_HASH = 0x01
    PUBLIC_KEY = 0x02
    SHA256 = 0x10
    SHA384 = 0x11
    SHA512 = 0x12
    RSA2048_PSS = 0x20
    ECDSA = 0x22
    RSA3072_PSS = 0x23
    ED25519 = 0x24
    SIGNATURE_PURE = 0x25
    ENCRYPTION_RSA2048 = 0x30
    ENCRYPTION_KW = 0x31
    ENCRYPTION_EC256 = 0x32
    ENCRYPTION_X25519 = 0x33
    ENCRYPTION_X25519_SHA512 = 0x34
    DEPENDENCY = 0x40
    SECURITY_COUNTER = 0x50
    BOOT_RECORD = 0x60
    DECOMPRESSED_SIZE = 0x70
    DECOMPRESSED_SHA = 0x71
    DECOMPRESSED_SIGNATURE = 0x72
    COMPRESSED_DECRYPTED_SIZE = 0x73
    UUID_VENDOR = 0x74
    UUID_CLASS = 0x75


@dataclass(frozen=True)
class McubootHeader:
    """The 32 bytes at the start of an MCUboot image.

    Attributes:
        load_address: Where the image must run from, with the flags RAM_LOAD or ROM_FIXED; otherwise 0.
        header_size_bytes: Header with its padding; the payload starts there (0x200 on nRF91).
        protected_tlv_size_bytes: Size of the TLV area that the digest covers, 0 if there is none.
        payload_size_bytes: Size between header and TLVs.
        flags: See :class:`ImageFlag`.
        version: ``major.minor.revision``, with ``+build`` if the build number is not 0.
    """

    load_address: int
    header_size_bytes: int
    protected_tlv_size_bytes: int
    payload_size_bytes: int
    flags: int
    version: str

    @property
    def hashed_size_bytes(self) -> int:
        """Bytes from the start of the image that its digest covers."""
        return self.header_size_bytes + self.payload_size_bytes + self.protected_tlv_size_bytes

    @property
    def flag_names(self) -> tuple[str, ...]:
        """Names of the flags that are set, lower case; an unknown bit shows as a number."""
        known = [flag.name.lower().replace("_", "-") for flag in ImageFlag if self.flags & flag and flag.name]
        unknown = self.flags & ~int(~ImageFlag(0))
        return tuple(known) + ((f"{unknown:#x}",) if unknown else ())

    @property
    def encrypted(self) -> bool:
        """Whether the payload is (or may be) encrypted."""
        return bool(self.flags & (ImageFlag.ENCRYPTED_AES128 | ImageFlag.ENCRYPTED_AES256))


@dataclass(frozen=True)
class Tlv:
    """One entry of a TLV area.

    Attributes:
        type: See :class:`TlvType`; may be unknown.
        data: Its value.
    """

    type: int
    data: bytes

    @property
    def name(self) -> str:
        """Readable name of the type, or its number."""
        try:
            return TlvType(self.type).name.lower().replace("_", "-")
        except ValueError:
            return f"{self.type:#06x}"


def parse_header(data: bytes) -> McubootHeader:
    """Read the header of an MCUboot image.

    Args:
        data: At least the first 32 bytes.

    Raises:
        ImageRefusedError: Too short, wrong magic, or sizes that cannot be.
    """
    if len(data) < HEADER_BYTES:
        raise ImageRefusedError(
            f"MCUboot image is truncated: {len(data)} bytes do not hold its header of {HEADER_BYTES}",
            reason="truncated",
            offset=len(data),
        )
    magic, load_address, header_size, protected_size, size, flags, major, minor, revision, build, _pad = (
        _HEADER.unpack_from(data)
    )
    if magic != IMAGE_MAGIC:
        raise ImageRefusedError("no MCUboot image: wrong magic number", reason="not-an-image", offset=0)
    if header_size < HEADER_BYTES or size == 0 or 0 < protected_size < TLV_INFO_BYTES:
        raise ImageRefusedError(
            f"MCUboot image has an impossible header (header {header_size}, payload {size}, protected TLVs"
            f" {protected_size} bytes)",
            reason="bad-header",
            offset=8,
        )
    version = f"{major}.{minor}.{revision}" + (f"+{build}" if build else "")
    return McubootHeader(load_address, header_size, protected_size, size, flags, version)


def parse_tlv_info(data: bytes, offset: int, *, protected: bool) -> int:
    """Read the start of a TLV area.

    Args:
        data: The four bytes at its start.
        offset: Where they are in the image, for the error.
        protected: Which of the two areas is expected.

    Returns:
        Size of the area in bytes, these four included.

    Raises:
        ImageRefusedError: There is no such area.
    """
    magic, size = _PAIR.unpack(data)
    wanted = TLV_PROTECTED_INFO_MAGIC if protected else TLV_INFO_MAGIC
    name = "protected TLV area" if protected else "TLV area"
    if magic != wanted:
        raise ImageRefusedError(
            f"MCUboot image has no {name} where its header says (found {magic:#06x}, not {wanted:#06x})",
            reason="bad-tlv",
            offset=offset,
            hint="Is it signed? Sign it with imgtool, and take the signed file.",
        )
    if size < TLV_INFO_BYTES:
        raise ImageRefusedError(
            f"MCUboot image's {name} has an impossible size of {size} bytes", reason="bad-tlv", offset=offset
        )
    return int(size)


def parse_tlvs(entries: bytes, offset: int) -> tuple[Tlv, ...]:
    """Read the entries of a TLV area.

    Args:
        entries: The area without its first four bytes.
        offset: Where they are in the image, for the error.

    Raises:
        ImageRefusedError: An entry goes beyond the area.
    """
    tlvs = []
    position = 0
    while position < len(entries):
        head = entries[position : position + _PAIR.size]
        kind, length = _PAIR.unpack(head) if len(head) == _PAIR.size else (0, len(entries))
        value = entries[position + _PAIR.size : position + _PAIR.size + length]
        if len(value) < length:
            raise ImageRefusedError(
                "MCUboot image has a TLV entry that goes beyond its area",
                reason="bad-tlv",
                offset=offset + position,
            )
        tlvs.append(Tlv(kind, value))
        position += _PAIR.size + length
    return tuple(tlvs)
