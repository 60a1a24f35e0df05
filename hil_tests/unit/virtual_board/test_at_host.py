"""What Serial Modem's AT front end does with bytes."""

import pytest

from hil_tests.unit.virtual_board.conftest import Hand


def test_answers_begin_with_crlf_and_the_result_stands_apart(hand: Hand) -> None:
    assert hand.ask("AT") == b"\r\nOK\r\n"
    assert hand.ask("AT+CFUN?") == b"\r\n+CFUN: 0\r\n\r\nOK\r\n"
    assert hand.ask("AT+CGMR") == b"\r\nmfw_nrf91x1_2.0.2\r\n\r\nOK\r\n"


def test_the_running_images_version_is_told(hand: Hand) -> None:
    assert hand.ask("AT#XSMVER").startswith(b'\r\n#XSMVER: "v1.0.0","')


@pytest.mark.parametrize("command", ["AT+NOPE", "AT#XDFUINIT=9,1", "AT%NOPE=1"])
def test_what_it_does_not_know_is_an_error(hand: Hand, command: str) -> None:
    assert hand.ask(command, b"ERROR\r\n") == b"\r\nERROR\r\n"


def test_cme_errors_are_told_only_after_cmee(hand: Hand) -> None:
    assert hand.ask("AT%CMNG=3,42,0", b"ERROR\r\n") == b"\r\nERROR\r\n"
    hand.ask("AT+CMEE=1")
    assert hand.ask("AT%CMNG=3,42,0", b"513\r\n") == b"\r\n+CME ERROR: 513\r\n"


def test_what_comes_before_at_is_ignored(hand: Hand) -> None:
    hand.port.write(b"\n\x00garbage")
    assert hand.ask("AT") == b"\r\nOK\r\n"


def test_echo_is_off_until_it_is_wanted(hand: Hand) -> None:
    hand.ask("ATE1")
    assert hand.ask("AT+CMEE?").startswith(b"AT+CMEE?\r")


def test_commands_that_come_at_once_are_answered_in_their_order(hand: Hand) -> None:
    hand.port.write(b"AT+CGMI\rAT+CGMM\rAT+CGMR\r")
    answers = hand.read_until(b"mfw_nrf91x1_2.0.2\r\n\r\nOK\r\n")
    assert answers.index(b"Nordic") < answers.index(b"nRF9151-LACA") < answers.index(b"mfw_")


def test_a_bit_rate_is_switched_after_the_answer_and_back_by_a_reset(hand: Hand) -> None:
    assert hand.ask("AT+IPR=1000000") == b"\r\nOK\r\n"
    hand.port.baudrate = 1_000_000
    assert hand.ask("AT") == b"\r\nOK\r\n"
    hand.port.write(b"AT#XRESET\r")
    hand.read_until(b"OK\r\n")
    hand.board.wait_for_event("ready", count=2)
    hand.port.baudrate = 115_200
    hand.port.write(b"AT\r")
    hand.read_until(b"\r\nOK\r\n")  # before it there may be noise: simulated time is faster than a hand


def test_at_another_bit_rate_there_is_only_noise(hand: Hand) -> None:
    hand.port.baudrate = 9_600
    hand.port.write(b"AT\r")
    assert b"OK" not in hand.port.read(100)


@pytest.mark.parametrize("rate", ["9600", "57600", "2000000", "x"])
def test_a_bit_rate_that_the_uart_does_not_have_is_refused(hand: Hand, rate: str) -> None:
    assert hand.ask(f"AT+IPR={rate}", b"ERROR\r\n") == b"\r\nERROR\r\n"
