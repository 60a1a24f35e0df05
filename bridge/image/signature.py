"""Whether an MCUboot image was signed by the owner of a given public key.

Sources: MCUboot ``docs/design.md`` and imgtool ``keys/``: ECDSA and RSA-PSS (salt of 32 bytes) sign SHA-256
of the image, that is the image digest (SHA-384 with P-384); Ed25519 signs the digest's bytes as a message.
The key hash is over the DER form of the key, SubjectPublicKeyInfo for EC keys and PKCS#1 for RSA, with the
image's digest algorithm.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from bridge.errors import ImageRefusedError, UsageError
from bridge.image.mcuboot import SIGNATURE_TYPES, McubootInfo, TlvType
from bridge.image.model import FirmwareImage

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_RSA_TYPES: Final = {2048: TlvType.RSA2048_PSS, 3072: TlvType.RSA3072_PSS}
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
_PSS_SALT_BYTES: Final = 32


def verify_signature(image: FirmwareImage, public_key_pem: bytes) -> None:
    """Check that an image was signed with a key.

    Args:
        image: An MCUboot image, or an Intel HEX file with exactly one inside.
        public_key_pem: Public key; a private key is taken for its public part.

    Raises:
        ImageRefusedError: ``not-signed``, ``wrong-key`` (signed by another key or with another algorithm) or
            ``bad-signature`` (claims this key, but the signature does not hold).
        UsageError: The key cannot be read.
    """
    if image.mcuboot is None:
        raise ImageRefusedError(
            f"a file of kind {image.kind} carries no signature that can be checked here", reason="not-signed"
        )
    verify_mcuboot_signature(image.mcuboot, load_public_key(public_key_pem))


def verify_any_signature(image: FirmwareImage, public_keys_pem: Sequence[bytes]) -> None:
    """Check that an image was signed with one of several keys; of a DFU package each image in it.

    Args:
        image: An MCUboot image, an Intel HEX file with exactly one inside, or a DFU package.
        public_keys_pem: At least one key, as for :func:`verify_signature`.

    Raises:
        ImageRefusedError: As :func:`verify_signature`.
        UsageError: A key cannot be read.
    """
    keys = [load_public_key(pem) for pem in public_keys_pem]
    packed = image.dfu_package.members if image.dfu_package else ()
    inside = [info for info in (image.mcuboot, *(member.mcuboot for member in packed)) if info is not None]
    if not inside:
        raise ImageRefusedError(
            f"a file of kind {image.kind} carries no signature that can be checked here", reason="not-signed"
        )
    for info in inside:
        _verify_any(info, keys)


def _verify_any(info: McubootInfo, keys: Sequence[PublicKey]) -> None:
    refusal: ImageRefusedError | None = None
    for key in keys:
        try:
            verify_mcuboot_signature(info, key)
        except ImageRefusedError as error:
            if refusal is None or refusal.reason == "wrong-key":
                refusal = error
        else:
            return
    if refusal is None:
        raise UsageError("no key was given to check signatures with", reason="bad-key")
    if refusal.reason == "wrong-key" and len(keys) > 1:
        raise _wrong_key(f"the image is not signed by any of the {len(keys)} given keys")
    raise refusal


def load_public_key(pem: bytes) -> PublicKey:
    """Read a key in PEM form.

    Raises:
        UsageError: No key, an encrypted one, or of a kind that MCUboot does not use.
    """
    try:
        key = (
            load_pem_private_key(pem, None).public_key()
            if b"PRIVATE KEY-----" in pem
            else load_pem_public_key(pem)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError("the key file holds no public key in PEM form", reason="bad-key") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in _RSA_TYPES:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise UsageError("the key is of a kind that MCUboot images are not signed with", reason="bad-key")


def key_der(key: PublicKey) -> bytes:
    """The form of a key that MCUboot holds and hashes."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def verify_mcuboot_signature(info: McubootInfo, key: PublicKey) -> None:
    """As :func:`verify_signature`, on the parts; the virtual board's bootloader decides with it.

    Raises:
        ImageRefusedError: See :func:`verify_signature`.
    """
    signatures = [tlv for tlv in info.tlvs if tlv.type in SIGNATURE_TYPES]
    if not signatures:
        raise ImageRefusedError(
            "the image is not signed", reason="not-signed", hint="Sign it with imgtool and the board's key."
        )
    if not _claims_key(info, key):
        named = f"the key with hash {info.key_hash[:16]}…" if info.key_hash else "another key"
        raise _wrong_key(f"the image is signed by {named}, not by the given one")
    wanted = _signature_type(key)
    candidates = [tlv.data for tlv in signatures if tlv.type == wanted]
    if not candidates:
        raise _wrong_key(
            f"the image is signed with {', '.join(info.signature_names)}, the given key is for {wanted.name}"
        )
    digest = bytes.fromhex(info.digest)
    if not any(_holds(_checker(key, info.digest_algorithm), signature, digest) for signature in candidates):
        raise ImageRefusedError(
            "the image's signature does not hold: it was not made with the given key for this content",
            reason="bad-signature",
            hint="Build and sign it again; the board's bootloader would refuse it.",
        )


def _claims_key(info: McubootInfo, key: PublicKey) -> bool:
    der = key_der(key)
    if info.public_key is not None:
        return info.public_key == der
    claimed = [tlv.data for tlv in info.tlvs if tlv.type == TlvType.KEY_HASH]
    own = hashlib.new(info.digest_algorithm, der).digest()
    return not claimed or any(data and own.startswith(data) for data in claimed)


def _signature_type(key: PublicKey) -> TlvType:
    if isinstance(key, rsa.RSAPublicKey):
        return _RSA_TYPES[key.key_size]
    return TlvType.ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else TlvType.ECDSA


def _checker(key: PublicKey, algorithm: str) -> Callable[[bytes, bytes], None] | None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.verify
    digest = _HASHES.get(algorithm)
    if digest is None:
        return None
    prehashed = utils.Prehashed(digest)
    if isinstance(key, rsa.RSAPublicKey):
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=_PSS_SALT_BYTES)
        return lambda signature, message: key.verify(signature, message, pss, prehashed)
    return lambda signature, message: key.verify(_without_padding(signature), message, ec.ECDSA(prehashed))


def _holds(check: Callable[[bytes, bytes], None] | None, signature: bytes, digest: bytes) -> bool:
    if check is None:
        return False
    try:
        check(signature, digest)
    except (InvalidSignature, ValueError):
        return False
    return True


def _without_padding(signature: bytes) -> bytes:
    """Cut the zeros that ``imgtool sign --pad-sig`` puts after a DER signature."""
    if len(signature) > 2 and not signature[2 + signature[1] :].strip(b"\0"):
        return signature[: 2 + signature[1]]
    return signature


def _wrong_key(text: str) -> ImageRefusedError:
    return ImageRefusedError(text, reason="wrong-key", hint="Check which key the board's MCUboot holds.")
