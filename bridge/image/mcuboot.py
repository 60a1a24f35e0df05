"""MCUboot images: read while they stream by, digest recomputed, nothing kept but header and TLVs.

Source: MCUboot ``docs/design.md``. The digest covers header, payload and protected TLVs; the signature
covers the digest. The virtual board uses the same code to decide what boots, see :func:`parse_image`.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot_format import (
    HEADER_BYTES,
    IMAGE_MAGIC,
    IMAGE_MAGIC_BYTES,
    TLV_INFO_BYTES,
    ImageFlag,
    McubootHeader,
    Tlv,
    TlvType,
    parse_header,
    parse_tlv_info,
    parse_tlvs,
)
from bridge.image.mcuboot_trailer import BOOT_MAGIC, PaddedTrailer, TrailerReader

__all__ = [
    "BOOT_MAGIC",
    "HEADER_BYTES",
    "IMAGE_MAGIC",
    "IMAGE_MAGIC_BYTES",
    "SIGNATURE_TYPES",
    "ImageFlag",
    "McubootHeader",
    "McubootInfo",
    "McubootReader",
    "PaddedTrailer",
    "Tlv",
    "TlvType",
    "parse_header",
    "parse_image",
]

SIGNATURE_TYPES: Final = (TlvType.RSA2048_PSS, TlvType.RSA3072_PSS, TlvType.ECDSA, TlvType.ED25519)
_DIGESTS: Final = {TlvType.SHA256: "sha256", TlvType.SHA384: "sha384", TlvType.SHA512: "sha512"}
_ENCRYPTION_TYPES: Final = range(TlvType.ENCRYPTION_RSA2048, TlvType.ENCRYPTION_X25519_SHA512 + 1)


@dataclass(frozen=True)
class McubootInfo:
    """What an MCUboot image says about itself.

    Attributes:
        header: Its header.
        protected_tlvs: Entries that the digest covers.
        tlvs: Entries after them: digest, key, signature.
        digest_algorithm: ``sha256``, ``sha384`` or ``sha512``.
        digest: The image digest, in hex, which SMP's image state calls ``hash``.
        digest_verified: It was recomputed and agrees. False only for encrypted images, whose digest is that
            of the plain image.
        size_bytes: From the header to the end of the TLVs; the padding of a padded file does not count.
        trailer: The trailer that follows, in a file made with ``imgtool sign --pad``.
    """

    header: McubootHeader
    protected_tlvs: tuple[Tlv, ...]
    tlvs: tuple[Tlv, ...]
    digest_algorithm: str
    digest: str
    digest_verified: bool
    size_bytes: int
    trailer: PaddedTrailer | None = None

    @property
    def version(self) -> str:
        """Version in the header."""
        return self.header.version

    @property
    def key_hash(self) -> str | None:
        """Hash of the public key that is said to have signed it, in hex."""
        return next((tlv.data.hex() for tlv in self.tlvs if tlv.type == TlvType.KEY_HASH), None)

    @property
    def public_key(self) -> bytes | None:
        """The public key itself (DER), when it was put in instead of its hash."""
        return next((tlv.data for tlv in self.tlvs if tlv.type == TlvType.PUBLIC_KEY), None)

    @property
    def signature_names(self) -> tuple[str, ...]:
        """Kinds of the signatures, such as ``ecdsa``; empty for an image that is not signed."""
        return tuple(tlv.name for tlv in self.tlvs if tlv.type in SIGNATURE_TYPES)

    @property
    def security_counter(self) -> int | None:
        """Counter of hardware downgrade prevention."""
        found = (tlv.data for tlv in self.protected_tlvs if tlv.type == TlvType.SECURITY_COUNTER)
        return next((int.from_bytes(data, "little") for data in found), None)


class McubootReader:
    """Reads an MCUboot image in pieces of any size.

    Args:
        allow_trailing: Ignore whatever follows the TLVs, as in a flash slot, rather than judge it.
    """

    def __init__(self, *, allow_trailing: bool = False) -> None:
        self.header: McubootHeader | None = None
        self._allow_trailing = allow_trailing
        self._hashes = [hashlib.new(name) for name in _DIGESTS.values()]
        self._position = 0
        self._head = bytearray()
        self._protected = bytearray()
        self._tlv_area = bytearray()
        self._tlv_size: int | None = None
        self._trailer: TrailerReader | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ImageRefusedError: They cannot be part of an MCUboot image.
        """
        rest = memoryview(data)
        if self.header is None:
            rest = self._feed_header(rest)
        if self.header is not None and rest:
            rest = self._feed_hashed(self.header, rest)
        if rest:
            rest = self._feed_tlvs(rest)
        if rest and not self._allow_trailing:
            if self._trailer is None:
                self._trailer = TrailerReader(self._position)
            self._trailer.feed(bytes(rest))

    def finish(self) -> McubootInfo:
        """Judge the whole image.

        Raises:
            ImageRefusedError: It is truncated or too long, its TLVs cannot be read, or its digest is wrong.
        """
        if self.header is None:
            parse_header(bytes(self._head))  # too short
        if self._tlv_size is None or len(self._tlv_area) < self._tlv_size:
            raise self._truncated()
        assert self.header is not None
        protected, tlvs = self._parse_areas(self.header)
        algorithm, digest, verified = self._check_digest(self.header, tlvs)
        trailer = self._trailer.finish() if self._trailer else None
        return McubootInfo(self.header, protected, tlvs, algorithm, digest, verified, self._position, trailer)

    def _feed_header(self, rest: memoryview) -> memoryview:
        taken = rest[: HEADER_BYTES - len(self._head)]
        self._head += taken
        if len(self._head) == HEADER_BYTES:
            self.header = parse_header(bytes(self._head))
            self._update_hashes(self._head)
        self._position += len(taken)
        return rest[len(taken) :]

    def _feed_hashed(self, header: McubootHeader, rest: memoryview) -> memoryview:
        taken = rest[: max(0, header.hashed_size_bytes - self._position)]
        self._update_hashes(taken)
        protected_at = header.header_size_bytes + header.payload_size_bytes
        self._protected += taken[max(0, protected_at - self._position) :]
        self._position += len(taken)
        return rest[len(taken) :]

    def _feed_tlvs(self, rest: memoryview) -> memoryview:
        if self._tlv_size is None:
            rest = self._take_tlv_bytes(rest, TLV_INFO_BYTES)
            if len(self._tlv_area) < TLV_INFO_BYTES:
                return rest
            self._tlv_size = parse_tlv_info(
                bytes(self._tlv_area), self._position - TLV_INFO_BYTES, protected=False
            )
        return self._take_tlv_bytes(rest, self._tlv_size)

    def _take_tlv_bytes(self, rest: memoryview, until: int) -> memoryview:
        taken = rest[: max(0, until - len(self._tlv_area))]
        self._tlv_area += taken
        self._position += len(taken)
        return rest[len(taken) :]

    def _update_hashes(self, data: bytes | bytearray | memoryview) -> None:
        for running in self._hashes:
            running.update(data)

    def _truncated(self) -> ImageRefusedError:
        expected = "at least " if self._tlv_size is None else ""
        missing_from = self.header.hashed_size_bytes if self.header else HEADER_BYTES
        size = missing_from + (self._tlv_size or TLV_INFO_BYTES)
        return ImageRefusedError(
            f"MCUboot image is truncated: it has {self._position} bytes of {expected}{size}",
            reason="truncated",
            offset=self._position,
            hint="Download or build it again.",
        )

    def _parse_areas(self, header: McubootHeader) -> tuple[tuple[Tlv, ...], tuple[Tlv, ...]]:
        protected: tuple[Tlv, ...] = ()
        start = header.hashed_size_bytes - header.protected_tlv_size_bytes
        if self._protected:
            size = parse_tlv_info(bytes(self._protected[:TLV_INFO_BYTES]), start, protected=True)
            if size != len(self._protected):
                raise ImageRefusedError(
                    f"MCUboot's protected TLVs have {size} bytes, its header says {len(self._protected)}",
                    reason="bad-tlv",
                    offset=start,
                )
            protected = parse_tlvs(bytes(self._protected[TLV_INFO_BYTES:]), start + TLV_INFO_BYTES)
        tlvs = parse_tlvs(bytes(self._tlv_area[TLV_INFO_BYTES:]), header.hashed_size_bytes + TLV_INFO_BYTES)
        return protected, tlvs

    def _check_digest(self, header: McubootHeader, tlvs: tuple[Tlv, ...]) -> tuple[str, str, bool]:
        found = [tlv for tlv in tlvs if tlv.type in _DIGESTS]
        if any(tlv.type == TlvType.SIGNATURE_PURE for tlv in tlvs):
            raise ImageRefusedError(
                "MCUboot image has a 'pure' signature and no digest; no nRF91 bootloader takes that",
                reason="unsupported-signature",
                offset=header.hashed_size_bytes,
            )
        if len(found) != 1:
            raise ImageRefusedError(
                f"MCUboot image has {len(found)} digests where one is needed",
                reason="bad-tlv",
                offset=header.hashed_size_bytes,
            )
        algorithm = _DIGESTS[TlvType(found[0].type)]
        computed = next(running.digest() for running in self._hashes if running.name == algorithm)
        verified = computed == found[0].data
        may_differ = header.encrypted and any(tlv.type in _ENCRYPTION_TYPES for tlv in tlvs)
        if not verified and not may_differ:
            raise ImageRefusedError(
                f"MCUboot image is corrupt: its {algorithm} is {computed.hex()}, its TLV says"
                f" {found[0].data.hex()}",
                reason="digest-mismatch",
                hint="Download or build it again.",
            )
        return algorithm, found[0].data.hex(), verified


def parse_image(data: bytes, *, allow_trailing: bool = False) -> McubootInfo:
    """Read a whole MCUboot image.

    Args:
        data: The image; with ``allow_trailing`` also a flash slot that starts with one.
        allow_trailing: Ignore whatever follows the TLVs.

    Raises:
        ImageRefusedError: It is no MCUboot image, truncated, too long, or its digest is wrong.
    """
    reader = McubootReader(allow_trailing=allow_trailing)
    reader.feed(data)
    return reader.finish()
