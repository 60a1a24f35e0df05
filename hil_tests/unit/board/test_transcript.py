"""Transcripts: what is written, read back, masked, and played again."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.board.replay import ReplayedBoard
from bridge.board.transcript import TranscriptRecord, TranscriptWriter, read_transcript
from bridge.board.transcript_mask import SecretMask
from bridge.errors import BenchError, UsageError

PEM = b"-----BEGIN EC PRIVATE KEY-----\r\nMHcCAQEEIBl4\r\n-----END EC PRIVATE KEY-----"


@given(st.lists(st.tuples(st.sampled_from(["in", "out"]), st.binary(max_size=40)), max_size=20))
def test_what_went_over_the_line_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[str, bytes]]
) -> None:
    file = tmp_path_factory.mktemp("transcript") / "t.jsonl"
    with TranscriptWriter(file, ["info"]) as writer:
        writer.tell("p", "opened", b"")
        for way, data in pieces:
            writer.tell("p", way, data)  # type: ignore[arg-type]
        writer.close(4)
    read = read_transcript(file)
    assert (read.command, read.exit_code) == (("info",), 4)
    assert [(one.way, one.data) for one in read.records] == [("opened", b""), *pieces]


@given(st.data())
def test_a_key_is_masked_however_the_bytes_are_cut(data: st.DataObject) -> None:
    said = b'AT\rAT%CMNG=0,42,2,"' + PEM + b'"\r' + b"\x00\xff" + b'AT+CPIN="1234"\rAT+CGMR\r'
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    mask = SecretMask(incoming=False)
    bounds = zip([0, *cuts], [*cuts, len(said)], strict=True)
    masked = b"".join(mask.feed(said[start:end]) for start, end in bounds)
    assert len(masked) == len(said)
    assert b"MHcC" not in masked
    assert b"1234" not in masked
    assert masked.startswith(b'AT\rAT%CMNG=0,42,2,"xxx')
    assert masked.endswith(b'xxx"\rAT+CGMR\r')


@pytest.mark.parametrize("pin", [b"AT+CPIN=1234\r", b'AT+CPIN="1234"\r', b'at+cgauth=0,1,"user","1234"\r'])
def test_pins_and_passwords_are_masked(pin: bytes) -> None:
    assert b"1234" not in SecretMask(incoming=False).feed(pin)


def test_digests_in_a_list_of_credentials_stay_and_contents_do_not() -> None:
    listed = b'%CMNG: 42,0,"' + b"AB" * 32 + b'"\r\n'
    assert SecretMask(incoming=True).feed(listed) == listed
    shown = SecretMask(incoming=True).feed(b'%CMNG: 42,0,"' + b"AB" * 32 + b'","' + PEM + b'"\r\n')
    assert b"MHcC" not in shown


def test_a_transcript_that_was_cut_short_is_read_to_its_last_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    with TranscriptWriter(file) as writer:
        writer.tell("p", "out", b"AT\r")
        writer.tell("p", "in", b"OK\r\n")
    file.write_bytes(file.read_bytes()[:-9])
    read = read_transcript(file)
    assert [one.data for one in read.records] == [b"AT\r"]
    assert read.exit_code is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"format": "nrf91-bridge-transcript", "schema": 99}',
        '{"format": "nrf91-bridge-transcript", "schema": 1}\nnonsense\n{}\n',
        '{"format": "nrf91-bridge-transcript", "schema": 1}\n{"t_s": 1, "way": "up"}\n{}\n',
        '{"format": "nrf91-bridge-transcript", "schema": 1}\n{"t_s": 1, "way": "in", "base64": "!"}\n{}\n',
    ],
)
def test_what_is_no_transcript_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_transcript(file)
    assert refused.value.reason == "bad-transcript"


def test_a_transcript_that_is_not_there_or_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the transcript"):
        read_transcript(tmp_path / "none.jsonl")
    with pytest.raises(BenchError, match="cannot record"):
        TranscriptWriter(tmp_path / "no" / "directory.jsonl")


def test_urls_with_secrets_are_not_recorded(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    with TranscriptWriter(file, ["flash", "https://host/image?X-Amz-Signature=abcdef"]) as writer:
        writer.tell("rfc2217://user:secret@host:1", "opened", b"")
    assert "abcdef" not in file.read_text()
    assert "secret" not in file.read_text()
    assert all(json.loads(line) for line in file.read_text().splitlines())


# --- playing it again ---------------------------------------------------------------------------------------

CONVERSATION = (
    TranscriptRecord(0.0, "opened", "p"),
    TranscriptRecord(0.1, "out", "p", b"AT\r"),
    TranscriptRecord(0.2, "in", "p", b"OK\r\n"),
    TranscriptRecord(40.2, "in", "p", b"Ready\r\n"),
    TranscriptRecord(40.3, "lost", "p"),
)


def test_answers_wait_for_the_host_and_what_comes_unasked_for_a_pause() -> None:
    board = ReplayedBoard(CONVERSATION, longest_pause_s=0.5)
    board.open()
    assert board.take(0.0) == b""
    board.feed(b"A")
    assert board.take(5.0) == b""
    assert board.next_due_s() is None
    board.feed(b"T\r")
    assert board.take(6.0) == b""
    assert board.take(6.11) == b"OK\r\n"
    assert board.next_due_s() == pytest.approx(6.61)
    assert board.take(6.5) == b""
    assert board.take(7.0) == b"Ready\r\n"
    assert board.take(7.0) is None
    assert board.is_over
    assert board.divergence is None


def test_the_pace_of_the_recording_can_be_kept() -> None:
    board = ReplayedBoard(CONVERSATION, longest_pause_s=None)
    board.open()
    board.take(0.0)
    board.feed(b"AT\r")
    board.take(0.0)
    assert board.take(0.2) == b"OK\r\n"
    assert board.next_due_s() == pytest.approx(40.2)


@given(st.binary(min_size=1, max_size=6), st.binary(max_size=6))
def test_the_first_byte_that_differs_is_told(recorded: bytes, now: bytes) -> None:
    board = ReplayedBoard((TranscriptRecord(0.0, "out", "p", recorded),))
    board.feed(now)
    differing = [at for at in range(len(now)) if at >= len(recorded) or now[at] != recorded[at]]
    assert (board.divergence is not None) == bool(differing)
    if board.divergence is not None:
        assert board.divergence.offset == differing[0]


def test_bytes_that_were_masked_may_be_anything() -> None:
    board = ReplayedBoard((TranscriptRecord(0.0, "out", "p", b"AT%CMNG=0,1,2,xx\r", masked=True),))
    board.feed(b"AT%CMNG=0,1,2,ab\r")
    assert board.divergence is None
