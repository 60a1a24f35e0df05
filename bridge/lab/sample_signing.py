"""imgtool as a library, with deterministic ECDSA, so that a recipe gives the same bytes each time.

imgtool signs with a random nonce. Here the image is made twice: once to learn the digest, once with the
signature of RFC 6979 over it put in, which is what ``imgtool sign --fix-sig`` does. imgtool's own signing
would also print to stdout.
"""

import tempfile
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bridge.errors import UsageError
from bridge.extras import missing_extra

HEADER_BYTES: Final = 0x200
"""Header with padding, as in every nRF91 build."""

SLOT_BYTES: Final = 0x6E000
"""Smaller of the two slots of Serial Modem's nRF9151 DK layout."""

ALIGN_BYTES: Final = 4


def sign_image(
    payload: bytes,
    *,
    version: str,
    key_pem: bytes,
    slot_size_bytes: int = SLOT_BYTES,
    security_counter: int | None = None,
    confirmed_trailer: bool = False,
    break_signature: bool = False,
) -> bytes:
    """Make an MCUboot image.

    Args:
        payload: What comes after the header.
        version: ``major.minor.revision`` or ``major.minor.revision+build``.
        key_pem: Private key, ECDSA P-256.
        slot_size_bytes: imgtool refuses what does not fit, trailer included; 0 lets everything through.
        security_counter: Adds a protected TLV.
        confirmed_trailer: Fill the slot and end it with a trailer that says "confirmed", as ``--confirm``
            does.
        break_signature: Put the key's signature of something else in.

    Raises:
        UsageError: imgtool is missing or refuses, or the key is of another kind.
    """
    key = load_pem_private_key(key_pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError("sample images are signed with an ECDSA P-256 key", reason="bad-key")
    settings = {
        "header_size": HEADER_BYTES,
        "pad_header": True,
        "slot_size": slot_size_bytes,
        "align": ALIGN_BYTES,
        "security_counter": security_counter,
        "pad": confirmed_trailer,
        "confirm": confirmed_trailer,
    }
    with tempfile.TemporaryDirectory(prefix="nrf91-bridge-") as folder:
        unsigned, signed = Path(folder, "unsigned.bin"), Path(folder, "signed.bin")
        unsigned.write_bytes(payload)
        draft = _create(unsigned, version, key.public_key(), b"", settings)
        digest = bytes(255 - byte for byte in draft.image_hash) if break_signature else draft.image_hash
        algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
        _create(unsigned, version, key.public_key(), key.sign(digest, algorithm), settings).save(str(signed))
        return signed.read_bytes()


def _create(
    unsigned: Path, version: str, key: ec.EllipticCurvePublicKey, signature: bytes, settings: dict[str, Any]
) -> Any:
    try:
        from imgtool.image import Image  # noqa: PLC0415, I001 - only the lab needs it
        from imgtool.keys import ECDSA256P1Public  # noqa: PLC0415
        from imgtool.version import decode_version  # noqa: PLC0415
        import click  # noqa: PLC0415 - comes with imgtool
    except ImportError as error:
        raise missing_extra("sample images need", error, "lab") from error
    try:
        image = Image(version=decode_version(version), **settings)
        image.load(str(unsigned))
        image.create(None, "hash", None, fixed_sig={"value": signature}, pub_key=ECDSA256P1Public(key))
    except (ValueError, click.UsageError) as error:
        text = error.format_message() if isinstance(error, click.UsageError) else str(error)
        raise UsageError(f"imgtool does not make this image: {text}", reason="bad-recipe") from error
    return image
