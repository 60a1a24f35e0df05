"""Serial LTE Modem on the wire: CR LF ends a command, and there is no #XDFU."""

from collections.abc import Callable

import pytest

from bridge.lab.sample_images import SampleImages
from hil_tests.unit.virtual_board.conftest import Hand


class SlmHand:
    """A hand that ends its commands with CR LF."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand

    def ask(self, command: str, end: bytes = b"OK\r\n") -> bytes:
        self.hand.port.write(command.encode() + b"\r\n")
        return self.hand.read_until(end)


@pytest.fixture
def slm(make_hand: Callable[..., Hand]) -> SlmHand:
    return SlmHand(make_hand(firmware="slm"))


def test_it_tells_versions_of_the_sdk_and_the_library_and_passes_the_modem_on(slm: SlmHand) -> None:
    version = b'\r\n#XSLMVER: "2.5.0","2.5.0-lte-5ccd2d4dd54c"\r\n\r\nOK\r\n'
    assert slm.ask("AT#XSLMVER") == version
    assert slm.ask("AT") == b"\r\nOK\r\n"
    assert slm.ask("AT+CGMR") == b"\r\nmfw_nrf91x1_2.0.2\r\n\r\nOK\r\n"
    assert b"AT#XSLMVER\r\n" in slm.ask("AT#XCLAC")


@pytest.mark.parametrize(
    "command",
    ["AT#XSMVER", "AT#XDFUINIT=0,100", "AT#XDFUWRITE=0,0,4", "AT#XBOOTINFO=0", "AT+IPR=1000000", "ATE1",
     "AT#XSLMVER?", "AT#XCLAC?"],
)  # fmt: skip
def test_what_only_its_successor_knows_is_an_error(slm: SlmHand, command: str) -> None:
    assert slm.ask(command, b"ERROR\r\n") == b"\r\nERROR\r\n"


def test_given_cr_alone_then_the_command_is_not_over(slm: SlmHand) -> None:
    slm.hand.port.write(b"AT\r")
    assert slm.hand.silent()
    slm.hand.port.write(b"\n")
    assert slm.hand.read_until(b"OK\r\n") == b"\r\nOK\r\n"


def test_a_urc_does_not_wait_for_an_idle_line(slm: SlmHand) -> None:
    slm.ask("AT+CEREG=5")
    slm.ask("AT+CFUN=1")
    assert slm.hand.read_until(b"+CEREG: 2") == b"\r\n+CEREG: 2"
    slm.hand.read_until(b"\r\n")
    slm.hand.port.write(b"AT+CM")  # a command has begun
    assert b"+CEREG: 5" in slm.hand.read_until(b'"11100000"\r\n')


def test_given_a_reset_then_ok_and_ready(slm: SlmHand) -> None:
    assert slm.ask("AT#XRESET") == b"\r\nOK\r\n"
    assert slm.hand.read_until(b"Ready\r\n") == b"Ready\r\n"
    assert slm.ask("AT#XMODEMRESET") == b"\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n"


def test_given_a_modem_without_firmware_then_ready_comes_and_the_modem_is_an_error(slm: SlmHand) -> None:
    board = slm.hand.board
    board.call(lambda: board.modem_nvm.flash.erase(0x6000))
    slm.ask("AT#XRESET")
    slm.hand.read_until(b"Ready\r\n")
    assert slm.ask("AT", b"ERROR\r\n") == b"\r\nERROR\r\n"
    assert slm.ask("AT#XSLMVER").startswith(b"\r\n#XSLMVER")
    assert slm.ask("AT#XMODEMRESET") == b"\r\n#XMODEMRESET: 2,-5\r\n\r\nOK\r\n"


def test_given_an_image_on_trial_then_it_confirms_it_and_says_so(
    make_hand: Callable[..., Hand], samples: SampleImages
) -> None:
    from bridge.virtual.swap_request import request_upgrade  # noqa: PLC0415

    hand = make_hand(firmware="slm")
    board, slot = hand.board, hand.board.layout.secondary
    image = samples.application("2.0.0").read_bytes()
    board.call(lambda: board.flash.program(slot.address, image))
    board.call(lambda: request_upgrade(board.flash, board.layout, permanent=False))
    board.reset()
    assert hand.read_until(b"#XFOTA: 5,0\r\n") == b"Ready\r\n\r\n#XFOTA: 5,0\r\n"
    assert board.wait_for_event("confirmed").details["version"] == "2.0.0"
