"""Serial Modem's own commands and the modem's, in their four forms."""

import pytest

from bridge.lab.sample_images import SampleImages
from hil_tests.unit.virtual_board.tapped import TappedBoard


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("AT#XBOOTINFO=?", "#XBOOTINFO: (0,1)"),
        ("AT#XBOOTINFO=0", "#XBOOTINFO: 1"),
        ("AT#XBOOTINFO=1", "#XBOOTINFO: 0"),
        ("AT#XDATACTRL?", "#XDATACTRL: 0,32"),
        ("AT#XDATACTRL=?", "#XDATACTRL=<time_limit>"),
        ("AT#XFOTA=7", "#XFOTA: 294912,0"),
        ("AT+CMEE=?", "+CMEE: (0,1)"),
        ("AT+CFUN=?", "+CFUN: (0,1,4,20,21,30,31,40,41,44)"),
        ("AT+CEREG=?", "+CEREG: (0-5)"),
        ("AT+CGSN=?", "+CGSN: (0-3)"),
        ("AT+COPS?", "+COPS: 0"),
        ("AT+CESQ", "+CESQ: 99,99,255,255,255,255"),
        ("AT%XSIM?", "%XSIM: 0"),
        ("AT#XDFUAPPLY=?", "#XDFUAPPLY: (0,1,3)"),
    ],
)
def test_what_it_tells(samples: SampleImages, command: str, line: str) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask(command).decode() == f"\r\n{line}\r\n\r\nOK\r\n"


@pytest.mark.parametrize(
    "command", ["AT+CGMI=?", "AT#XDATACTRL=50", "AT#XFOTA=9", "AT%XTEMP=1", "AT%XSIM=1", "AT+CFUN=20"]
)
def test_what_it_does_without_a_word(samples: SampleImages, command: str) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask(command) == b"\r\nOK\r\n"


@pytest.mark.parametrize(
    "command",
    [
        "AT#XSMVER?", "AT#XRESET?", "AT#XMODEMRESET?", "AT#XUUID?", "AT#XCLAC?", "AT#XBOOTINFO", "AT#XBOOTINFO=2",
        "AT#XDATACTRL=5", "AT#XDATACTRL=70000", "AT#XFOTA=1", "AT+CMEE=2", "AT+CEREG=6", "AT+CEREG", "AT+CGSN=4",
        "AT+CGSN?", "AT+COPS", "AT+CESQ?", "AT%XTEMP=2", "AT%XSIM=2", "AT+CLAC?", "AT+CGMI?", "AT+IPR", "AT&F", "ATX",
        "AT+CFUN", "AT#XSMVER=?x", "AT#XDFUWRITE=0,-1,4", "AT#XDFUINIT=0,-1",
    ],
)  # fmt: skip
def test_what_it_refuses(samples: SampleImages, command: str) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.send(command.encode() + b"\r")
        assert tapped.read_until(b"ERROR\r\n") == b"\r\nERROR\r\n"


def test_its_own_commands_can_be_listed(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert b"\r\nAT#XDFUWRITE\r\n" in tapped.ask("AT#XCLAC")


def test_on_the_network_it_tells_cell_and_operator_and_leaves_slowly(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT+CEREG=5")
        tapped.ask("AT+CFUN=1")
        tapped.read_until(b'\r\n+CEREG: 2,"00B7","00011B07",7\r\n')
        tapped.read_until(b'\r\n+CEREG: 5,"00B7","00011B07",7,,,"11100000","11100000"\r\n')
        assert b'+COPS: 0,2,"26295",7' in tapped.ask("AT+COPS?")
        assert b"%XMONITOR: 5," in tapped.ask("AT%XMONITOR")
        before_ms = tapped.sent_at_ms(b"%XMONITOR")
        tapped.ask("AT+CFUN=4")
        assert tapped.sent_at_ms(b"OK") - before_ms > 1500
        tapped.read_until(b"\r\n+CEREG: 0\r\n")


def test_an_image_that_finds_no_network_searches_for_ever(samples: SampleImages) -> None:
    image = samples.application("1.0.0", behaviour={"registers": False}).read_bytes()
    with TappedBoard(samples, factory_image=image) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT+CFUN=1")
        tapped.board.call(lambda: tapped.board._cpu.spend(10_000_000_000))
        assert b"+CEREG: 0,2" in tapped.ask("AT+CEREG?")
