"""SMP frames: what the standard fixes, what a line between them does, and that damage never becomes a message."""

import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire.smp_frame import (
    CONTINUATION,
    DEFAULT_LINE_BYTES,
    START,
    SmpFrameDecoder,
    crc16,
    encode_frame,
    frame_size_bytes,
    line_count,
)
from bridge.wire.smp_message import ImageCommand, SmpGroup, SmpMessage, SmpOp

ERASE = SmpMessage(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.ERASE, version=0).encode()
messages = st.binary(min_size=8, max_size=2000)


def test_given_the_erase_request_of_pynrfjprog_then_the_line_is_the_one_seen_on_the_wire() -> None:
    assert encode_frame(ERASE) == b"\x06\x09AAsCAAABAAEABaC/bA==\n"


def test_given_a_message_then_a_crc_over_message_and_crc_is_zero() -> None:
    assert crc16(ERASE + crc16(ERASE).to_bytes(2, "big")) == 0


@given(messages, st.sampled_from([127, 128, 512, 4096]))
def test_given_any_message_when_framed_then_no_line_is_too_long_and_its_size_is_foretold(
    message: bytes, line_bytes: int
) -> None:
    frame = encode_frame(message, line_bytes)
    lines = frame.splitlines(keepends=True)
    assert all(len(line) <= line_bytes for line in lines)
    assert lines[0].startswith(START)
    assert all(line.startswith(CONTINUATION) for line in lines[1:])
    assert len(lines) == line_count(len(message), line_bytes)
    assert len(frame) == frame_size_bytes(len(message), line_bytes)


@given(st.lists(messages, max_size=4), st.integers(1, 300))
def test_given_frames_in_pieces_of_any_size_then_all_messages_come_out_in_order(
    sent: list[bytes], piece_bytes: int
) -> None:
    stream = b"".join(b"[00:00:01] <inf> log\r\n" + encode_frame(message) for message in sent)
    decoder = SmpFrameDecoder()
    got = []
    for start in range(0, len(stream), piece_bytes):
        got += decoder.feed(stream[start : start + piece_bytes])
    assert got == sent
    assert decoder.text_lines == [b"[00:00:01] <inf> log"] * len(sent)
    assert (decoder.in_line, decoder.in_frame, decoder.dropped_frames) == (False, False, 0)


@given(messages, st.data())
def test_given_one_damaged_byte_then_the_message_is_whole_or_absent(
    message: bytes, data: st.DataObject
) -> None:
    frame = bytearray(encode_frame(message))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= data.draw(st.integers(1, 255))
    assert SmpFrameDecoder().feed(bytes(frame)) in ([], [message])


@given(st.binary(max_size=3000))
def test_given_any_bytes_and_a_line_end_then_the_next_but_one_frame_is_found(noise: bytes) -> None:
    decoder = SmpFrameDecoder()
    decoder.feed(noise)
    decoder.feed(b"\n")
    assert decoder.feed(encode_frame(ERASE))[-1:] == [ERASE]


def test_given_an_unfinished_line_then_it_swallows_the_next_frame_and_the_one_after_works() -> None:
    decoder = SmpFrameDecoder()
    assert decoder.feed(b"half a line" + encode_frame(ERASE)) == []
    assert decoder.feed(encode_frame(ERASE)) == [ERASE]


def test_given_a_new_start_in_mid_frame_then_the_first_frame_is_lost() -> None:
    long = ERASE + bytes(200)
    first_line = encode_frame(long).splitlines(keepends=True)[0]
    decoder = SmpFrameDecoder()
    assert decoder.feed(first_line + encode_frame(ERASE)) == [ERASE]
    assert decoder.dropped_frames == 1


def test_given_a_continuation_without_a_start_then_it_is_ignored() -> None:
    decoder = SmpFrameDecoder()
    assert decoder.feed(CONTINUATION + b"AAAA\n" + encode_frame(ERASE)) == [ERASE]
    assert decoder.text_lines == []


def test_given_a_line_limit_when_a_line_is_longer_then_the_frame_is_dropped_without_a_word() -> None:
    message = ERASE + bytes(200)
    decoder = SmpFrameDecoder(max_line_bytes=128)
    assert decoder.feed(encode_frame(message, 512)) == []
    assert decoder.dropped_frames == 1
    assert decoder.feed(encode_frame(message, DEFAULT_LINE_BYTES)) == [message]


@pytest.mark.parametrize(("size", "taken"), [(380, True), (381, False)])
def test_given_a_message_limit_then_only_longer_messages_are_dropped(size: int, taken: bool) -> None:
    message = bytes(size)
    assert SmpFrameDecoder(max_message_bytes=380).feed(encode_frame(message)) == ([message] if taken else [])


def test_given_a_packet_that_announces_less_than_a_header_then_it_is_dropped() -> None:
    packet = b"\x00\x03a" + binascii.crc_hqx(b"a", 0).to_bytes(2, "big")
    decoder = SmpFrameDecoder()
    assert decoder.feed(START + binascii.b2a_base64(packet)) == []
    assert decoder.dropped_frames == 1


def test_given_half_a_frame_when_reset_then_the_next_frame_is_found() -> None:
    decoder = SmpFrameDecoder()
    decoder.feed(encode_frame(ERASE)[:-1])
    decoder.reset()
    assert decoder.feed(encode_frame(ERASE)) == [ERASE]
