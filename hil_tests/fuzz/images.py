"""Firmware files: detection, every reader behind it, and what is taken out of packages."""

import contextlib
import hashlib
import struct
import warnings
from collections.abc import Callable

import cbor2

from bridge.errors import BridgeError, ImageRefusedError
from bridge.image.archive import read_archive
from bridge.image.detect import detect
from bridge.image.inspector import ImageInspector, inspect_bytes
from bridge.image.mcuboot import McubootInfo, parse_image
from bridge.image.mcuboot_trailer import BOOT_MAGIC, TrailerReader
from bridge.image.model import FirmwareImage
from bridge.image.nsib import find_fw_info, hash_of_key, validation_error
from bridge.image.package_source import application_image, choose, unpack
from bridge.image.sample import decode_modem_delta
from bridge.lab.sample_bootloader import make_bootloader_image
from bridge.lab.sample_key import development_key_pem
from bridge.lab.sample_modem import encode_modem_cbor, encode_modem_package, make_modem_image
from hil_tests.fuzz.choices import Choices, in_pieces
from hil_tests.fuzz.target import Target
from hil_tests.unit.image import build

_NAMES = (
    "app.bin",
    "mfw_nrf91x1_update_from_2.0.1_to_2.0.2.bin",
    "https://host/mfw_nrf91x1_2.0.2.zip?sig=x#y",
    "dfu_application.zip",
    "",
)
_HEADER_BYTES = 0x200
_SHA256_TLV = 0x10


def fuzz_file(data: bytes) -> None:
    """A file of any kind, whole and in pieces: the same judgement."""
    choices = Choices(data)
    name, cut = choices.of(_NAMES), choices.byte()
    _inspect(choices.rest(), name, cut)


def _inspect(content: bytes, name: str, cut: int) -> FirmwareImage | None:
    with contextlib.suppress(ImageRefusedError):
        detect(content[:64])
    whole = _verdict(lambda: inspect_bytes(content, name))
    if len(content) < 4096 or cut % 3 != 1:
        inspector = ImageInspector(name)

        def piecewise() -> FirmwareImage:
            for piece in in_pieces(content, cut):
                inspector.feed(piece)
            return inspector.finish()

        in_parts = _verdict(piecewise)
        assert isinstance(in_parts, str) == isinstance(whole, str), f"{whole} became {in_parts} in pieces"
        assert isinstance(whole, str) or in_parts == whole
    decode_modem_delta(content)
    return None if isinstance(whole, str) else whole


def _verdict(judge: Callable[[], FirmwareImage]) -> FirmwareImage | str:
    try:
        return judge()
    except ImageRefusedError as error:
        return error.reason


def fuzz_mcuboot(data: bytes) -> None:
    """An MCUboot image with a right digest around odd header fields, payload, TLVs and what follows them."""
    choices = Choices(data)
    cut, follows = choices.byte(), choices.of((b"", b"\xff" * 64 + BOOT_MAGIC, b"\0" * 32 + BOOT_MAGIC))
    header = bytearray(build.mcuboot(choices.piece() or b"payload", header_size=32 + choices.byte()))
    fields = choices.take(8)
    for at, value in zip(fields[::2], fields[1::2], strict=False):
        header[4 + at % 28] = value
    protected = choices.take(choices.byte())
    hashed = bytes(header)[: build.hashed_size(bytes(header)) if choices.flag() else len(header)] + protected
    tlvs = build.tlv(_SHA256_TLV, hashlib.sha256(hashed).digest()) + choices.piece()
    area = struct.pack("<HH", 0x6907, 4 + len(tlvs)) + tlvs
    content = hashed + area + follows + choices.rest()
    image = _inspect(content, "app.bin", cut)
    if image is not None and image.mcuboot is not None:
        _look_at(image.mcuboot)
    with contextlib.suppress(ImageRefusedError):
        _look_at(parse_image(content, allow_trailing=True))


def _look_at(info: McubootInfo) -> None:
    assert info.header.flag_names is not None
    assert info.signature_names is not None
    assert info.security_counter is None or info.security_counter >= 0
    assert [tlv.name for tlv in info.tlvs]
    assert info.key_hash is None or bytes.fromhex(info.key_hash) is not None


