"""``%CMNG`` and ``%KEYGEN``: what is kept, what is told, what is refused and by which number."""

import hashlib
from pathlib import Path

import pytest

from bridge.lab.sample_images import SampleImages
from hil_tests.unit.virtual_board.tapped import TappedBoard

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"


def ready(tapped: TappedBoard) -> None:
    """Wait for the board and switch numbers of errors on."""
    tapped.read_until(b"Ready\r\n")
    tapped.ask("AT+CMEE=1")


def refusal(tapped: TappedBoard, command: str) -> int:
    """Number of the error that a command is answered with."""
    return int(tapped.ask(command, b"\r\n")[2:] or tapped.read_until(b"\r\n").split()[-1])


def test_a_listing_tells_the_digest_of_the_text_and_a_certificate_can_be_read(samples: SampleImages) -> None:
    digest = hashlib.sha256(PEM.encode()).hexdigest().upper()
    with TappedBoard(samples) as tapped:
        ready(tapped)
        assert tapped.ask(f'AT%CMNG=0,42,0,"{PEM}"') == b"\r\nOK\r\n"
        line = f'\r\n%CMNG: 42,0,"{digest}"'
        assert tapped.ask("AT%CMNG=1,42,0").decode() == f"{line}\r\n\r\nOK\r\n"
        assert tapped.ask("AT%CMNG=2,42,0").decode() == f'{line},"{PEM}"\r\n\r\nOK\r\n'
        assert tapped.ask("AT%CMNG=1").count(b"%CMNG: ") == 4  # three are the modem's own
        assert b"%CMNG: (0,1,2,3)" in tapped.ask("AT%CMNG=?")


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_secrets_cannot_be_read_back(samples: SampleImages, kind: int) -> None:
    with TappedBoard(samples) as tapped:
        ready(tapped)
        tapped.ask(f'AT%CMNG=0,42,{kind},"secret"')
        assert refusal(tapped, f"AT%CMNG=2,42,{kind}") == 514


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("AT%CMNG=3,42,0", 513),
        ("AT%CMNG=2,42,0", 513),
        ("AT%CMNG=3,42", 50),
        ("AT%CMNG=7,42,0", 50),
        ("AT%CMNG=0,42,0", 50),
        ('AT%CMNG=0,42,0,""', 50),
        ('AT%CMNG=0,42,12,"x"', 50),
        ('AT%CMNG=0,42,6,"x"', 50),
        ('AT%CMNG=0,2147483648,0,"x"', 50),
        ('AT%CMNG=0,42,0,"' + "x" * 4097 + '"', 50),
        ("AT%KEYGEN=42,3,0", 50),
        ("AT%KEYGEN=42,2,2", 50),
        ('AT%KEYGEN=42,2,0,"no name"', 50),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_number(
    samples: SampleImages, command: str, code: int
) -> None:
    with TappedBoard(samples) as tapped:
        ready(tapped)
        assert refusal(tapped, command) == code


@pytest.mark.parametrize("command", ['AT%CMNG=0,42,4,"x"', "AT%CMNG=3,42,4", "AT%KEYGEN=42,2,0"])
def test_the_store_is_closed_while_the_radio_is_on(samples: SampleImages, command: str) -> None:
    with TappedBoard(samples) as tapped:
        ready(tapped)
        tapped.ask("AT+CFUN=1")
        assert refusal(tapped, command) == 518
        assert b"%CMNG: " in tapped.ask("AT%CMNG=1")


def test_a_full_store_takes_only_what_replaces_something(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        ready(tapped)
        for tag in range(32):
            tapped.ask(f'AT%CMNG=0,{tag},4,"x"')
        assert refusal(tapped, 'AT%CMNG=0,32,4,"x"') == 515
        assert tapped.ask('AT%CMNG=0,31,4,"y"') == b"\r\nOK\r\n"


def test_a_key_is_made_once_for_a_tag(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        ready(tapped)
        assert tapped.ask("AT%KEYGEN=42,2,1").startswith(b'\r\n%KEYGEN: "')
        assert refusal(tapped, "AT%KEYGEN=42,2,0") == 519
        assert tapped.ask('AT%KEYGEN=43,2,0,"CN=thing"').count(b".") == 1


def test_credentials_survive_a_reset_and_the_process(samples: SampleImages, tmp_path: Path) -> None:
    with TappedBoard(samples, state_dir=tmp_path) as tapped:
        ready(tapped)
        tapped.ask('AT%CMNG=0,42,4,"identity"')
        tapped.ask("AT#XRESET")
        tapped.read_until(b"Ready\r\n")
        listed = tapped.ask("AT%CMNG=1,42")
    with TappedBoard(samples, state_dir=tmp_path) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask("AT%CMNG=1,42") == listed
