"""Typed commands: what each reply means."""

from collections.abc import Callable, Iterator

import pytest

from bridge.board.at_client import AtClient
from bridge.board.link import Link
from bridge.board.modem import FirmwareVersion, Modem, Registration
from bridge.errors import BoardRefusedError, LinkError
from hil_tests.unit.board.scripted_peer import ERROR, IDENTITY, OK, ScriptedPeer


@pytest.fixture
def peer() -> Iterator[ScriptedPeer]:
    with ScriptedPeer(IDENTITY) as scripted:
        yield scripted


@pytest.fixture
def modem(peer: ScriptedPeer) -> Iterator[Modem]:
    link = Link(peer.path)
    at = AtClient(link)
    link.open()
    yield Modem(at)
    link.close()


def line(text: str) -> str:
    return f"\r\n{text}\r\n\r\nOK\r\n"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (Modem.manufacturer, "Nordic Semiconductor ASA"),
        (Modem.model, "nRF9151-LACA"),
        (Modem.version, "mfw_nrf91x1_2.0.2"),
        (Modem.short_version, "nrf91x1_2.0.2"),
        (Modem.hardware_version, "nRF9151 LACA ADA"),
        (Modem.imei, "352656100367872"),
        (Modem.modem_uuid, "25c95751-efa4-40d4-8b4a-1dcaab81fac9"),
        (Modem.device_uuid, "504d5632-3739-42fb-80c8-1411df972166"),
    ],
)
def test_texts_come_without_their_prefix(modem: Modem, question: Callable[[Modem], str], answer: str) -> None:
    assert question(modem) == answer


@pytest.mark.parametrize(
    ("question", "command", "reply", "answer"),
    [
        (Modem.functional_mode, "AT+CFUN?", "+CFUN: 4", 4),
        (Modem.battery_mv, "AT%XVBAT", "%XVBAT: 4464", 4464),
        (Modem.temperature_c, "AT%XTEMP?", "%XTEMP: -7", -7),
        (Modem.error_mode, "AT+CMEE?", "+CMEE: 1", 1),
        (Modem.bootloader_version, "AT#XBOOTINFO=0", "#XBOOTINFO: 2", 2),
        (Modem.bootloader_slot, "AT#XBOOTINFO=1", "#XBOOTINFO: 1", 1),
    ],
)
def test_numbers_are_numbers(
    modem: Modem, peer: ScriptedPeer, question: Callable[[Modem], int], command: str, reply: str, answer: int
) -> None:
    peer.answers[command] = line(reply)
    assert question(modem) == answer


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("AT+CFUN=4", lambda modem: modem.set_functional_mode(4)),
        ("AT+CEREG=5", lambda modem: modem.subscribe_registration(5)),
        ("AT+CMEE=1", lambda modem: modem.set_error_mode(1)),
    ],
)
def test_settings_are_sent(
    modem: Modem, peer: ScriptedPeer, command: str, change: Callable[[Modem], None]
) -> None:
    peer.answers[command] = OK
    change(modem)
    assert peer.commands[-1] == command


@pytest.mark.parametrize(
    ("reply", "registration", "registered"),
    [
        (
            '+CEREG: 5,1,"00B7","00011B07",7,,,"11100000","11100000"',
            Registration(5, 1, "00B7", "00011B07", 7),
            True,
        ),
        ("+CEREG: 0,5", Registration(0, 5), True),
        ("+CEREG: 5,4,,,,,", Registration(5, 4), False),
    ],
)
def test_registration(
    modem: Modem, peer: ScriptedPeer, reply: str, registration: Registration, registered: bool
) -> None:
    peer.answers["AT+CEREG?"] = line(reply)
    assert modem.registration() == registration
    assert registration.registered is registered


def test_monitor_gives_the_fields_or_only_the_status(modem: Modem, peer: ScriptedPeer) -> None:
    peer.answers["AT%XMONITOR"] = line('%XMONITOR: 1,"EDAV","E, D","26295","00B7",7,4')
    assert modem.monitor() == ("1", "EDAV", "E, D", "26295", "00B7", "7", "4")
    peer.answers["AT%XMONITOR"] = line("%XMONITOR: 2")
    assert modem.monitor() == ("2",)


