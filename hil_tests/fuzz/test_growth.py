"""Nothing that is fed for ever grows for ever, and nothing small becomes large: memory is measured, not believed."""

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable

import cbor2
import pytest

from bridge.cloud.document import DocumentError, parse_document
from bridge.errors import BridgeError, ImageRefusedError
from bridge.image.archive import read_archive
from bridge.image.inspector import ImageInspector, inspect_bytes
from bridge.image.mcuboot_trailer import TrailerReader
from bridge.wire.at import AtParser
from bridge.wire.at_command import AtCommandReader
from bridge.wire.smp_frame import CONTINUATION, START, SmpFrameDecoder
from bridge.wire.smp_message import SmpFormatError, SmpMessage
from hil_tests.fuzz.board_driver import BoardDriver
from hil_tests.fuzz.boards import make_board
from hil_tests.unit.image import build

MEGABYTE = 1_000_000
_PIECE_BYTES = 1024
_FEED_BYTES = 400_000
_KEPT_BYTES = 250_000
_FEW_BYTES = 100_000
_LINE_KEPT_BYTES = 60_000
_NOISE = {
    "zeros": bytes(_PIECE_BYTES),
    "letters": b"A" * _PIECE_BYTES,
    "quotes": b'AT+X="' + b"a" * (_PIECE_BYTES - 6),
    "frames without end": (START + b"/v8A\n") * (_PIECE_BYTES // 7),
    "one long frame": b"\n" + START + b"//8A" + (b"A" * 100 + b"\n" + CONTINUATION) * 9,
}
every_noise = pytest.mark.parametrize("noise", _NOISE.values(), ids=_NOISE)


def peak_bytes(work: Callable[[], object]) -> int:
    """Most memory that Python had for it at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def feed(take: Callable[[bytes], object], noise: bytes, feed_bytes: int = _FEED_BYTES) -> Callable[[], None]:
    def work() -> None:
        for _ in range(feed_bytes // _PIECE_BYTES):
            take(noise)

    return work


@every_noise
def test_the_at_parser_keeps_no_more_than_a_line(noise: bytes) -> None:
    parser = AtParser()
    parser.begin_command("AT+X?")
    parser.feed(b'+X: "')
    assert peak_bytes(feed(parser.feed, noise, _FEW_BYTES)) < _LINE_KEPT_BYTES


@every_noise
def test_the_command_reader_keeps_no_more_than_a_line(noise: bytes) -> None:
    reader = AtCommandReader()

    def take(data: bytes) -> None:
        reader.feed(data)
        while reader.next_line() is not None:
            pass

    assert peak_bytes(feed(take, noise, _FEW_BYTES)) < _LINE_KEPT_BYTES


@every_noise
def test_the_frame_decoder_keeps_no_more_than_a_frame(noise: bytes) -> None:
    decoder = SmpFrameDecoder(behind_text=True)

    def take(data: bytes) -> None:
        decoder.feed(data)
        decoder.text_lines.clear()  # as every owner does

    assert peak_bytes(feed(take, noise)) < _KEPT_BYTES


@pytest.mark.parametrize("firmware", ["serial-modem", "smp", "mcuboot", "fmfu"])
def test_a_board_keeps_nothing_of_the_noise_on_its_line(firmware: str) -> None:
    driver = BoardDriver(make_board(firmware))
    driver.run()

    def take(noise: bytes) -> None:
        driver.send(noise)
        driver.run()
        driver.received()

    for noise in _NOISE.values():
        take(noise)

    def again() -> None:
        for noise in _NOISE.values():
            for _ in range(4):
                take(noise)

    assert peak_bytes(again) < MEGABYTE


@pytest.mark.parametrize(
    "start",
    [build.mcuboot()[:-4], build.DELTA, build.modem_full(200)[:400], b":" + b"0" * 99],
    ids=["application", "modem delta", "full modem", "Intel HEX"],
)
def test_an_image_streams_through(start: bytes) -> None:
    def work() -> None:
        inspector = ImageInspector("image.bin")
        try:
            inspector.feed(start)
            for _ in range(_FEED_BYTES // _PIECE_BYTES):
                inspector.feed(b"0" * _PIECE_BYTES)
        except ImageRefusedError:
            return

    assert peak_bytes(work) < (4 * _FEED_BYTES if start.startswith(b":") else _KEPT_BYTES)


def test_padding_streams_through() -> None:
    assert peak_bytes(feed(TrailerReader(0).feed, b"\xff" * _PIECE_BYTES)) < _KEPT_BYTES


def well_packed() -> bytes:
    """An archive of a few kilobytes that holds megabytes."""
    return build.zipped({"app.bin": bytes(4 * MEGABYTE)})


def many_members(count: int) -> bytes:
    """An archive whose directory lists one member so many times; its end record tells the truth about the size only."""
    archive = build.zipped({"a": b"x"})
    directory, end = archive.rfind(b"PK\x01\x02"), archive.rfind(b"PK\x05\x06")
    listed = archive[directory:end] * count
    return (
        archive[:directory]
        + listed
        + archive[end : end + 12]
        + struct.pack("<I", len(listed))
        + archive[end + 16 :]
    )


def zip64_archive() -> bytes:
    """An archive whose directory is placed by a ZIP64 record, past the checks of an ordinary end record."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a", b"x")
    data = packed.getvalue()
    end = data.rfind(b"PK\x05\x06")
    return data[:end] + b"PK\x06\x07" + bytes(4) + struct.pack("<QI", end, 1) + data[end:]


