"""Images signed by imgtool, and boards' flashes that hold them."""

import functools
import random
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from imgtool import image, keys, version

from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout, Slot, layout_of

LAYOUT = layout_of("nrf9151dk")
SMALL = Layout("small", 0x10000, Slot(0x0, 0x6000), Slot(0x6000, 0x5000))
"""Six and five pages: an image of up to four can be swapped."""


@functools.cache
def private_key(number: int = 0) -> ec.EllipticCurvePrivateKey:
    """A P-256 key; the same number gives the same key."""
    return ec.derive_private_key(1000 + number, ec.SECP256R1())


def public_pem(number: int = 0) -> bytes:
    """The public part of a key."""
    return private_key(number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(
    text: str,
    payload_bytes: int = 5000,
    *,
    key: int = 0,
    pad: bool = False,
    confirm: bool = False,
    slot: int = 0x5000,
) -> bytes:
    """An image as imgtool makes it, signed with one of our P-256 keys."""
    pem = private_key(key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return sign_with(pem, text, payload_bytes, pad=pad, confirm=confirm, slot=slot)


def sign_with(
    private_pem: bytes,
    text: str,
    payload_bytes: int = 5000,
    *,
    pad: bool = False,
    confirm: bool = False,
    slot: int = 0x5000,
) -> bytes:
    """An image as imgtool makes it, signed with any key."""
    with tempfile.TemporaryDirectory() as directory:
        key_file, source, signed = (
            Path(directory) / name for name in ("key.pem", "app.bin", "app.signed.bin")
        )
        key_file.write_bytes(private_pem)
        source.write_bytes(random.Random(text).randbytes(payload_bytes))
        made = image.Image(
            version=version.decode_version(text),
            header_size=0x200,
            pad_header=True,
            pad=pad,
            confirm=confirm,
            align=4,
            max_align=8,
            slot_size=slot,
            max_sectors=128,
        )
        made.load(str(source))
        made.create(keys.load(str(key_file)), "hash", None)
        made.save(str(signed))
        return signed.read_bytes()


def board_flash(running: bytes, layout: Layout = SMALL) -> Flash:
    """A flash with an image in the primary slot."""
    flash = Flash(layout.flash_size)
    flash.program(layout.primary.address, running)
    return flash


def stage(flash: Flash, update: bytes, layout: Layout = SMALL) -> None:
    """Write an update into the secondary slot, without any trailer."""
    flash.program(layout.secondary.address, b"\xff" * layout.secondary.size)
    flash.program(layout.secondary.address, update)
