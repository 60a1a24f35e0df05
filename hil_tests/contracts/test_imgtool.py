"""imgtool, MCUboot's own tool, makes and judges the same images that we read."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from imgtool.main import imgtool as imgtool_command

from bridge.errors import ImageRefusedError
from bridge.image import FirmwareImage, inspect_file, verify_signature
from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_key import development_public_key_path

pytestmark = pytest.mark.contract

KINDS = ["ecdsa-p256", "ecdsa-p384", "ed25519", "rsa-2048", "rsa-3072"]


def imgtool(*arguments: str | Path, fails: bool = False) -> str:
    """Run imgtool's command, in this process, since it starts slowly."""
    result = CliRunner().invoke(imgtool_command, [str(argument) for argument in arguments])
    assert (result.exit_code != 0) is fails, result.output
    return result.output


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a payload and, for each kind, a key."""
    folder = tmp_path_factory.mktemp("imgtool")
    (folder / "payload.bin").write_bytes(bytes(range(256)) * 20)
    for kind in KINDS:
        imgtool("keygen", "-t", kind, "-k", folder / f"{kind}.pem")
    return folder


def sign(bench: Path, kind: str, *options: str, output: str = "signed.bin") -> Path:
    path = bench / output
    layout = ["--align", "4", "-v", "1.2.3+4", "-H", "0x200", "--pad-header", "-S", "0x6e000"]
    imgtool("sign", "-k", bench / f"{kind}.pem", *layout, *options, bench / "payload.bin", path)
    return path


def verified_digest(image: Path, key: Path) -> tuple[str, str]:
    """Version and digest as ``imgtool verify`` prints them."""
    lines = imgtool("verify", "-k", key, image).splitlines()
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    return values["Image version"], values["Image digest"]


def dumped(image: Path, folder: Path) -> dict[str, object]:
    """What ``imgtool dumpinfo`` reads."""
    output = folder / "info.json"
    imgtool("dumpinfo", "-s", "-o", output, "-f", "json", image)
    info = json.loads(output.read_text())
    header, area, trailer = info["header"], info["tlv_area"], info["trailer"]
    return {
        "header": [
            header[name] for name in ("hdr_size", "protected_tlv_size", "img_size", "flags", "load_addr")
        ],
        "protected": [(entry["type"], entry["data"]) for entry in area["tlvs_prot"]],
        "tlvs": [(entry["type"], entry["data"]) for entry in area["tlvs"]],
        "padded": bool(trailer),
        "confirmed": trailer.get("image_ok") == 1,
    }


def inspected(image: FirmwareImage) -> dict[str, object]:
    """The same, as we read it."""
    info = image.mcuboot
    assert info is not None
    header = info.header
    return {
        "header": [
            header.header_size_bytes,
            header.protected_tlv_size_bytes,
            header.payload_size_bytes,
            header.flags,
            header.load_address,
        ],
        "protected": [(entry.type, entry.data.hex()) for entry in info.protected_tlvs],
        "tlvs": [(entry.type, entry.data.hex()) for entry in info.tlvs],
        "padded": info.trailer is not None,
        "confirmed": info.trailer is not None and info.trailer.confirmed,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_given_each_kind_of_key_then_imgtool_and_we_agree(bench: Path, kind: str) -> None:
    path = sign(bench, kind)
    image = inspect_file(path)
    assert image.mcuboot is not None
    assert ("1.2.3+4", image.mcuboot.digest) == verified_digest(path, bench / f"{kind}.pem")
    assert image.version == "1.2.3+4"
    public = bench / f"{kind}.pub.pem"
    imgtool("getpub", "-k", bench / f"{kind}.pem", "-e", "pem", "-o", public)
    verify_signature(image, public.read_bytes())


@pytest.mark.parametrize("kind", KINDS)
def test_given_another_key_then_imgtool_and_we_refuse(bench: Path, kind: str) -> None:
    path = sign(bench, kind)
    other = bench / "other.pem"
    imgtool("keygen", "-t", kind, "-k", other)
    imgtool("verify", "-k", other, path, fails=True)
    with pytest.raises(ImageRefusedError) as refused:
        verify_signature(inspect_file(path), other.read_bytes())
    assert refused.value.reason == "wrong-key"


OPTIONS = {
    "security counter": ["-s", "auto"],
    "dependencies": ["-d", "(0, 1.0.0)"],
    "boot record": ["--boot-record", "SPE"],
    "vendor TLV": ["--custom-tlv", "0x00a1", "0x1122"],
    "whole key": ["--public-key-format", "full"],
    "padded signature": ["--pad-sig"],
    "rom fixed": ["-F", "0x20000"],
    "padded": ["--pad"],
    "test": ["--test"],
    "confirmed": ["--confirm"],
    "wide trailer": ["--max-align", "32", "--confirm"],
    "middle trailer": ["--max-align", "16", "--pad"],
    "erased is zero": ["-R", "0", "--pad"],
    "overwrite only": ["--overwrite-only", "--confirm"],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_given_each_option_then_dumpinfo_and_we_read_the_same(bench: Path, tmp_path: Path, name: str) -> None:
    path = sign(bench, "ecdsa-p256", *OPTIONS[name])
    image = inspect_file(path)
    verify_signature(image, (bench / "ecdsa-p256.pem").read_bytes())
    assert inspected(image) == dumped(path, tmp_path)


def test_given_an_encrypted_image_then_we_say_that_its_digest_is_not_verified(bench: Path) -> None:
    public = bench / "encryption.pub.pem"
    imgtool("getpub", "-k", bench / "ecdsa-p256.pem", "-e", "pem", "-o", public)
    image = inspect_file(sign(bench, "ecdsa-p256", "-E", str(public)))
    assert image.mcuboot is not None
    assert not image.mcuboot.digest_verified
    clear = inspect_file(sign(bench, "ecdsa-p256", "-E", str(public), "-c"))
    assert clear.mcuboot is not None
    assert clear.mcuboot.digest_verified


def test_given_no_key_then_the_image_is_read_and_not_signed(bench: Path) -> None:
    path = bench / "unsigned.bin"
    layout = ["-v", "1.0.0", "-H", "0x200", "--pad-header", "-S", "0x6e000"]
    imgtool("sign", *layout, bench / "payload.bin", path)
    with pytest.raises(ImageRefusedError) as refused:
        verify_signature(inspect_file(path), (bench / "ed25519.pem").read_bytes())
    assert refused.value.reason == "not-signed"


def test_given_a_pure_signature_then_we_refuse_it_by_name(bench: Path) -> None:
    with pytest.raises(ImageRefusedError) as refused:
        inspect_file(sign(bench, "ed25519", "--pure"))
    assert refused.value.reason == "unsupported-signature"


@pytest.mark.parametrize("options", [[], ["--confirm"]])
def test_given_intel_hex_from_imgtool_then_the_image_inside_is_the_binary_one(
    bench: Path, options: list[str]
) -> None:
    path = sign(bench, "rsa-2048", "-x", "0x20000", *options, output="signed.hex")
    image = inspect_file(path)
    assert image.intel_hex is not None
    assert [found.address for found in image.intel_hex.images] == [0x20000]
    assert len(image.intel_hex.segments) == (2 if options else 1)
    assert image.mcuboot is not None
    assert image.mcuboot.digest == verified_digest(path, bench / "rsa-2048.pem")[1]
    verify_signature(image, (bench / "rsa-2048.pem").read_bytes())


def test_given_our_deterministic_samples_then_imgtool_accepts_and_refuses_them_as_we_do(
    tmp_path: Path,
) -> None:
    samples, key = SampleImages(tmp_path), development_public_key_path()
    good = samples.application("2.0.0+1", behaviour={"confirm": False}, security_counter=4)
    image = inspect_file(good)
    assert image.mcuboot is not None
    assert ("2.0.0+1", image.mcuboot.digest) == verified_digest(good, key)
    assert inspected(image) == dumped(good, tmp_path)
    for broken in (samples.wrong_key(), samples.bad_signature(), samples.corrupted()):
        imgtool("verify", "-k", key, broken, fails=True)
    imgtool("verify", samples.wrong_key())  # its digest is right
