"""What serial recovery makes of lines: how many it holds, where it cuts them, which packets it understands."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.virtual.recovery_lines import LineBuffers, PacketDecoder
from bridge.wire.smp_frame import crc16, encode_frame


def lines_of(message: bytes, line_bytes: int = 127) -> list[bytes]:
    return encode_frame(message, line_bytes).splitlines(keepends=True)


def decode(lines: list[bytes], receive_bytes: int = 1024) -> list[bytes]:
    decoder = PacketDecoder(receive_bytes)
    return [message for line in lines if (message := decoder.take(line)) is not None]


@given(st.binary(min_size=8, max_size=1000), st.integers(16, 512))
def test_given_any_message_in_lines_of_any_length_then_it_comes_out(message: bytes, line_bytes: int) -> None:
    assert decode(lines_of(message, line_bytes)) == [message]


@pytest.mark.parametrize(("size", "fits"), [(1020, True), (1021, True), (1022, False)])
def test_given_long_messages_then_one_byte_more_fits_than_the_packet_should_hold(
    size: int, fits: bool
) -> None:
    message = bytes(size)
    assert decode(lines_of(message)) == ([message] if fits else [])


def test_given_noise_between_and_a_new_start_then_the_packet_in_between_counts() -> None:
    message = bytes(range(200))
    first, second, third = lines_of(message)
    assert decode([first, second, first, b"I: log\n", b"\n", second, third]) == [message]
    assert decode([second, third]) == []


def test_given_a_line_that_does_not_decode_then_it_is_as_if_it_had_not_come() -> None:
    message = bytes(range(200))
    first, second, third = lines_of(message)
    assert decode([first, b"\x04\x14AB!D\n", second, third]) == [message]


def test_given_a_carriage_return_before_the_end_then_the_line_does_not_decode() -> None:
    assert decode([line.replace(b"\n", b"\r\n") for line in lines_of(bytes(50))]) == []


@pytest.mark.parametrize("position", [0, 2, 30, -2, -1])
def test_given_a_damaged_packet_then_it_is_dropped(position: int) -> None:
    message = bytes(range(50))
    packet = bytearray((len(message) + 2).to_bytes(2, "big") + message + crc16(message).to_bytes(2, "big"))
    packet[position] ^= 1
    assert decode([b"\x06\x09" + base64.b64encode(packet) + b"\n"]) == []


def test_given_a_line_longer_than_its_buffer_then_it_is_cut_and_the_packet_lost() -> None:
    buffers = LineBuffers(128, 8)
    frame = encode_frame(bytes(300), 512)
    buffers.feed(frame)
    line = buffers.take()
    assert line == frame[:128]
    assert decode([line]) == []
    buffers.feed(encode_frame(bytes(40)))
    line = buffers.take()
    assert line is not None
    assert decode([line]) == [bytes(40)]


def test_given_a_line_as_long_as_its_buffer_then_it_is_whole() -> None:
    buffers = LineBuffers(127, 8)
    frame = encode_frame(bytes(89), 127)
    assert len(frame) == 127
    buffers.feed(frame)
    assert buffers.take() == frame


def test_given_more_lines_than_buffers_then_the_rest_is_lost_until_one_is_free() -> None:
    buffers = LineBuffers(128, 3)
    buffers.feed(b"one\ntwo\nthree\nfour\nfi")
    assert buffers.lost_bytes == len(b"four\nfi")
    assert buffers.take() == b"one\n"
    buffers.feed(b"x")
    assert buffers.lost_bytes == len(b"four\nfix"), "the reader still holds the first one's buffer"
    assert buffers.take() == b"two\n"
    buffers.feed(b"ve\n")
    assert [buffers.take(), buffers.take(), buffers.take()] == [b"three\n", b"ve\n", None]


def test_given_an_unfinished_line_then_it_spoils_the_next_one_and_not_the_one_after() -> None:
    buffers = LineBuffers(128, 8)
    frame = encode_frame(bytes(40))
    buffers.feed(b"\x06\x09AAAA" + frame + frame)
    taken = [line for line in (buffers.take(), buffers.take()) if line is not None]
    assert decode(taken) == [bytes(40)]
