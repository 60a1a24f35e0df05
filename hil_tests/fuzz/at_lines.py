"""AT lines, both ends: what the host makes of a board's bytes and answers, and the board of a host's."""

import contextlib
from collections.abc import Callable
from typing import cast

from bridge.board.at_client import AtClient
from bridge.board.modem import Modem
from bridge.errors import BridgeError
from bridge.wire.at import MAX_LINE_BYTES, AtParser, FinalResult, encode_command
from bridge.wire.at_command import MAX_COMMAND_BYTES, AtCommandReader, Terminator, parse_command
from bridge.wire.xdfu import parse_status
from hil_tests.fuzz.choices import Choices, in_pieces
from hil_tests.fuzz.target import Target

_COMMANDS = (
    "AT",
    "AT+CGMR",
    "AT+CEREG?",
    "AT%CMNG=1",
    "AT#XSMVER",
    "AT%XTEMP?",
    'AT+CGDCONT=0,"IP","x"',
    "AT#XDFUINIT=?",
)
_QUESTIONS: tuple[Callable[[Modem], object], ...] = (
    Modem.manufacturer,
    Modem.imei,
    Modem.functional_mode,
    Modem.registration,
    Modem.monitor,
    Modem.battery_mv,
    Modem.firmware_version,
    Modem.bootloader_slot,
    Modem.dfu_types,
    Modem.delta_area,
)
TRANSCRIPT = (
    b"\r\nReady\r\n",
    b'\r\n#XSMVER: "1.0.0","2.9.0"\r\n\r\nOK\r\n',
    b"mfw_nrf91x1_2.0.2\r\nOK\r\n",
    b"351358811124771\r\nOK\r\n",
    b'\r\n+CEREG: 5,1,"76C1","0102DA04",7\r\n\r\nOK\r\n',
    b"\r\n+CME ERROR: 514\r\n",
    b"\r\n+CMS ERROR: 302\r\n",
    b"\r\n+CME ERROR: " + b"9" * 5000 + b"\r\n",
    b"%XVBAT: 5046\r\nOK\r\n",
    b'%CMNG: 1,0,"2C43","-----BEGIN CERTIFICATE-----\r\nMII\r\n-----END CERTIFICATE-----"\r\nOK\r\n',
    b"#XDFUINIT: (0,1,2,3),(<size>)\r\n\r\nOK\r\n",
    "+CEREG: 5,1,a,b,\N{SUPERSCRIPT TWO}".encode(),
    b"#XDFUINIT: " + b"7" * 5000,
    b"\r\n#XDFU: 0,1,0\r\n",
    b"\r\n#XDFU: 1,2,-5\r\n",
    b"\r\n#XFOTA: 475136,2621440\r\n\r\nOK\r\n",
    b"#XDATAMODE: 0\r\n",
    b"*** Booting nRF Connect SDK v2.9.0 ***\r\n[00:00:00.251,000] <inf> app: started\r\n",
)


class Answers:
    """An AT client that has one answer for every command."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def command_again(self, _command: str, *, timeout_s: float) -> list[str]:
        return self._lines

    def settle(self) -> None:
        pass


def fuzz_host(data: bytes) -> None:
    """A board's bytes: the same events however they are cut, and nothing kept for ever."""
    choices = Choices(data)
    command, cut = choices.of(_COMMANDS), choices.byte()
    text = choices.rest()
    whole, cut_up = AtParser(), AtParser()
    for parser in (whole, cut_up):
        parser.begin_command(command)
    events = whole.feed(text)
    assert [event for piece in in_pieces(text, cut) for event in cut_up.feed(piece)] == events
    for event in events:
        assert len(event.text) <= MAX_LINE_BYTES
        parse_status(event.text)
    results = [event for event in events if isinstance(event, FinalResult)]
    assert whole.command_pending is not bool(results)
    whole.reset()
    assert not whole.feed(b"\r\n")


def fuzz_answers(data: bytes) -> None:
    """The lines of a command's answer, whatever was asked."""
    choices = Choices(data)
    question = choices.of(_QUESTIONS)
    lines = choices.rest().decode("utf-8", errors="replace").splitlines()
    modem = Modem(cast("AtClient", Answers(lines)))
    with contextlib.suppress(BridgeError):
        question(modem)


def fuzz_board(data: bytes) -> None:
    """A host's bytes: command lines of bounded length; what the grammar takes can be written again."""
    choices = Choices(data)
    terminator, cut = choices.of(list(Terminator)), choices.byte()
    reader = AtCommandReader(terminator)
    for piece in in_pieces(choices.rest(), cut):
        reader.feed(piece)
        while (line := reader.next_line()) is not None:
            assert len(line.text) <= MAX_COMMAND_BYTES
            command = parse_command(line.text)
            if command is None:
                continue
            command.integer(0)
            try:
                encode_command(line.text)
            except BridgeError:
                continue


def host_seeds() -> list[bytes]:
    """What boards say."""
    every = b"".join(TRANSCRIPT)
    return [bytes([number, 0]) + every for number in range(len(_COMMANDS))] + [
        b"\0\0" + line for line in TRANSCRIPT
    ]


def answer_seeds() -> list[bytes]:
    """Each answer to each question."""
    return [bytes([number]) + line for number in range(len(_QUESTIONS)) for line in TRANSCRIPT]


def board_seeds() -> list[bytes]:
    """What hosts send."""
    lines = (
        "AT",
        "ATE1",
        "AT+CEREG?",
        "AT#XDFUINIT=0,65536",
        "AT#XDFUWRITE=0,0,1024",
        "AT#XDFUAPPLY=0",
        'AT%CMNG=0,42,0,"two\r\nlines"',
        "AT#XFOTA=?",
        "A\x08AT+CFUN=4",
    )
    return [
        bytes([0, 0]) + "\r".join(lines).encode() + b"\r",
        *(b"\0\0" + line.encode() + b"\r" for line in lines),
    ]


TARGETS = (
    Target("at-host", fuzz_host, host_seeds, __name__, max_bytes=16 * 1024),
    Target("at-answers", fuzz_answers, answer_seeds, __name__, max_bytes=8192),
    Target("at-board", fuzz_board, board_seeds, __name__),
)
