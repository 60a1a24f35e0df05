"""Sample images: the same bytes each time, sound where they shall be, broken where they shall be."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import bridge.lab.sample_key
from bridge.errors import BridgeError, ImageRefusedError, UsageError
from bridge.image import inspect_file, verify_signature
from bridge.image.package_source import choose, unpack
from bridge.image.sample import decode_modem_delta, find_behaviour
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import (
    development_key_pem,
    development_public_key_path,
    development_public_key_pem,
    other_key_pem,
)
from bridge.virtual.modem_nvm import firmware_uuid

FIRMWARE_IMAGES = Path(__file__).parents[3] / "firmware_images"


@pytest.fixture
def samples(tmp_path: Path) -> SampleImages:
    return SampleImages(tmp_path / "samples")


def test_given_a_version_and_size_then_the_application_has_them_and_is_signed(samples: SampleImages) -> None:
    path = samples.application(
        "2.1.3+7", size_bytes=10_000, behaviour={"confirm": False, "ready_delay_ms": 5}
    )
    image = inspect_file(path)
    assert image.version == "2.1.3+7"
    assert image.mcuboot is not None
    assert image.mcuboot.header.hashed_size_bytes == 10_000
    assert image.mcuboot.header.header_size_bytes == 0x200
    verify_signature(image, samples.public_key_pem)
    assert find_behaviour(path.read_bytes()) == {"confirm": False, "ready_delay_ms": 5}


def test_given_no_behaviour_then_the_application_has_no_block(samples: SampleImages) -> None:
    assert find_behaviour(samples.application().read_bytes()) is None


def test_given_a_recipe_then_two_builds_are_equal_byte_for_byte(tmp_path: Path) -> None:
    manifest = FIRMWARE_IMAGES / "manifest.toml"
    first = SampleImages(tmp_path / "first").build_manifest(manifest)
    second = SampleImages(tmp_path / "second").build_manifest(manifest)
    assert len(first) == 17
    assert len(set(first)) == len(first)
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert not list(tmp_path.rglob(".draft-*"))


def test_given_the_default_application_then_its_bytes_are_those_of_every_other_machine(
    samples: SampleImages,
) -> None:
    """A pinned digest: it changes only when the recipe or the development key does."""
    digest = hashlib.sha256(samples.application("2.0.0").read_bytes()).hexdigest()
    assert digest == "41b612108877ae347d6d5340768058d0a14e4849b7362662857bdffbf2063298"


def test_given_different_versions_then_the_filler_differs(samples: SampleImages) -> None:
    one, two = (samples.application(version).read_bytes() for version in ("1.0.0", "2.0.0"))
    assert one[0x400:0x500] != two[0x400:0x500]


def test_given_a_wrong_key_then_only_the_signature_check_tells(samples: SampleImages) -> None:
    image = inspect_file(samples.wrong_key())
    with pytest.raises(ImageRefusedError) as refused:
        verify_signature(image, samples.public_key_pem)
    assert refused.value.reason == "wrong-key"
    verify_signature(image, other_key_pem())


def test_given_a_bad_signature_then_only_the_signature_check_tells(samples: SampleImages) -> None:
    image = inspect_file(samples.bad_signature())
    with pytest.raises(ImageRefusedError) as refused:
        verify_signature(image, samples.public_key_pem)
    assert refused.value.reason == "bad-signature"


def test_given_a_corrupted_image_then_its_digest_tells(samples: SampleImages) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_file(samples.corrupted())
    assert refused.value.reason == "digest-mismatch"


def test_given_an_oversize_image_then_it_is_sound_but_larger_than_a_slot(samples: SampleImages) -> None:
    image = inspect_file(samples.oversize())
    verify_signature(image, samples.public_key_pem)
    assert image.size_bytes > 0x6F000


def test_given_a_package_then_its_application_is_the_sample(samples: SampleImages) -> None:
    (packed,) = choose(unpack(samples.dfu_package("2.0.0").read_bytes(), "package.zip"))
    content = packed.data
    assert content == samples.application("2.0.0").read_bytes()


def test_given_a_confirmed_trailer_then_the_file_fills_the_slot(samples: SampleImages) -> None:
    image = inspect_file(samples.application(confirmed_trailer=True, security_counter=9))
    assert image.size_bytes == 0x6E000
    assert image.mcuboot is not None
    assert image.mcuboot.trailer is not None
    assert image.mcuboot.trailer.confirmed
    assert image.mcuboot.security_counter == 9


def test_given_a_delta_then_it_has_nordics_name_and_the_virtual_modems_build_ids(
    samples: SampleImages,
) -> None:
    path = samples.modem_delta("2.0.1", "2.0.2-FOTA-TEST", size_bytes=5000)
    assert path.name == "mfw_nrf91x1_update_from_2.0.1_to_2.0.2-FOTA-TEST.bin"
    image = inspect_file(path)
    assert (image.base_version, image.version, image.size_bytes) == ("2.0.1", "2.0.2-FOTA-TEST", 5000)
    delta = decode_modem_delta(path.read_bytes())
    assert delta is not None
    assert delta.base_uuid == firmware_uuid("nrf91x1_2.0.1")
    assert delta.target_uuid == firmware_uuid("nrf91x1_2.0.2-FOTA-TEST")
    assert delta.payload_sha256 == hashlib.sha256(delta.payload).hexdigest()
    assert delta.payload_size_bytes == len(delta.payload)


def test_given_deltas_that_fail_then_they_have_files_of_their_own(samples: SampleImages) -> None:
    good, corrupt, failing = (
        samples.modem_delta(),
        samples.modem_delta(corrupt=True),
        samples.modem_delta(result=71_303_171),
    )
    assert len({good, corrupt, failing}) == 3
    assert len({path.name for path in (good, corrupt, failing)}) == 1
    broken = decode_modem_delta(corrupt.read_bytes())
    assert broken is not None
    assert broken.payload_sha256 != hashlib.sha256(broken.payload).hexdigest()
    refusing = decode_modem_delta(failing.read_bytes())
    assert refusing is not None
    assert refusing.result == 71_303_171


def test_given_recipes_that_cannot_be_then_it_is_a_usage_error(samples: SampleImages, tmp_path: Path) -> None:
    foreign = ed25519.Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    wrong: list[Callable[[], Path]] = [
        lambda: samples.application(size_bytes=100),
        lambda: samples.application(size_bytes=0x6E000),
        lambda: samples.application("two"),
        lambda: samples.application(behaviour={"unknown": True}),
        lambda: samples.application(key=foreign),
        lambda: samples.modem_delta(size_bytes=100),
        lambda: samples.modem_delta("2" * 40),
    ]
    for build in wrong:
        with pytest.raises(UsageError):
            build()
    for text in ("[[unknown]]", "no toml", "[[application]]\ncolour = 1", "application = 3"):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(text)
        with pytest.raises(BridgeError) as failed:
            samples.build_manifest(recipe)
        assert failed.value.exit_code == 2


def test_given_the_repository_then_its_keys_are_those_of_the_package() -> None:
    assert (FIRMWARE_IMAGES / "keys" / "dev-ec-p256.pem").read_bytes() == development_key_pem()
    assert (FIRMWARE_IMAGES / "keys" / "dev-ec-p256.pub.pem").read_bytes() == development_public_key_pem()
    assert development_public_key_path().read_bytes() == development_public_key_pem()
    assert Path(bridge.lab.sample_key.__file__).parent in development_public_key_path().parents
    for pem in (development_key_pem(), development_public_key_pem()):
        assert b"Never use it for products" in pem
