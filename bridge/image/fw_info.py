"""The firmware information that an image for Nordic's immutable bootloader (NSIB, also B0) carries in its payload.

Sources: sdk-nrf ``include/fw_info_bare.h`` (layout, offsets), ``subsys/fw_info/Kconfig`` (magic numbers, 0x9102FFFF for a
valid image). The third word of the magic depends on the chip and is not looked at.
"""

import struct
from dataclasses import dataclass
from typing import Final

from bridge.image.mcuboot_format import McubootHeader

_MAGIC: Final = bytes.fromhex("dee61e28 4cbbce8f")
_OFFSETS: Final = (0x0, 0x200, 0x400, 0x600, 0x800, 0xE00, 0x1000)
_FIELDS: Final = struct.Struct("<8s4xIIIIII")


@dataclass(frozen=True)
class FirmwareInfo:
    """What the immutable bootloader goes by.

    Attributes:
        counter: Monotonic version; of two valid images the one with the higher counter is started.
        address: Where the image runs: in slot s0 or in slot s1.
        size_bytes: Size of its code.
    """

    counter: int
    address: int
    size_bytes: int


def find_firmware_info(header: McubootHeader, image: bytes) -> FirmwareInfo | None:
    """Look for firmware information in an MCUboot image.

    Args:
        header: Its header.
        image: All of it, or at least its first 0x1000 bytes of payload.

    Returns:
        None when there is none where the bootloader looks for it.
    """
    for offset in _OFFSETS:
        start = header.header_size_bytes + offset
        if image[start : start + len(_MAGIC)] == _MAGIC and len(image) >= start + _FIELDS.size:
            _, _, size, counter, address, _, _ = _FIELDS.unpack_from(image, start)
            return FirmwareInfo(counter, address, size)
    return None