def fuzz_trailer(data: bytes) -> None:
    """What follows an image in its file."""
    choices = Choices(data)
    cut, filler, size = choices.byte(), choices.byte(), choices.number(2) % 512
    content = bytes([filler]) * size + choices.rest()
    verdicts = set()
    for pieces in ([content], in_pieces(content, cut)):
        reader = TrailerReader(100)
        for piece in pieces:
            reader.feed(piece)
        try:
            found = reader.finish()
        except ImageRefusedError as error:
            verdicts.add((error.reason, error.offset))
        else:
            assert found is None or found.padding_size_bytes == len(content)
            verdicts.add((str(found), 0))
    assert len(verdicts) == 1, verdicts


def fuzz_modem_full(data: bytes) -> None:
    """A full modem file whose manifest is fuzzed in its right wrapper, with the right digest of what follows."""
    choices = Choices(data)
    cut, blob = choices.byte(), choices.piece()
    manifest = choices.piece()
    if choices.flag():
        segments = choices.piece() if choices.flag() else cbor2.dumps([choices.number(), len(blob)])
        manifest = cbor2.dumps([choices.byte(), 0, hashlib.sha256(blob).digest(), segments])
    signature = cbor2.dumps(bytes(64)) if choices.flag() else choices.piece()
    wrapper = (
        b"\xd2\x84" + cbor2.dumps(b"\xa0") + (choices.piece() or b"\xa0") + cbor2.dumps(manifest) + signature
    )
    _inspect(wrapper + blob + choices.rest(), "mfw_nrf91x1_2.0.2.cbor", cut)


def fuzz_intel_hex(data: bytes) -> None:
    """Records with right checksums, and lines with none."""
    choices = Choices(data)
    text = ""
    while choices.more:
        if choices.byte() & 7:
            text += build.hex_record(choices.number(2), choices.byte() % 7, choices.take(choices.byte() % 33))
        else:
            text += ":" + choices.piece().decode("latin-1") + "\n"
    ends = (":00000001FF\n", ":00000001ff\r\n\r\n", "")
    _inspect((text + ends[len(data) % 3]).encode("latin-1"), "app.hex", 0)


def fuzz_nsib(data: bytes) -> None:
    """What the immutable bootloader reads of MCUboot."""
    choices = Choices(data)
    with_key = choices.flag()
    image = choices.rest()
    found = find_fw_info(image)
    if found is None:
        return
    assert found.is_mcuboot in {True, False}
    validation_error(image, found, hash_of_key(image[-128:-64]) if with_key else None)


def fuzz_archive(data: bytes) -> None:
    """A zip archive as it is, or one that is built with odd members and then damaged at a few bytes."""
    choices = Choices(data)
    member = choices.of((None, "app.signed.bin"))
    if choices.flag():
        content = choices.rest()
    else:
        method = choices.of((0, 8))
        files: dict[str, bytes] = {"app.signed.bin": build.mcuboot(), "manifest.json": choices.piece()}
        for _ in range(choices.byte() % 4):
            files[choices.piece().decode("latin-1") or "x"] = choices.piece()
        with warnings.catch_warnings(action="ignore"):  # of names that are equal up to a NUL
            damaged = bytearray(
                build.zipped({name: data for name, data in files.items() if name[0] != "\0"}, method)
            )
        while choices.more:
            damaged[-1 - choices.number(2) % len(damaged)] = choices.byte()
        content = bytes(damaged)
    try:
        files = read_archive(content)
    except ImageRefusedError:
        return
    assert sum(map(len, files.values())) <= 64 * 1024 * 1024
    _inspect(content, "dfu_application.zip", 0)
    for take in (
        lambda: choose(unpack(content, "a.zip"), member),
        lambda: application_image(content, "a.zip"),
    ):
        try:
            take()
        except BridgeError:
            continue


def files() -> list[bytes]:
    """One small file of every kind."""
    modem = make_modem_image("2.0.2", "nrf91x1")
    image = build.mcuboot()
    key = development_key_pem()
    return [
        image,
        build.mcuboot(protected=(build.tlv(0x50, bytes(4)),), digest="sha512", flags=0x10),
        image + b"\xff" * 200 + BOOT_MAGIC,
        build.DELTA,
        build.modem_full(100, 200),
        encode_modem_cbor(modem),
        encode_modem_package(modem),
        build.intel_hex((0, image), (0x50000, bytes(20))),
        build.dfu_package(),
        make_bootloader_image(2, 1, mcuboot_key=key, b0_key=key),
        b"\x7fELF" + bytes(60),
        b"<html>" + bytes(60),
    ]


