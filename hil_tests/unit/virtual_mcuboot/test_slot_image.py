"""What MCUboot accepts as an image, whoever signed it."""

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import ImageFlag
from bridge.virtual.slot_image import SlotImage
from hil_tests.unit.virtual_mcuboot.signing import SMALL, board_flash, public_pem, sign, sign_with

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def pem_of(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def refused(image: bytes, keys: list[bytes]) -> str:
    with pytest.raises(ImageRefusedError) as caught:
        SlotImage(board_flash(image), SMALL.primary).validate(keys)
    return caught.value.reason


def accepted(image: bytes, keys: list[bytes]) -> bool:
    return SlotImage(board_flash(image), SMALL.primary).validate(keys).digest_verified


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_given_an_ed25519_board_then_only_its_owner_can_sign() -> None:
    owner, other = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    image = sign_with(private_pem(owner), "1.0.0")
    assert accepted(image, [pem_of(owner)])
    assert refused(image, [pem_of(other)]) == "wrong-key"


def test_given_an_rsa_board_then_only_its_owner_can_sign(rsa_key: rsa.RSAPrivateKey) -> None:
    image = sign_with(private_pem(rsa_key), "1.0.0")
    assert accepted(image, [pem_of(rsa_key)])
    assert refused(image, [public_pem()]) == "wrong-key"
    assert refused(image[:-1] + bytes([image[-1] ^ 1]), [pem_of(rsa_key)]) == "bad-signature"


def test_given_several_keys_then_the_reason_is_the_one_that_tells_most() -> None:
    image = sign("1.0.0", key=1)
    spoiled = image[:-20] + bytes([image[-20] ^ 1]) + image[-19:]
    assert refused(spoiled, [public_pem(0), public_pem(1), public_pem(2)]) == "bad-signature"
    assert refused(image, [public_pem(0), public_pem(2)]) == "wrong-key"


def test_given_a_bootloader_without_keys_then_a_digest_is_enough() -> None:
    assert accepted(hashed_image(), [])
    assert accepted(sign("1.0.0"), [])


def test_given_a_bootloader_with_keys_then_an_unsigned_image_is_refused() -> None:
    assert refused(hashed_image(), [public_pem()]) == "not-signed"


def test_given_a_signature_without_a_key_hash_then_it_does_not_count() -> None:
    image = sign("1.0.0")
    where = image.rindex(struct.pack("<HH", 0x01, 32))
    assert (
        refused(image[:where] + struct.pack("<HH", 0xA0, 32) + image[where + 4 :], [public_pem()])
        == "not-signed"
    )


@pytest.mark.parametrize("flag", [ImageFlag.ENCRYPTED_AES128, ImageFlag.COMPRESSED_LZMA2])
def test_given_a_bootloader_without_encryption_and_compression_then_such_images_are_refused(
    flag: ImageFlag,
) -> None:
    assert refused(hashed_image(flags=flag), []) == "bad-header"


def test_given_another_digest_than_sha256_then_it_is_refused() -> None:
    assert refused(hashed_image(tlv=0x12, algorithm="sha512"), []) == "bad-tlv"


def test_given_an_image_that_is_not_for_booting_then_the_slot_counts_as_empty() -> None:
    flash = board_flash(hashed_image(flags=ImageFlag.NON_BOOTABLE))
    assert SlotImage(flash, SMALL.primary).is_absent
    assert SlotImage(flash, SMALL.secondary).is_absent
    assert not SlotImage(board_flash(hashed_image()), SMALL.primary).is_absent


def test_given_an_image_then_its_size_is_that_of_the_file() -> None:
    image = sign("1.0.0", 7777)
    assert SlotImage(board_flash(image), SMALL.primary).size_bytes() == len(image)


def test_given_a_header_that_points_outside_then_there_is_no_size() -> None:
    image = bytearray(hashed_image())
    image[12:16] = struct.pack("<I", SMALL.primary.size - 0x200)
    with pytest.raises(ImageRefusedError):
        SlotImage(board_flash(bytes(image)), SMALL.primary).size_bytes()


def hashed_image(*, flags: int = 0, tlv: int = 0x10, algorithm: str = "sha256") -> bytes:
    """An image with a digest and no signature, by hand."""
    payload = b"\x5a" * 1000
    header = struct.pack("<IIHHIIBBHII", 0x96F3B83D, 0, 0x200, 0, len(payload), flags, 1, 0, 0, 0, 0)
    body = header.ljust(0x200, b"\0") + payload
    digest = hashlib.new(algorithm, body).digest()
    entries = struct.pack("<HH", tlv, len(digest)) + digest
    return body + struct.pack("<HH", 0x6907, 4 + len(entries)) + entries
