"""NCS's AT Client sample on the wire: the modem's text as it is, and a UART that does not listen while it works."""

from collections.abc import Callable, Iterator

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from hil_tests.unit.virtual_board.conftest import Hand

MakeClient = Callable[..., Hand]


@pytest.fixture
def make_client(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    made: list[tuple[str, Hand]] = []

    def make(flow_control: bool = True) -> Hand:
        board = VirtualBoard(
            firmware="at_client",
            keys=[samples.public_key_pem],
            factory_image=samples.application("1.0.0").read_bytes(),
            flow_control=flow_control,
        )
        name = f"at-client-{abs(hash(request.node.nodeid))}"
        hand = Hand(board, name, rtscts=flow_control)
        made.append((name, hand))
        board.start()
        return hand

    yield make
    for name, hand in made:
        hand.close()
        hand.board.stop()
        registry.unregister(name)


@pytest.fixture
def client(make_client: MakeClient) -> Hand:
    hand = make_client()
    hand.read_until(b"\r\nReady\r\n")
    return hand


def test_its_boot_lines_come_over_the_same_line(make_client: MakeClient) -> None:
    text = make_client().read_until(b"Ready\r\n").decode().split("\r\n")
    assert text[0].startswith("*** Booting nRF Connect SDK v2.9.0")
    assert text[2:] == ["The AT host sample started", "Ready", ""]


def test_answers_have_no_crlf_before_them(client: Hand) -> None:
    assert client.ask("AT") == b"OK\r\n"
    assert client.ask("AT+CFUN?") == b"+CFUN: 0\r\nOK\r\n"
    assert client.ask("AT+CGMR") == b"mfw_nrf91x1_2.0.2\r\nOK\r\n"
    client.ask("AT+CMEE=1")
    assert client.ask("AT%CMNG=2,1,0", b"513\r\n") == b"+CME ERROR: 513\r\n"


@pytest.mark.parametrize(
    "command", ["AT#XSMVER", "AT#XDFUINIT=0,1", "AT+IPR=1000000", "ATE1", "hello", "AT+"]
)
def test_what_the_modem_does_not_know_is_an_error(client: Hand, command: str) -> None:
    assert client.ask(command, b"ERROR\r\n") == b"ERROR\r\n"


def test_a_line_feed_after_the_command_does_no_harm(client: Hand) -> None:
    for _ in range(3):
        client.port.write(b"AT\r\n")
        assert client.read_until(b"OK\r\n") == b"OK\r\n"


def test_an_empty_line_is_not_sent_to_the_modem_and_backspace_removes(client: Hand) -> None:
    client.port.write(b"\r \r\n\r")
    assert client.silent()
    client.port.write(b"AY\x08T\x00\r")
    assert client.read_until(b"OK\r\n") == b"OK\r\n"


def test_quotes_hold_line_ends(client: Hand) -> None:
    client.port.write(b'AT%CMNG=0,42,0,"two\r\nlines"\r')
    assert client.read_until(b"OK\r\n") == b"OK\r\n"


def test_without_flow_control_a_command_during_another_is_lost(make_client: MakeClient) -> None:
    client = make_client(flow_control=False)
    client.read_until(b"\r\nReady\r\n")
    client.port.write(b"AT+CGMR\rAT+CGMI\r")
    assert client.read_until(b"OK\r\n") == b"mfw_nrf91x1_2.0.2\r\nOK\r\n"
    assert client.board.wait_for_event("bytes-lost").details == {"count": 3}
    client.port.write(b"\r")  # what was held: AT+CG
    assert client.read_until(b"ERROR\r\n") == b"ERROR\r\n"


def test_with_flow_control_nothing_is_lost(client: Hand) -> None:
    client.port.write(b"AT+CGMR\rAT+CGMI\rAT\r")
    expected = b"mfw_nrf91x1_2.0.2\r\nOK\r\nNordic Semiconductor ASA\r\nOK\r\nOK\r\n"
    received = b"".join(client.read_until(b"OK\r\n") for _ in range(3))
    assert received == expected


def test_urcs_come_as_the_modem_says_them(client: Hand) -> None:
    client.ask("AT+CEREG=5")
    client.ask("AT+CFUN=1")
    assert client.read_until(b"\r\n").startswith(b"+CEREG: 2")
    assert client.read_until(b"\r\n").startswith(b"+CEREG: 5")


def test_a_line_that_is_too_long_loses_its_end(client: Hand) -> None:
    client.port.write(b"AT" + b" " * 5000 + b"+CFUN?\r")
    assert client.read_until(b"ERROR\r\n") == b"ERROR\r\n"


def test_given_a_modem_without_firmware_then_the_library_sends_the_command_back(client: Hand) -> None:
    board = client.board
    board.call(lambda: board.modem_nvm.flash.erase(0x6000))
    board.reset()
    failed = b"Modem library initialization failed, error: -5\r\n"
    assert client.read_until(b"-5\r\n").endswith(b"The AT host sample started\r\n" + failed)
    client.port.write(b"AT+CFUN?\r")
    assert client.read_until(b"?") == b"AT+CFUN?"
    assert client.silent()