def file_seeds() -> list[bytes]:
    """One small file of every kind, and CBOR and zip archives that claim too much."""
    deep = b"\xd2\x84" + b"\x81" * 900
    endless = b"\xd2\x84\x5b" + b"\x7f" + b"\xff" * 7
    many = b"\xd2\x84\x9b" + b"\x7f" + b"\xff" * 7
    return [bytes([1, 0]) + content for content in (*files(), deep, endless, many)]


def mcuboot_seeds() -> list[bytes]:
    """Decisions that make sound images."""
    return [
        bytes([0, follows, 7])
        + b"payload"
        + bytes([0xE0])
        + bytes([12, 0] * 4)
        + bytes([0, 1, 4, 1, 0, 0, 0])
        for follows in range(3)
    ]


def trailer_seeds() -> list[bytes]:
    """Erased flash, and the trailers of imgtool."""
    magic = bytes.fromhex("1000") + bytes.fromhex("2de15d29410b8d77679c110f1f8a")
    confirmed = b"\x01" + b"\xff" * 7
    return [
        bytes([0, 0xFF, 200, 0]) + end for end in (b"", BOOT_MAGIC, magic, confirmed + BOOT_MAGIC, magic * 3)
    ]


def modem_full_seeds() -> list[bytes]:
    """Sound manifests and odd ones."""
    sound = cbor2.dumps([0x50000, 10])
    return [
        bytes([0, 10]) + bytes(10) + bytes([0, 1, 1, len(segments)]) + segments + bytes([1, 1, 1, 0xA0])
        for segments in (
            sound,
            cbor2.dumps([0] * 6),
            b"\x9f\x00\x0a\xff",
            b"\xd8\x1d\x00",
            b"\x82\xfa\x7f\x80\0\0\x0a",
        )
    ]


def intel_hex_seeds() -> list[bytes]:
    """Data, extended addresses, and the end."""
    return [
        bytes([1, 0, 0, 4, 2, 0, 5]) + bytes([1, 0, 0, 0, 16]) + bytes(16),
        bytes([1, 0, 0x10, 0, 4]) + b"\x3d\xb8\xf3\x96" + bytes([1, 0, 0, 1, 0]),
        bytes([1, 0, 0, 3, 4]) + bytes(4) + bytes([1, 0, 0, 5, 4]) + bytes(4) + bytes([0, 3]) + b"00\xff",
    ]


def nsib_seeds() -> list[bytes]:
    """MCUboot as the immutable bootloader wants it."""
    key = development_key_pem()
    return [
        bytes([flag]) + make_bootloader_image(2, 0, mcuboot_key=key, b0_key=key)[_HEADER_BYTES:]
        for flag in (0, 1)
    ]


def archive_seeds() -> list[bytes]:
    """A build's package and a modem release, as they are and as decisions."""
    entry = b'{"format-version":0,"files":[{"file":"app.signed.bin","image_index":"0"}]}'
    packages = [build.dfu_package(), build.zipped({"a.segments.0.hex": b":00000001FF"}), build.zipped({})]
    return [b"\0\1" + package for package in packages] + [
        bytes([1, 0, method, len(entry)]) + entry + bytes([1, 1]) + b"x" + bytes([3]) + b"abc"
        for method in (0, 1)
    ]


TARGETS = (
    Target("image-file", fuzz_file, file_seeds, __name__, max_bytes=16 * 1024),
    Target("image-mcuboot", fuzz_mcuboot, mcuboot_seeds, __name__),
    Target("image-trailer", fuzz_trailer, trailer_seeds, __name__),
    Target("image-modem-full", fuzz_modem_full, modem_full_seeds, __name__),
    Target("image-intel-hex", fuzz_intel_hex, intel_hex_seeds, __name__),
    Target("image-nsib", fuzz_nsib, nsib_seeds, __name__, max_bytes=8192),
    Target("image-archive", fuzz_archive, archive_seeds, __name__),
)
