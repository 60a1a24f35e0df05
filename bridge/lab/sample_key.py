"""The development key that signs sample images and that virtual boards trust; never for products.

The files live beside this module so that an installed package has them; ``firmware_images/keys`` points to
them.
"""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

PRIVATE_KEY_FILE: Final = "dev-ec-p256.pem"
PUBLIC_KEY_FILE: Final = "dev-ec-p256.pub.pem"
_OTHER_KEY_SEED: Final = b"nRF91 Bridge: a key that no board trusts"


def development_key_pem() -> bytes:
    """Private key (ECDSA P-256) that signs sample images."""
    return _key_folder().joinpath(PRIVATE_KEY_FILE).read_bytes()


def development_public_key_pem() -> bytes:
    """Its public part, for a virtual board or ``--key``."""
    return _key_folder().joinpath(PUBLIC_KEY_FILE).read_bytes()


def development_public_key_path() -> Path:
    """Its public part as a file."""
    return _key_folder() / PUBLIC_KEY_FILE


@cache
def other_key_pem() -> bytes:
    """Another private key, always the same, which no board trusts: for images with a wrong key."""
    secret = int.from_bytes(hashlib.sha256(_OTHER_KEY_SEED).digest(), "big")
    key = ec.derive_private_key(secret, ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _key_folder() -> Path:
    return Path(str(files("bridge.lab"))) / "sample_keys"
