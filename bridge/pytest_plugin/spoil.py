"""Bad firmware made of good: what a bridge or a bootloader must refuse, derived from the firmware of whoever runs the suite.

Source of the format: MCUboot ``docs/design.md`` (header, payload, TLVs; the digest covers header and payload, the signature
covers the digest).
"""

import hashlib
import random
import struct
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from bridge.errors import UsageError
from bridge.image.mcuboot import SIGNATURE_TYPES, McubootInfo, TlvType, parse_image

_INFO: Final = struct.Struct("<HH")
_ENTRY: Final = struct.Struct("<HH")
_TLV_MAGIC: Final = 0x6907
_SIZE_AT: Final = 12

Replace = Callable[[int, bytes], bytes | None]


def corrupted(image: bytes) -> bytes:
    """A payload bit flipped after signing: the digest shows it."""
    info, broken = _info(image), bytearray(image)
    broken[info.header.header_size_bytes + info.header.payload_size_bytes // 2] ^= 0x10
    return bytes(broken)


def bad_signature(image: bytes) -> bytes:
    """A right digest, a right key, and a signature of something else."""
    return _with_tlvs(image, lambda kind, data: _signed_by(ec.generate_private_key(ec.SECP256R1()), b"something else")
                      if kind in SIGNATURE_TYPES else data)  # fmt: skip


def wrong_key(image: bytes) -> bytes:
    """Sound, and signed with a key that no board knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    digest = bytes.fromhex(_info(image).digest)

    def replaced(kind: int, data: bytes) -> bytes:
        if kind == TlvType.KEY_HASH:
            return hashlib.sha256(public).digest()
        return _signed_by(key, digest, prehashed=True) if kind in SIGNATURE_TYPES else data

    return _with_tlvs(image, replaced)


def unsigned(image: bytes) -> bytes:
    """Sound, but with neither key nor signature."""
    gone = {*SIGNATURE_TYPES, TlvType.KEY_HASH, TlvType.PUBLIC_KEY}
    return _with_tlvs(image, lambda kind, data: None if kind in gone else data)


def oversize(image: bytes, size_bytes: int) -> bytes:
    """Sound, not signed, and with a payload of ``size_bytes``."""
    info = _info(image)
    header = bytearray(image[: info.header.header_size_bytes])
    header[_SIZE_AT : _SIZE_AT + 4] = struct.pack("<I", size_bytes)
    payload = image[
        info.header.header_size_bytes : info.header.header_size_bytes + info.header.payload_size_bytes
    ]
    body = bytes(header) + payload + bytes(size_bytes - len(payload))
    return body + _tlv_area([(TlvType.SHA256, hashlib.sha256(body).digest())])


def noise(size_bytes: int) -> bytes:
    """What is no firmware at all; the same bytes each time."""
    return random.Random(size_bytes).randbytes(size_bytes)  # noqa: S311 - reproducible, not secret


def _info(image: bytes) -> McubootInfo:
    info = parse_image(image)
    if info.protected_tlvs:
        raise UsageError("an image with protected TLVs cannot be spoiled", reason="bad-image")
    return info


def _with_tlvs(image: bytes, replace: Replace) -> bytes:
    info = _info(image)
    kept = [(tlv.type, replace(tlv.type, tlv.data)) for tlv in info.tlvs]
    body = image[: info.header.header_size_bytes + info.header.payload_size_bytes]
    return body + _tlv_area([(kind, data) for kind, data in kept if data is not None])


def _tlv_area(tlvs: list[tuple[int, bytes]]) -> bytes:
    entries = b"".join(_ENTRY.pack(kind, len(data)) + data for kind, data in tlvs)
    return _INFO.pack(_TLV_MAGIC, _INFO.size + len(entries)) + entries


def _signed_by(key: ec.EllipticCurvePrivateKey, data: bytes, *, prehashed: bool = False) -> bytes:
    algorithm = utils.Prehashed(hashes.SHA256()) if prehashed else hashes.SHA256()
    return key.sign(data, ec.ECDSA(algorithm))
