"""Full modem firmware look-alikes in the two forms that Nordic releases: one CBOR file, and a zip for programmers.

Their content is :mod:`bridge.image.sample_modem`'s. A few kilobytes a piece, with gaps as in real firmware. The signature
in the CBOR wrapper is filler: only a modem could check it.
"""

import hashlib
import io
import itertools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cbor2
from intelhex import IntelHex

from bridge.errors import UsageError
from bridge.image.sample_modem import (
    FIRMWARE_HEADER_ADDRESS,
    FIRMWARE_HEADER_BYTES,
    ModemFirmware,
    encode_modem_firmware,
    encode_modem_loader,
)
from bridge.virtual.modem_nvm import firmware_uuid

LOADER_ADDRESS: Final = 0x20000000
METADATA_ADDRESS: Final = 0x59602000

_LOADER_BYTES: Final = 3000
_METADATA_BYTES: Final = 2360
_PIECES: Final = (
    (0x6000, 0x3000),
    (FIRMWARE_HEADER_ADDRESS + FIRMWARE_HEADER_BYTES, 0x4000 - FIRMWARE_HEADER_BYTES),
    (0x27C000, 0x1000),
)
_PS256: Final = -37
_COSE_SIGN1: Final = 18
_SIGNATURE_BYTES: Final = 256
_ZIP_TIME: Final = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ModemImage:
    """A full modem firmware look-alike.

    Attributes:
        name: Such as ``mfw_nrf91x1_2.0.3``.
        loader: First segment.
        firmware: Address -> bytes of the others, ascending.
    """

    name: str
    loader: bytes
    firmware: Mapping[int, bytes]


def make_modem_image(version: str, family: str, *, dead: bool = False) -> ModemImage:
    """Make a look-alike.

    Args:
        version: Such as ``2.0.3``.
        family: ``nrf91x1`` or ``nrf9160``.
        dead: Damage the firmware so that only the modem notices, by not starting.

    Raises:
        UsageError: The version does not fit.
    """
    name = f"{family}_{version}"
    content = {start: _filler(f"modem {name} {start:#x}", size) for start, size in _PIECES}
    identity = ModemFirmware(family, version, firmware_uuid(name))
    try:
        firmware = encode_modem_firmware(identity, content)
    except ValueError as error:
        raise UsageError(f"no modem look-alike can be made: {error}", reason="bad-recipe") from error
    if dead:
        firmware[0x6000] = firmware[0x6000][:-1] + bytes([firmware[0x6000][-1] ^ 0x10])
    loader = encode_modem_loader(_filler(f"modem loader {family}", _LOADER_BYTES))
    return ModemImage(f"mfw_{name}", loader, firmware)


def encode_modem_cbor(image: ModemImage) -> bytes:
    """The one-file form: a COSE_Sign1 wrapper and the segments' bytes behind it."""
    segments = [(LOADER_ADDRESS, image.loader), *image.firmware.items()]
    blob = b"".join(data for _, data in segments)
    numbers = list(itertools.chain.from_iterable((address, len(data)) for address, data in segments))
    payload = cbor2.dumps([1, 1, hashlib.sha256(blob).digest(), cbor2.dumps(numbers)])
    signature = _filler(f"signature of {image.name}", _SIGNATURE_BYTES)
    envelope = [cbor2.dumps({1: _PS256}), {}, payload, signature]
    return cbor2.dumps(cbor2.CBORTag(_COSE_SIGN1, envelope)) + blob


def encode_modem_package(image: ModemImage, *, wrong_digests: bool = False) -> bytes:
    """The zip for programmers: loader and segments as Intel HEX, their digests, and the CBOR form.

    Args:
        image: What is in it.
        wrong_digests: Give the digests of something else.
    """
    metadata = _filler(f"metadata of {image.name}", _METADATA_BYTES)
    key = hashlib.sha256(image.loader).hexdigest()[:7].upper()
    members = {
        f"{key}.ipc_dfu.signed_1.2.2.ihex": _intel_hex({LOADER_ADDRESS: image.loader}),
        "firmware.update.image.segments.0.hex": _intel_hex({METADATA_ADDRESS: metadata}),
        "firmware.update.image.segments.1.hex": _intel_hex(image.firmware),
        "firmware.update.image.digest.txt": _digests(image.firmware, b"!" if wrong_digests else b""),
        f"{image.name}.cbor": encode_modem_cbor(image),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)
    return packed.getvalue()


def _digests(firmware: Mapping[int, bytes], salt: bytes) -> bytes:
    whole = hashlib.sha256(b"".join(firmware.values()) + salt).hexdigest()
    lines = [f"SHA256 of all ranges in ascending address order: {whole}"]
    for start, data in firmware.items():
        digest = hashlib.sha256(data + salt).hexdigest()
        lines.append(f"Range: 0x{start:08X}--0x{start + len(data) - 1:08X} SHA256: {digest}")
    return "\n".join([*lines, ""]).encode()


def _intel_hex(content: Mapping[int, bytes]) -> bytes:
    memory = IntelHex()
    for address, data in content.items():
        memory.frombytes(data, offset=address)
    text = io.StringIO()
    memory.write_hex_file(text)
    return text.getvalue().encode()


def _filler(seed: str, size_bytes: int) -> bytes:
    return hashlib.shake_256(f"nRF91 Bridge sample: {seed}".encode()).digest(size_bytes)
