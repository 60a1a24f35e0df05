"""SMP: frames on a console, messages in them, and what answers say."""

import contextlib
from collections.abc import Callable

import cbor2

from bridge.board.smp_answers import (
    ImageState,
    SlotInfo,
    SmpParameters,
    parse_image_states,
    parse_parameters,
    parse_slot_info,
    parse_upload_offset,
    raise_refusal,
)
from bridge.errors import BridgeError
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.fuzz.choices import Choices, in_pieces
from hil_tests.fuzz.target import Target

_LIMIT_BYTES = 2048
_BODIES: tuple[dict[str, object], ...] = (
    {"rc": 0},
    {"rc": 8, "rsn": "no"},
    {"err": {"group": 1, "rc": 9}},
    {"off": 512, "match": True},
    {"buf_size": 2475, "buf_count": 4},
    {"images": [{"slot": 0, "version": "1.2.3", "hash": bytes(32), "active": True, "confirmed": True}]},
    {
        "images": [
            {"image": 0, "slots": [{"slot": 1, "size": 458752, "upload_image_id": 0}], "max_image_size": 1}
        ]
    },
)


def fuzz_frames(data: bytes) -> None:
    """A line's bytes, in pieces; a frame of ours in the middle of them is found when a line feed comes before it."""
    choices = Choices(data)
    behind_text, cut, size = choices.flag(), choices.byte(), choices.byte()
    message = choices.take(8 + size % 200).ljust(8, b"\0")
    noise = choices.rest()
    decoder = SmpFrameDecoder(max_message_bytes=_LIMIT_BYTES, behind_text=behind_text)
    for piece in in_pieces(noise, cut):
        for found in decoder.feed(piece):
            assert 8 <= len(found) <= _LIMIT_BYTES
            _decode(found)
    decoder.feed(b"\n")
    assert message in decoder.feed(encode_frame(message))
    decoder.reset()
    assert not decoder.in_line
    assert not decoder.in_frame


def fuzz_messages(data: bytes) -> None:
    """A message: as it is, or with a right header around a body."""
    choices = Choices(data)
    if choices.flag():
        header = SmpMessage(
            choices.byte() & 7, choices.byte(), choices.byte(), sequence=choices.byte()
        ).encode()
        body = choices.rest()
        data = header[:2] + len(body).to_bytes(2, "big") + header[4:8] + body
    else:
        data = choices.rest()
    _decode(data)


def _decode(data: bytes) -> None:
    try:
        message = SmpMessage.decode(data)
    except BridgeError:
        return
    _understand(lambda: raise_refusal(message))
    _understand(lambda: _check_parameters(parse_parameters(message.body)))
    _understand(lambda: _check_integer(parse_upload_offset(message.body, 0)))
    _understand(lambda: _check_states(parse_image_states(message.body)))
    _understand(lambda: _check_slots(parse_slot_info(message.body)))


def _understand(read: Callable[[], object]) -> None:
    with contextlib.suppress(BridgeError):
        read()


def _check_integer(value: object) -> None:
    assert type(value) is int


def _check_parameters(found: SmpParameters) -> None:
    _check_integer(found.message_bytes)
    assert found.buffer_count >= 1


def _check_states(states: tuple[ImageState, ...]) -> None:
    for state in states:
        assert state.digest is None or bytes.fromhex(state.digest) is not None
        _check_integer(state.slot)


def _check_slots(slots: tuple[SlotInfo, ...]) -> None:
    for info in slots:
        for number in (info.size_bytes, info.upload_image_id, info.max_image_bytes):
            assert number is None or isinstance(number, int)


def messages() -> list[bytes]:
    """Requests and answers as they are on a bench."""
    commands: tuple[tuple[int, int, dict[str, object]], ...] = (
        (SmpGroup.OS, OsCommand.ECHO, {"d": "hello"}),
        (SmpGroup.OS, OsCommand.RESET, {}),
        (SmpGroup.OS, OsCommand.PARAMETERS, {}),
        (SmpGroup.OS, OsCommand.INFO, {"format": "a"}),
        (SmpGroup.OS, OsCommand.BOOTLOADER_INFO, {"query": "mode"}),
        (SmpGroup.IMAGE, ImageCommand.STATE, {}),
        (SmpGroup.IMAGE, ImageCommand.STATE, {"hash": bytes(32), "confirm": True}),
        (
            SmpGroup.IMAGE,
            ImageCommand.UPLOAD,
            {"image": 0, "len": 4096, "off": 0, "sha": bytes(32), "data": bytes(64)},
        ),
        (SmpGroup.IMAGE, ImageCommand.UPLOAD, {"off": 64, "data": bytes(64)}),
        (SmpGroup.IMAGE, ImageCommand.ERASE, {"slot": 1}),
        (SmpGroup.IMAGE, ImageCommand.SLOT_INFO, {}),
        (SmpGroup.MODEM_FULL, 0, {"addr": 0, "len": 64}),
        (SmpGroup.MODEM_FULL, 1, {"data": bytes(64), "off": 0, "len": 4096, "addr": 0, "image": 0}),
    )
    requests = [
        SmpMessage(op, group, command, body).encode()
        for group, command, body in commands
        for op in (SmpOp.READ, SmpOp.WRITE)
    ]
    answers = [
        SmpMessage(SmpOp.READ_RESPONSE, SmpGroup.IMAGE, 0, body).encode(indefinite=True) for body in _BODIES
    ]
    return requests + answers


def odd_bodies() -> list[bytes]:
    """CBOR that has hurt somebody: endless lengths, deep nests, numbers that are none, values that hold themselves."""
    return [
        b"\xbf\x62rc\xf9\x7c\x00\xff",  # infinity
        b"\xa1\x62rc\xf9\x7e\x00",  # not a number
        b"\xa1\x61d" + b"\x81" * 900 + b"\x00",
        b"\xa1\x61d\x5b" + b"\x7f" + b"\xff" * 7,  # a string of 2**63 bytes
        b"\xa1\x61d\x9a\x7f\xff\xff\xff",  # a list of 2**31 items
        b"\xba\x7f\xff\xff\xff",
        b"\xd8\x1c\xa1\x66images\xd8\x1d\x00",  # a map that holds itself
        b"\xa1\x62rc\xc2\x58\x20" + b"\xff" * 32,
        b"\xa1\x62rc\xc4\x82\x1b" + b"\x7f" * 8 + b"\x01",
        b"\xa1\x66images\x81\xa2\x64slot\x00\x64hash\xfb" + b"\x3f" * 8,
    ]


def message_seeds() -> list[bytes]:
    """Real messages, and odd bodies with a right header."""
    return [b"\0" + message for message in messages()] + [
        b"\1\1\1\0\0" + body for body in (*odd_bodies(), *map(cbor2.dumps, _BODIES))
    ]


def frame_seeds() -> list[bytes]:
    """Real frames."""
    return [b"\0\0\0" + bytes(8) + encode_frame(message) for message in messages()] + [
        b"\1\2\5" + bytes(13) + b"uart:~$ " + encode_frame(message) for message in messages()[:4]
    ]


TARGETS = (
    Target("smp-frames", fuzz_frames, frame_seeds, __name__),
    Target("smp-messages", fuzz_messages, message_seeds, __name__),
)
