"""What a line from the board is: answer, result, URC or echo; and that cutting the bytes changes nothing."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.errors import UsageError
from bridge.redaction import redact_command
from bridge.wire.at import (
    MAX_LINE_BYTES,
    AtEvent,
    AtParser,
    Echo,
    FinalResult,
    InformationLine,
    Urc,
    encode_command,
    split_fields,
)

OK = FinalResult(ok=True, text="OK", kind="OK")
ERROR = FinalResult(ok=False, text="ERROR", kind="ERROR")
PEM = "-----BEGIN CERTIFICATE-----\nMIIBOK==\nERROR\nOK\n-----END CERTIFICATE-----\n"


def parse(command: str | None, *received: bytes | str) -> list[AtEvent]:
    parser = AtParser()
    if command is not None:
        parser.begin_command(command)
    events: list[AtEvent] = []
    for data in received:
        events += parser.feed(data.encode() if isinstance(data, str) else data)
    return events


# --- both front ends ---------------------------------------------------------------------------------------


def test_serial_modems_leading_crlf_gives_the_answer_and_the_result() -> None:
    assert parse("AT+CFUN?", "\r\n+CFUN: 0\r\n\r\nOK\r\n") == [InformationLine("+CFUN: 0"), OK]


def test_at_clients_plain_text_gives_the_same_events() -> None:
    assert parse("AT+CFUN?", "+CFUN: 0\r\nOK\r\n") == [InformationLine("+CFUN: 0"), OK]


def test_at_clients_boot_text_is_urcs() -> None:
    boot = "*** Booting nRF Connect SDK v2.9.0 ***\nThe AT host sample started\nReady\n"
    assert parse("AT+CGMR", boot) == [
        Urc("*** Booting nRF Connect SDK v2.9.0 ***"),
        Urc("The AT host sample started"),
        Urc("Ready"),
    ]


# --- final results -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("OK", OK),
        ("ERROR", ERROR),
        ("+CME ERROR: 513", FinalResult(ok=False, text="+CME ERROR: 513", kind="CME", code=513)),
        ("+CMS ERROR: 302", FinalResult(ok=False, text="+CMS ERROR: 302", kind="CMS", code=302)),
        ("+CME ERROR: not found", FinalResult(ok=False, text="+CME ERROR: not found", kind="CME")),
    ],
)
def test_each_final_result_ends_the_command(line: str, result: FinalResult) -> None:
    parser = AtParser()
    parser.begin_command("AT%CMNG=1")
    assert parser.feed(f"\r\n{line}\r\n".encode()) == [result]
    assert not parser.command_pending


@pytest.mark.parametrize("line", ["OK then", "NOT OK", "ERRORS", "an ERROR", "%X: OK", "+CME ERROR 5", "ok"])
def test_a_line_that_only_contains_a_result_is_none(line: str) -> None:
    assert not any(isinstance(event, FinalResult) for event in parse("AT+CGMI", f"{line}\r\n"))


def test_a_result_without_a_command_is_still_reported() -> None:
    assert parse(None, "\r\nOK\r\n") == [OK]


# --- answers and URCs --------------------------------------------------------------------------------------


def test_other_prefixed_lines_between_command_and_result_are_urcs() -> None:
    received = "\r\n%XMODEMUUID: 1\r\n\r\n+CEREG: 2\r\n#XFOTA: 5,0\r\n%XSIM: 1\r\nReady\r\n\r\nOK\r\n"
    assert parse("AT%XMODEMUUID", received) == [
        InformationLine("%XMODEMUUID: 1"),
        Urc("+CEREG: 2"),
        Urc("#XFOTA: 5,0"),
        Urc("%XSIM: 1"),
        Urc("Ready"),
        OK,
    ]


def test_bare_text_is_the_answer() -> None:
    assert parse("AT+CGSN", "\r\n352656100367872\r\n\r\nOK\r\n") == [InformationLine("352656100367872"), OK]


def test_a_bare_at_has_no_answer_but_the_result() -> None:
    assert parse("AT", "\r\n#XDATAMODE: 0\r\nstray\r\n\r\nOK\r\n#XDFU: 0,1,0\r\n") == [
        Urc("#XDATAMODE: 0"),
        Urc("stray"),
        OK,
        Urc("#XDFU: 0,1,0"),
    ]


def test_the_command_name_must_match_as_a_whole() -> None:
    assert parse("AT#XDFUAPPLY=0", "#XDFU: 0,2,0\r\n") == [Urc("#XDFU: 0,2,0")]
    assert parse("AT%XVBAT", "%XVBATLVL: 1,4\r\n") == [Urc("%XVBATLVL: 1,4")]


def test_the_command_name_may_be_lower_case() -> None:
    assert parse("at+cfun?", "+CFUN: 1\r\n") == [InformationLine("+CFUN: 1")]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("+CEREG: 5,1", True),
        ('+CEREG: 5,1,"002F","0012BEEF",7', True),
        ('+CEREG: 5,1,"002F","0012BEEF",7,,,"11100000","11100000"', True),
        ("+CEREG: 2", False),
        ('+CEREG: 2,"084D","00A52803",7', False),
        ("+CEREG: 0,,,,0,13", False),
    ],
)
def test_reading_cereg_takes_the_answer_and_leaves_the_urc(line: str, answer: bool) -> None:
    expected = InformationLine(line) if answer else Urc(line)
    assert parse("AT+CEREG?", f"\r\n{line}\r\n") == [expected]


def test_a_second_cereg_line_is_a_urc_however_it_looks() -> None:
    assert parse("AT+CEREG?", "+CEREG: 5,2\r\n+CEREG: 5,1\r\nOK\r\n") == [
        InformationLine("+CEREG: 5,2"),
        Urc("+CEREG: 5,1"),
        OK,
    ]


def test_setting_cereg_has_no_answer_so_its_lines_are_urcs() -> None:
    assert parse("AT+CEREG=5", "+CEREG: 5,1\r\nOK\r\n") == [Urc("+CEREG: 5,1"), OK]


def test_asking_what_cereg_takes_gives_an_answer() -> None:
    assert parse("AT+CEREG=?", "+CEREG: (0-5)\r\nOK\r\n") == [InformationLine("+CEREG: (0-5)"), OK]


def test_reading_the_temperature_is_told_from_its_alarm() -> None:
    assert parse("AT%XTEMP?", "%XTEMP: 2,81\r\n%XTEMP: 50\r\nOK\r\n") == [
        Urc("%XTEMP: 2,81"),
        InformationLine("%XTEMP: 50"),
        OK,
    ]


def test_clac_lists_commands_as_its_answer() -> None:
    assert parse("AT+CLAC", "AT+CFUN\r\nAT%CMNG\r\nAT#XSMVER\r\nOK\r\n") == [
        InformationLine("AT+CFUN"),
        InformationLine("AT%CMNG"),
        InformationLine("AT#XSMVER"),
        OK,
    ]


def test_modem_reset_tells_the_update_result_before_its_answer() -> None:
    assert parse("AT#XMODEMRESET", "\r\n#XFOTA: 5,0\r\n\r\n#XMODEMRESET: 0\r\n\r\nOK\r\n") == [
        Urc("#XFOTA: 5,0"),
        InformationLine("#XMODEMRESET: 0"),
        OK,
    ]


def test_without_a_command_every_line_is_a_urc() -> None:
    assert parse(None, "Ready\r\n\r\n#XFOTA: 5,0\r\nBootloader mode ready\r\nwhatever\r\n") == [
        Urc("Ready"),
        Urc("#XFOTA: 5,0"),
        Urc("Bootloader mode ready"),
        Urc("whatever"),
    ]


def test_after_giving_up_on_a_command_its_late_answer_is_a_urc() -> None:
    parser = AtParser()
    parser.begin_command("AT+CGMI")
    parser.abandon_command()
    assert parser.feed(b"Nordic\r\nOK\r\n") == [Urc("Nordic"), OK]


# --- quoted text over several lines ------------------------------------------------------------------------


def test_a_certificate_is_one_line_of_the_answer_even_if_it_holds_results() -> None:
    line = f'%CMNG: 42,0,"ABCD","{PEM}"'
    assert parse("AT%CMNG=2,42,0", f"\r\n{line}\r\n\r\nOK\r\n") == [InformationLine(line), OK]


def test_an_open_quote_in_a_urc_does_not_swallow_the_result() -> None:
    assert parse("AT+CFUN?", '+CGEV: "open\r\nOK\r\n') == [Urc('+CGEV: "open'), OK]


@pytest.mark.parametrize("how", ["begin", "abandon"])
def test_an_answers_open_quote_ends_with_the_command(how: str) -> None:
    parser = AtParser()
    parser.begin_command("AT%CMNG=2,42,0")
    assert parser.feed(b'%CMNG: 42,0,"ABCD\r\nOK\r\n') == []
    if how == "begin":
        parser.begin_command("AT")
    else:
        parser.abandon_command()
    assert parser.feed(b"\r\nOK\r\n") == [OK]


# --- echo --------------------------------------------------------------------------------------------------


def test_the_echo_of_the_command_is_told_apart() -> None:
    assert parse("AT+CGMR", "AT+CGMR\r\r\nmfw_nrf91x1_2.0.2\r\n\r\nOK\r\n") == [
        Echo("AT+CGMR"),
        InformationLine("mfw_nrf91x1_2.0.2"),
        OK,
    ]


def test_a_cut_echo_is_told_apart() -> None:
    command = 'AT%CMNG=0,1,0,"' + "x" * 200 + '"'
    assert parse(command, command[:128] + "\r\r\nOK\r\n") == [Echo(command[:128]), OK]


def test_an_echo_over_several_lines_is_told_apart() -> None:
    command = 'AT%CMNG=0,1,0,"first\nsecond"'
    assert parse(command, command + "\r\r\nOK\r\n") == [Echo('AT%CMNG=0,1,0,"first'), Echo('second"'), OK]


def test_a_listed_command_after_the_first_answer_is_no_echo() -> None:
    assert parse("AT+CLAC", "AT+CFUN\r\nAT+CLAC\r\n") == [
        InformationLine("AT+CFUN"),
        InformationLine("AT+CLAC"),
    ]


# --- noise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [b"\x00", b"\xff\xfe\x80", b"\x00\x00\xc3"])
def test_noise_of_a_resetting_uart_before_a_line_is_dropped(noise: bytes) -> None:
    assert parse(None, noise + b"Ready\r\n") == [Urc("Ready")]


def test_undecodable_bytes_inside_a_line_do_not_hide_the_next_line() -> None:
    assert parse("AT+CGMI", b"Nor\xffdic\r\nOK\r\n") == [InformationLine("Nor\ufffddic"), OK]


def test_an_endless_line_is_dropped_and_the_next_one_read() -> None:
    assert parse("AT", b"x" * (3 * MAX_LINE_BYTES), b"\r\nOK\r\n") == [OK]


def test_an_endless_quoted_answer_is_dropped_and_the_next_line_read() -> None:
    assert parse("AT%CMNG=2", b'%CMNG: "' + b"x\n" * MAX_LINE_BYTES, b"\r\nOK\r\n")[-1] == OK


def test_after_a_reset_nothing_of_the_old_line_is_left() -> None:
    parser = AtParser()
    parser.begin_command("AT+CGMI")
    parser.feed(b"half a li")
    parser.reset()
    assert parser.feed(b"Ready\r\n") == [Urc("Ready")]


# --- properties --------------------------------------------------------------------------------------------

_LINES = st.one_of(
    st.sampled_from(
        ["OK", "ERROR", "+CME ERROR: 3", "Ready", "+CEREG: 5,1", "+CEREG: 1", '%CMNG: 1,"a\nb"', "%X: 1"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
_STREAMS = st.one_of(
    st.lists(_LINES, max_size=12).map(lambda lines: "\r\n".join(["", *lines, ""]).encode()),
    st.binary(max_size=300),
)
_COMMANDS = st.sampled_from([None, "AT", "AT+CEREG?", "AT%CMNG=1", "AT+CLAC", 'AT%CMNG=0,1,0,"a\nb"'])


@given(_STREAMS, _COMMANDS, st.lists(st.integers(0, 300), max_size=20))
@example(b"\r\nOK\r\n", "AT", [1, 2, 3, 4, 5])
def test_any_cutting_of_the_bytes_gives_the_same_events(
    stream: bytes, command: str | None, cuts: list[int]
) -> None:
    positions = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(positions)]
    assert parse(command, *pieces) == parse(command, stream)


@given(st.binary(max_size=400), _COMMANDS)
def test_whatever_came_before_a_new_command_still_gets_its_result(noise: bytes, command: str | None) -> None:
    parser = AtParser()
    if command is not None:
        parser.begin_command(command)
    parser.feed(noise)
    parser.begin_command("AT")
    assert parser.feed(b"\r\nOK\r\n")[-1] == OK


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_no_event_has_an_empty_or_broken_line(text: str) -> None:
    for event in parse(None, text + "\r\n"):
        assert event.text.strip()
        assert "\r" not in event.text
        assert "\n" not in event.text


# --- building and cutting ----------------------------------------------------------------------------------


def test_a_command_ends_with_a_bare_cr_because_a_lf_would_be_image_data() -> None:
    assert encode_command("AT#XDFUWRITE=0,0,16") == b"AT#XDFUWRITE=0,0,16\r"


def test_line_breaks_inside_quotes_are_kept() -> None:
    assert encode_command('AT%CMNG=0,1,0,"a\nb"', "\r\n") == b'AT%CMNG=0,1,0,"a\nb"\r\n'


@pytest.mark.parametrize("text", ["", "CGMR", "AT+CGMR\r", "AT\nAT", 'AT%CMNG=0,1,0,"open'])
def test_what_would_break_the_conversation_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        encode_command(text)
    assert caught.value.reason == "bad-at-command"


def test_long_quoted_texts_are_not_shown() -> None:
    assert redact_command('AT%CMNG=0,1,2,"' + "k" * 30 + '"') == 'AT%CMNG=0,1,2,"..."'
    assert redact_command('AT+CGDCONT=0,"IP","apn"') == 'AT+CGDCONT=0,"IP","apn"'


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (' 1,"a,b",7', ["1", "a,b", "7"]),
        ("4464", ["4464"]),
        ('5,1,"002F",,', ["5", "1", "002F", "", ""]),
        ("", [""]),
    ],
)
def test_fields_are_cut_at_commas_outside_quotes(text: str, fields: list[str]) -> None:
    assert split_fields(text) == fields