def test_the_firmware_version_comes_from_xsmver(modem: Modem) -> None:
    assert modem.firmware_version() == FirmwareVersion(
        "#XSMVER", "v1.2.3-7-gdf00f46", ("v1.2.3-7-gdf00f46", "3.3.0-rc1")
    )


def test_older_firmware_is_asked_by_its_own_command(modem: Modem, peer: ScriptedPeer) -> None:
    peer.answers["AT#XSMVER"] = ERROR
    peer.answers["AT#XSLMVER"] = line('#XSLMVER: "2.9.0","2.9.0-lib"')
    assert modem.firmware_version() == FirmwareVersion("#XSLMVER", "2.9.0", ("2.9.0", "2.9.0-lib"))


def test_other_firmware_has_neither(modem: Modem, peer: ScriptedPeer) -> None:
    peer.answers["AT#XSMVER"] = ERROR
    with pytest.raises(BoardRefusedError):
        modem.firmware_version()


def test_the_delta_area(modem: Modem, peer: ScriptedPeer) -> None:
    peer.answers["AT#XFOTA=7"] = line("#XFOTA: 294912,2621440")
    assert modem.delta_area() == (294_912, 2_621_440)


@pytest.mark.parametrize("reply", [OK, line("%XVBAT: full")])
def test_an_answer_that_makes_no_sense_is_a_link_error(modem: Modem, peer: ScriptedPeer, reply: str) -> None:
    peer.answers["AT%XVBAT"] = reply
    with pytest.raises(LinkError) as caught:
        modem.battery_mv()
    assert caught.value.reason == "bad-answer"


def test_a_garbled_answer_is_asked_for_once_more(modem: Modem, peer: ScriptedPeer) -> None:
    replies = iter([line("%XVBAT: 44\x7f4"), line("%XVBAT: 4464")])
    peer.answers["AT%XVBAT"] = lambda _: next(replies)
    assert modem.battery_mv() == 4464


def test_a_lost_answer_is_asked_for_once_more(
    modem: Modem, peer: ScriptedPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.board.modem.QUESTION_TIMEOUT_S", 0.1)
    replies = iter(["", line("%XVBAT: 4464")])
    peer.answers["AT%XVBAT"] = lambda _: next(replies)
    assert modem.battery_mv() == 4464


@pytest.mark.parametrize(
    "stale",
    [
        line("Nordic Semiconductor ASA"),
        line("352656100367872"),
        line("nRF9151-LACA"),
        line('#XSMVER: "v1.2.3","3.3.0"'),
        OK,
    ],
)
def test_the_late_answer_to_another_question_is_not_taken_for_one_to_this(
    modem: Modem, peer: ScriptedPeer, stale: str
) -> None:
    """Answers bear no number. A reply that came late or twice would else put every later one in the wrong place."""
    replies = iter([stale + line("mfw_nrf91x1_2.0.2"), line("mfw_nrf91x1_2.0.2")])
    peer.answers["AT+CGMR"] = lambda _: next(replies)
    assert modem.version() == "mfw_nrf91x1_2.0.2"
    assert modem.model() == "nRF9151-LACA"


@pytest.mark.parametrize("garbled", ["3526561003678722", "352656100367873", "35265610036787"])
def test_an_imei_whose_check_digit_is_wrong_is_asked_for_once_more(
    modem: Modem, peer: ScriptedPeer, garbled: str
) -> None:
    replies = iter([line(garbled), line("352656100367872")])
    peer.answers["AT+CGSN"] = lambda _: next(replies)
    assert modem.imei() == "352656100367872"


def test_an_imei_that_stays_as_it_is_is_believed(modem: Modem, peer: ScriptedPeer) -> None:
    peer.answers["AT+CGSN"] = line("350457790000000")
    assert modem.imei() == "350457790000000"
