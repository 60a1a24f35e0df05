"""The board's end of an AT link: which bytes make a command, and what its parameters are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.wire.at_command import AtCommandReader, CommandKind, CommandLine, Terminator, parse_command
from bridge.wire.at_command import parse_parameters as parameters


def lines(data: bytes, reader: AtCommandReader | None = None, piece: int = 1 << 20) -> list[str]:
    """All lines in the data when it comes in pieces."""
    reader = reader or AtCommandReader()
    found = []
    for start in range(0, len(data), piece):
        reader.feed(data[start : start + piece])
        while (line := reader.next_line()) is not None:
            found.append(line.text)
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"AT\r", ["AT"]),
        (b"\n\x00aT+CGMR\r", ["aT+CGMR"]),
        (b"AAT\r", []),
        (b'AT%CMNG=0,1,0,"a\rb"\rAT\r', ['AT%CMNG=0,1,0,"a\rb"', "AT"]),
        (b"ATX\x08+CFUN?\r", ["AT+CFUN?"]),
        (b'AT"\x7f\r', ["AT"]),
    ],
)
def test_bytes_become_lines(data: bytes, expected: list[str]) -> None:
    assert lines(data) == expected


@given(st.binary(max_size=60).map(lambda noise: noise + b'AT+A="x\r"\rAT\r'), st.integers(1, 8))
def test_where_the_bytes_are_cut_changes_nothing(data: bytes, piece: int) -> None:
    assert lines(data, piece=piece) == lines(data)


@pytest.mark.parametrize(
    ("terminator", "data"), [(Terminator.LF, b"AT\nAT\n"), (Terminator.CRLF, b"AT\r\nAT\r\n")]
)
def test_the_terminator_can_be_another(terminator: Terminator, data: bytes) -> None:
    assert lines(data, AtCommandReader(terminator)) == ["AT", "AT"]


def test_a_line_that_does_not_fit_ends_there() -> None:
    reader = AtCommandReader(max_bytes=8)
    reader.feed(b"AT+ABCDEF\r")
    assert reader.next_line() == CommandLine("AT+ABC", too_long=True)
    assert reader.take_unread() == b"EF\r"


def test_what_follows_a_line_stays_unread_and_a_begun_line_is_known() -> None:
    reader = AtCommandReader()
    reader.feed(b"AT\rdata")
    assert reader.next_line() == CommandLine("AT")
    assert reader.take_unread() == b"data"
    reader.feed(b"AT+")
    assert reader.next_line() is None
    assert reader.partial


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [("AT", CommandKind.EXECUTE, ""), ("at+cfun?", CommandKind.READ, "+CFUN"), ("AT#X=?", CommandKind.TEST, "#X"),
     ("AT%A=1", CommandKind.SET, "%A"), ("ate1", CommandKind.EXECUTE, "E1")],
)  # fmt: skip
def test_the_four_kinds(text: str, kind: CommandKind, name: str) -> None:
    command = parse_command(text)
    assert command is not None
    assert (command.kind, command.name) == (kind, name)


@pytest.mark.parametrize("text", ["ATX", "AT+", "AT+A=?x", 'AT+A="x', "AT+A B", "AT+A?x"])
def test_what_the_grammar_refuses(text: str) -> None:
    assert parse_command(text) is None


def test_parameters() -> None:
    assert parameters('1,-2,,"a,b",c, 3 ,12345678901') == (1, -2, None, "a,b", "c", 3, "12345678901")
    assert parameters("") == ()
    command = parse_command('AT+A=1,,"x"')
    assert command is not None
    assert [command.integer(index, 7) for index in range(4)] == [1, 7, None, 7]
