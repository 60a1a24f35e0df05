"""Pieces of a stream, and that nothing in one that is sent blindly can be executed as an AT command."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bridge.wire.at_command import AtCommandReader, parse_command
from bridge.wire.xdfu_stream import may_follow_blindly, piece_sizes

NEXT = "AT#XDFUWRITE=0,9216,1024"

PARTS = st.sampled_from(
    [
        *(b"AT", b"at", b"A", b"T", b"\r", b"\n", b'"', b"\x08", b"\x7f", b"\x00", b"\xff"),
        *(b"+CFUN=0", b"#XRESET", b"%X", b"=", b"?", b"E0", b"1024", b"x"),
    ]
)
DATA = st.lists(st.one_of(PARTS, st.binary(max_size=4)), max_size=14).map(b"".join)


def executed(data: bytes) -> list[str]:
    """The lines that the board would execute."""
    reader = AtCommandReader()
    reader.feed(data)
    lines = []
    while (line := reader.next_line()) is not None:
        if not line.too_long and parse_command(line.text) is not None:
            lines.append(line.text)
    return lines


LAST = "AT#XDFUWRITE=0,10240,1024"


@settings(max_examples=1500)
@given(first=DATA, second=DATA, start=st.integers(0, 60))
def test_of_data_that_may_follow_blindly_nothing_is_executed_wherever_the_board_begins_to_read(
    first: bytes, second: bytes, start: int
) -> None:
    assume(may_follow_blindly(first, NEXT) and may_follow_blindly(second, LAST))
    received = first[start:] + NEXT.encode() + b"\r" + second + LAST.encode() + b"\r"
    assert set(executed(received)) <= {NEXT, LAST}


@settings(max_examples=1500)
@given(data=DATA)
def test_of_data_that_may_follow_blindly_nothing_completes_a_command_that_lost_its_end(data: bytes) -> None:
    assume(may_follow_blindly(data, NEXT))
    for line in executed(LAST.encode() + data + NEXT.encode() + b"\r")[:1]:
        command = parse_command(line)
        assert command is not None
        numbers = [number for number in command.parameters if isinstance(number, int)]
        assert numbers == [0, 10240, 1024] or len(command.parameters) != 3 or len(numbers) != 3, line


@pytest.mark.parametrize(
    ("data", "safe"),
    [
        (b"", True),
        (bytes(range(256)) * 4, True),
        (
            b"\x00AT+CFUN=0\x00more\r\x00",
            False,
        ),  # a C string as in real firmware, and a CR somewhere behind it
        (b"\x00AT+CFUN=0\x00more", False),
        (b"\x00AT+CFUN=0\r", False),
        (b"at\r", False),
        (b"ATAT+CFUN=0\r", False),
        (b"AT+CFUN=", False),
        (b'\x00AT+CFUN=0\x00"more', False),
        (b"end of text AT+CFU", False),
        (b"7\x00", False),
        (bytes(1024), True),
        (b"AT and then some\rmore", True),
        (b"AT\x00and then some\rmore", False),
        (b"end of text AT", False),
        (b"0\r\x00", False),
        (b"\r", False),
    ],
)
def test_what_may_follow_blindly(data: bytes, safe: bool) -> None:
    assert may_follow_blindly(data, NEXT) is safe


@pytest.mark.parametrize(
    ("baud", "sizes"),
    [
        (115_200, [1024, 3072] * 2),
        (230_400, [1024, 2048, 1024] * 2),
        (460_800, [1024] * 8),
        (1_000_000, [1024] * 8),
    ],
)
def test_the_block_behind_an_erase_is_alone_and_others_together_as_long_as_the_uart_bridges_them(
    baud: int, sizes: list[int]
) -> None:
    assert list(piece_sizes(8192, 8192, baud)) == sizes


@given(
    offset=st.integers(0, 20_000),
    size=st.integers(1, 70_000),
    baud=st.sampled_from((115_200, 460_800, 1_000_000)),
    slow=st.booleans(),
)
def test_pieces_are_whole_and_never_cross_a_page(offset: int, size: int, baud: int, slow: bool) -> None:
    sizes = list(piece_sizes(offset, size, baud, slow_flash=slow))
    assert sum(sizes) == size
    for each in sizes:
        assert each > 0
        assert offset // 4096 == (offset + each - 1) // 4096
        offset += each
