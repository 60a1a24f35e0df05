"""The modem's AT commands."""

import re
from collections.abc import Callable

import pytest

from bridge.lab.sample_images import SampleImages
from hil_tests.unit.virtual_board.conftest import Hand


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("AT+CGMI", r"Nordic Semiconductor ASA"),
        ("AT+CGMM", r"nRF9151-LACA"),
        ("AT%SHORTSWVER", r"%SHORTSWVER: nrf91x1_2\.0\.2"),
        ("AT%HWVERSION", r"%HWVERSION: nRF9151 LACA \w+"),
        ("AT+CGSN", r"\d{15}"),
        ("AT+CGSN=1", r'\+CGSN: "\d{15}"'),
        ("AT+CGSN=2", r'\+CGSN: "\d{16}"'),
        ("AT%XMODEMUUID", r"%XMODEMUUID: [0-9a-f-]{36}"),
        ("AT%DEVICEUUID", r"%DEVICEUUID: [0-9a-f-]{36}"),
        ("AT%XVBAT", r"%XVBAT: 4464"),
        ("AT%XTEMP?", r"%XTEMP: \d+"),
        ("AT%XSIM?", r"%XSIM: 0"),
        ("AT%XMONITOR", r"%XMONITOR: 0"),
        ("AT#XUUID", r"#XUUID: [0-9a-f-]{36}"),
        ("AT#XBOOTINFO=0", r"#XBOOTINFO: .+"),
    ],
)
def test_what_it_answers(hand: Hand, command: str, answer: str) -> None:
    assert re.fullmatch(rf"\r\n{answer}\r\n\r\nOK\r\n", hand.ask(command).decode())


def test_it_registers_when_the_radio_is_switched_on_and_tells(hand: Hand) -> None:
    hand.ask("AT+CEREG=5")
    hand.port.write(b"AT+CFUN=1\r")
    seen = hand.read_until(b"+CEREG: 5,")
    assert b"+CEREG: 2" in seen
    hand.read_until(b"\r\n")
    assert b"+CEREG: 5,5," in hand.ask("AT+CEREG?")
    assert b"%XMONITOR: 5," in hand.ask("AT%XMONITOR")
    assert b"%XSIM: 1" in hand.ask("AT%XSIM?")
    hand.ask("AT+CFUN=4")
    assert b"+CEREG: 5,0" in hand.ask("AT+CEREG?")


def test_an_image_that_finds_no_network_does_not_register(
    make_hand: Callable[..., Hand], samples: SampleImages
) -> None:
    image = samples.application("1.0.0", behaviour={"registers": False}).read_bytes()
    hand = make_hand(factory_image=image)
    hand.ask("AT+CFUN=1")
    assert b"+CEREG: 0,5" not in hand.ask("AT+CEREG?")


def test_an_impossible_functional_mode_is_refused(hand: Hand) -> None:
    hand.ask("AT+CFUN=9", b"ERROR\r\n")


def test_all_commands_can_be_listed(hand: Hand) -> None:
    lines = hand.ask("AT+CLAC").decode().split("\r\n")
    assert "AT+CFUN" in lines


@pytest.mark.parametrize("command", ["AT%CMNG=0,42,0", "AT%CMNG=9", 'AT%CMNG=0,42,99,"x"', "AT%KEYGEN=42"])
def test_credential_commands_that_make_no_sense_are_refused(hand: Hand, command: str) -> None:
    hand.ask(command, b"ERROR\r\n")
