"""The image in a flash slot, as MCUboot looks at it: its header, its size, and whether it may run.

Sources: MCUboot ``boot/bootutil/src/image_validate.c``, ``bootutil_misc.c`` (``bootutil_max_image_size``,
``boot_read_image_size``) and ``bootutil_loader.c`` (``boot_check_header_valid``).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import (
    HEADER_BYTES,
    IMAGE_MAGIC_BYTES,
    ImageFlag,
    McubootHeader,
    McubootInfo,
    parse_header,
    parse_image,
)
from bridge.image.mcuboot_format import TLV_INFO_BYTES, parse_tlv_info
from bridge.image.signature import PublicKey, load_public_key, verify_mcuboot_signature
from bridge.virtual.flash import ERASED, Flash
from bridge.virtual.layout import Slot
from bridge.virtual.trailer import Trailer

_UNSUPPORTED_FLAGS: Final = (
    ImageFlag.ENCRYPTED_AES128
    | ImageFlag.ENCRYPTED_AES256
    | ImageFlag.COMPRESSED_LZMA1
    | ImageFlag.COMPRESSED_LZMA2
)


class SlotImage:
    """What is in a slot.

    Args:
        flash: The flash.
        slot: The slot.
    """

    def __init__(self, flash: Flash, slot: Slot) -> None:
        self._flash = flash
        self._slot = slot

    @property
    def header(self) -> McubootHeader:
        """Its header.

        Raises:
            ImageRefusedError: There is none.
        """
        return parse_header(self._flash.read(self._slot.address, HEADER_BYTES))

    @property
    def has_magic(self) -> bool:
        """Whether it begins with an image's magic number."""
        return has_magic(self._flash, self._slot.address)

    @property
    def is_absent(self) -> bool:
        """Whether the slot is to be taken as empty: no magic number at all, or an image that is not for booting."""
        magic = self._flash.read(self._slot.address, len(IMAGE_MAGIC_BYTES))
        if magic == bytes([ERASED]) * len(magic):
            return True
        flags = self._flash.read(self._slot.address + 16, 4)
        return bool(int.from_bytes(flags, "little") & ImageFlag.NON_BOOTABLE)

    @property
    def max_size_bytes(self) -> int:
        """Largest image that the slot takes: everything below the page in which the trailer begins."""
        return Trailer(self._flash, self._slot).first_page - self._slot.address

    def size_bytes(self) -> int:
        """Size from the header to the end of the TLVs, without looking at the content.

        Raises:
            ImageRefusedError: No header, or no TLV area where it says.
        """
        header = self.header
        end = header.hashed_size_bytes
        if end + TLV_INFO_BYTES > self._slot.size:
            raise ImageRefusedError(
                "the image's header points outside its slot", reason="bad-header", offset=12
            )
        info = self._flash.read(self._slot.address + end, TLV_INFO_BYTES)
        return end + parse_tlv_info(info, end, protected=False)

    def validate(self, public_keys_pem: Sequence[bytes]) -> McubootInfo:
        """Check that MCUboot would run it: whole, of a size that fits, SHA-256 digest, signed by a known key.

        Args:
            public_keys_pem: The keys built into MCUboot; with none it was built without signatures.

        Raises:
            ImageRefusedError: It would not.
        """
        room = self._flash.read(self._slot.address, self.max_size_bytes)
        image = parse_image(room, allow_trailing=True)
        if image.header.flags & _UNSUPPORTED_FLAGS:
            raise ImageRefusedError("encrypted and compressed images are not supported", reason="bad-header")
        if image.digest_algorithm != "sha256":
            raise ImageRefusedError(f"the digest is {image.digest_algorithm}, not sha256", reason="bad-tlv")
        if public_keys_pem:
            _verify(image, public_keys_pem)
        return image


def has_magic(flash: Flash, address: int) -> bool:
    """Whether an image's magic number is at an address."""
    return flash.read(address, len(IMAGE_MAGIC_BYTES)) == IMAGE_MAGIC_BYTES


def release(version: str) -> tuple[int, ...]:
    """Major, minor and revision of a version; MCUboot leaves the build number out when it compares."""
    return tuple(int(part) for part in version.partition("+")[0].split("."))


def _verify(image: McubootInfo, public_keys_pem: Sequence[bytes]) -> None:
    if image.key_hash is None:
        # A signature counts only after a key hash has named one of MCUboot's keys.
        raise ImageRefusedError("the image names no key", reason="not-signed")
    refusals = []
    for pem in public_keys_pem:
        try:
            verify_mcuboot_signature(image, _load(pem))
        except ImageRefusedError as error:
            refusals.append(error)
        else:
            return
    # Of several refusals the one that tells most: a bad signature rather than another key.
    raise min(refusals, key=lambda error: error.reason == "wrong-key")


@lru_cache(maxsize=8)
def _load(pem: bytes) -> PublicKey:
    return load_public_key(pem)