@pytest.mark.parametrize(
    "make", [well_packed, lambda: many_members(100_000), zip64_archive], ids=["ratio", "members", "zip64"]
)
def test_a_zip_bomb_does_not_go_off(make: Callable[[], bytes]) -> None:
    archive = make()

    def work() -> None:
        with pytest.raises(ImageRefusedError) as refused:
            read_archive(archive)
        assert refused.value.reason == "unsafe-archive"

    assert peak_bytes(work) < MEGABYTE


NESTED = {f"{depth} lists in each other": b"\x81" * depth + b"\x00" for depth in (20, 900, 100_000)}
HUGE = {
    "2**63 bytes": b"\x5b\x7f" + b"\xff" * 7,
    "2**32 characters": b"\x7a\xff\xff\xff\xff",
    "2**31 items": b"\x9a\x7f\xff\xff\xff",
    "2**56 items": b"\x9b\x00" + b"\xff" * 7,
    "2**31 pairs": b"\xba\x7f\xff\xff\xff",
    "a number of 2**31 bytes": b"\xc2\x5a\x7f\xff\xff\xff",
}
ITEMS = {**NESTED, **HUGE}


@pytest.mark.parametrize("name", [name for name, item in ITEMS.items() if len(item) < 0xFFFF])
def test_cbor_that_claims_too_much_is_refused_in_a_message(name: str) -> None:
    body = b"\xa1\x61d" + ITEMS[name]

    def work() -> None:
        header = SmpMessage(1, 1, 0).encode()
        try:
            message = SmpMessage.decode(header[:2] + len(body).to_bytes(2, "big") + header[4:8] + body)
        except SmpFormatError:
            return
        assert name in NESTED, message

    assert peak_bytes(work) < MEGABYTE


@pytest.mark.parametrize("name", ITEMS)
@pytest.mark.parametrize("place", ["wrapper", "manifest", "segments"])
def test_cbor_that_claims_too_much_is_refused_in_an_image(place: str, name: str) -> None:
    item = ITEMS[name]
    if place == "wrapper":
        content = b"\xd2\x84" + item + bytes(100)
    elif place == "manifest":
        content = b"\xd2\x84" + cbor2.dumps(b"") + b"\xa0" + cbor2.dumps(item[:400]) + cbor2.dumps(bytes(64))
    else:
        content = build.modem_full(manifest=[1, 0, bytes(32), item[:400]])

    def work() -> None:
        with pytest.raises(ImageRefusedError):
            inspect_bytes(content, "mfw_nrf91x1_2.0.2.cbor")

    assert peak_bytes(work) < MEGABYTE


def test_a_document_may_be_nested_as_deep_as_it_likes() -> None:
    for depth in (100, 900, 5000):
        nested: object = 0
        for _ in range(depth):
            nested = [nested]
        for document in ({"location": nested}, {"operation": nested}, {"location": {"url": nested}}, nested):
            with pytest.raises(DocumentError):
                parse_document(document)


def test_a_manifest_may_be_nested_as_deep_as_it_likes() -> None:
    for depth in (100, 900, 5000):
        text = '{"files":[],"format-version":' + "[" * depth + "]" * depth + "}"
        with pytest.raises(BridgeError):
            inspect_bytes(build.zipped({"manifest.json": text.encode()}), "dfu_application.zip")
