"""Signatures, made here with the cryptography library as MCUboot's documentation describes them."""

import hashlib
from collections.abc import Callable
from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa, utils

from bridge.errors import ImageRefusedError, UsageError
from bridge.image import FirmwareImage, inspect_bytes, verify_signature
from bridge.image.signature import load_public_key
from hil_tests.unit.image.build import DELTA, hashed_size, intel_hex, mcuboot, tlv

Private = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


@cache
def keys(kind: str) -> tuple[Private, Private]:
    """The signer's key and another one of the same kind."""
    make: dict[str, Callable[[], Private]] = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
        "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
    }
    return make[kind](), make[kind]()


def public_pem(key: Private) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def der(key: Private) -> bytes:
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    form = serialization.PublicFormat.PKCS1 if is_rsa else serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


def signature_tlv(key: Private, digest: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return tlv(0x24, key.sign(digest))
    if isinstance(key, rsa.RSAPrivateKey):
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        kind = 0x20 if key.key_size == 2048 else 0x23
        return tlv(kind, key.sign(digest, pss, utils.Prehashed(hashes.SHA256())))
    chosen = hashes.SHA256() if isinstance(key.curve, ec.SECP256R1) else hashes.SHA384()
    return tlv(0x22, key.sign(digest, ec.ECDSA(utils.Prehashed(chosen))))


def signed(
    key: Private, *, claim: bytes | None = None, digest_of: bytes = b"", extra: bytes = b""
) -> FirmwareImage:
    """An image signed by a key; ``claim`` replaces its key TLV, ``digest_of`` is signed instead of it."""
    algorithm = "sha384" if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size == 384 else "sha256"
    plain = mcuboot(digest=algorithm)
    digest = hashlib.new(algorithm, digest_of or plain[: hashed_size(plain)]).digest()
    claimed = tlv(0x01, hashlib.new(algorithm, der(key)).digest()) if claim is None else claim
    return inspect_bytes(mcuboot(digest=algorithm, extra=(claimed, signature_tlv(key, digest), extra)))


def refusal(image: FirmwareImage, pem: bytes) -> str:
    with pytest.raises(ImageRefusedError) as refused:
        verify_signature(image, pem)
    return refused.value.reason


KINDS = ["p256", "p384", "ed25519", "rsa2048", "rsa3072"]


@pytest.mark.parametrize("kind", KINDS)
def test_given_the_signers_key_then_the_signature_holds(kind: str) -> None:
    verify_signature(signed(keys(kind)[0]), public_pem(keys(kind)[0]))


@pytest.mark.parametrize("kind", KINDS)
def test_given_another_key_then_it_is_the_wrong_key(kind: str) -> None:
    assert refusal(signed(keys(kind)[0]), public_pem(keys(kind)[1])) == "wrong-key"


@pytest.mark.parametrize("kind", KINDS)
def test_given_the_signature_of_something_else_then_it_is_bad(kind: str) -> None:
    assert (
        refusal(signed(keys(kind)[0], digest_of=b"something else"), public_pem(keys(kind)[0]))
        == "bad-signature"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_key_hash_that_lies_then_the_signature_tells(kind: str) -> None:
    own, other = keys(kind)
    algorithm = "sha384" if kind == "p384" else "sha256"
    image = signed(own, claim=tlv(0x01, hashlib.new(algorithm, der(other)).digest()))
    assert refusal(image, public_pem(other)) == "bad-signature"
    assert refusal(image, public_pem(own)) == "wrong-key"


def test_given_no_key_hash_then_the_signature_decides() -> None:
    own, other = keys("p256")
    image = signed(own, claim=b"")
    verify_signature(image, public_pem(own))
    assert refusal(image, public_pem(other)) == "bad-signature"


def test_given_the_whole_key_instead_of_its_hash_then_it_is_compared() -> None:
    own, other = keys("p256")
    image = signed(own, claim=tlv(0x02, der(own)))
    verify_signature(image, public_pem(own))
    assert refusal(image, public_pem(other)) == "wrong-key"
    assert image.mcuboot is not None
    assert image.mcuboot.public_key == der(own)


def test_given_a_key_of_another_kind_then_it_is_the_wrong_key() -> None:
    image = signed(keys("p256")[0], claim=b"")
    assert refusal(image, public_pem(keys("ed25519")[0])) == "wrong-key"


def test_given_two_signatures_then_each_key_is_accepted() -> None:
    first, second = keys("p256")
    plain = mcuboot()
    digest = hashlib.sha256(plain[: hashed_size(plain)]).digest()
    extra = tlv(0x01, hashlib.sha256(der(second)).digest()) + signature_tlv(second, digest)
    image = signed(first, extra=extra)
    verify_signature(image, public_pem(first))
    verify_signature(image, public_pem(second))


def test_given_a_digest_that_the_algorithm_does_not_sign_then_the_signature_is_bad() -> None:
    key = keys("p256")[0]
    plain = mcuboot(digest="sha512")
    digest = hashlib.sha256(plain[: hashed_size(plain)]).digest()
    image = inspect_bytes(mcuboot(digest="sha512", extra=(signature_tlv(key, digest),)))
    assert refusal(image, public_pem(key)) == "bad-signature"


def test_given_a_padded_der_signature_then_the_padding_is_cut() -> None:
    key = keys("p256")[0]
    plain = mcuboot()
    digest = hashlib.sha256(plain[: hashed_size(plain)]).digest()
    signature = signature_tlv(key, digest)[4:]
    verify_signature(inspect_bytes(mcuboot(extra=(tlv(0x22, signature + b"\0\0"),))), public_pem(key))
    wrong = inspect_bytes(mcuboot(extra=(tlv(0x22, signature + b"\0\1"),)))
    assert refusal(wrong, public_pem(key)) == "bad-signature"
    assert refusal(inspect_bytes(mcuboot(extra=(tlv(0x22, b""),))), public_pem(key)) == "bad-signature"


def test_given_no_signature_then_it_is_not_signed() -> None:
    pem = public_pem(keys("p256")[0])
    assert refusal(inspect_bytes(mcuboot()), pem) == "not-signed"
    assert refusal(inspect_bytes(DELTA), pem) == "not-signed"


def test_given_an_image_in_intel_hex_then_its_signature_is_checked() -> None:
    key = keys("p256")[0]
    plain = mcuboot()
    digest = hashlib.sha256(plain[: hashed_size(plain)]).digest()
    image = mcuboot(extra=(signature_tlv(key, digest),))
    verify_signature(inspect_bytes(intel_hex((0x20000, image))), public_pem(key))


def test_given_a_private_key_then_its_public_part_is_used() -> None:
    key = keys("p256")[0]
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    verify_signature(signed(key), b"a comment before\n" + pem)


def test_given_something_that_is_no_usable_key_then_it_is_a_usage_error() -> None:
    small = rsa.generate_private_key(65537, 1024).public_key()
    foreign = dsa.generate_private_key(2048).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    locked = keys("p256")[0].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    curve = ec.generate_private_key(ec.SECP521R1()).public_key().public_bytes(*form)
    for pem in (b"", b"text", small.public_bytes(*form), foreign.public_bytes(*form), locked, curve):
        with pytest.raises(UsageError):
            load_public_key(pem)
