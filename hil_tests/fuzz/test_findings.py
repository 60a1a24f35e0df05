"""What fuzzing has found, each as the bytes that showed it."""

import json
import struct
from pathlib import Path
from typing import cast

import pytest

from bridge.board.at_client import AtClient
from bridge.board.modem import Modem
from bridge.board.smp_answers import parse_image_states, parse_slot_info, raise_refusal
from bridge.cloud.document import DocumentError, parse_document
from bridge.cloud.job_messages import read_execution, read_reply
from bridge.errors import BenchError, CloudError, ImageRefusedError, LinkError
from bridge.image.archive import read_archive
from bridge.image.sample import BEHAVIOUR_MAGIC, find_behaviour
from bridge.virtual.board import VirtualBoard
from bridge.virtual.layout import layout_of
from bridge.virtual.mcuboot import boot
from bridge.virtual.modem_nvm import ModemNvm
from bridge.wire.at import AtParser, FinalResult
from bridge.wire.smp_message import SmpMessage
from hil_tests.fuzz.at_lines import Answers
from hil_tests.unit.image import build

TOPIC = "$aws/things/thing/jobs/$next/get/accepted"


def test_an_error_code_of_five_thousand_digits_does_not_end_the_reader() -> None:
    line = "+CME ERROR: " + "9" * 5000
    assert AtParser().feed(line.encode() + b"\r\n") == [FinalResult(ok=False, text=line, kind="CME")]


@pytest.mark.parametrize("technology", ["\N{SUPERSCRIPT TWO}", "7" * 5000], ids=["superscript", "long"])
def test_a_registration_with_a_technology_that_is_no_number(technology: str) -> None:
    modem = Modem(cast("AtClient", Answers([f"+CEREG: 5,1,a,b,{technology}"])))
    assert modem.registration().technology is None


def test_image_types_of_five_thousand_digits() -> None:
    modem = Modem(cast("AtClient", Answers(["#XDFUINIT: (0,1," + "7" * 5000 + ")"])))
    assert {0, 1} <= modem.dfu_types()


@pytest.mark.parametrize("body", [b"\xbf\x62rc\xf9\x7c\x00\xff", b"\xa1\x63err\xa1\x62rc\xf9\x7c\x00"])
def test_an_smp_answer_with_an_infinite_code(body: bytes) -> None:
    answer = SmpMessage.decode(b"\x09\0" + len(body).to_bytes(2, "big") + b"\0\1\0\0" + body)
    with pytest.raises(LinkError) as refused:
        raise_refusal(answer)
    assert refused.value.reason == "bad-answer"


def test_an_image_list_whose_digest_is_a_number() -> None:
    with pytest.raises(LinkError):
        parse_image_states({"images": [{"slot": 0, "hash": 1.5}]})


@pytest.mark.parametrize("member", ["size", "upload_image_id"])
def test_a_slot_whose_size_is_text(member: str) -> None:
    with pytest.raises(LinkError):
        parse_slot_info({"images": [{"slots": [{"slot": 1, member: "large"}]}]})


@pytest.mark.parametrize("moment", [b"1e999", b"NaN", b"1e300", b"-1"])
def test_a_job_that_was_queued_at_no_time(moment: bytes) -> None:
    text = b'{"execution":{"jobId":"job-1","status":"QUEUED","versionNumber":1,"queuedAt":' + moment + b"}}"
    reply = read_reply(TOPIC, text)
    assert reply is not None
    execution = read_execution(reply.body)
    assert execution is not None
    assert execution.queued_at is None


@pytest.mark.parametrize("member", ["versionNumber", "executionNumber"])
def test_a_job_with_a_number_that_no_journal_can_hold(member: str) -> None:
    execution = {"jobId": "job-1", "status": "QUEUED", "versionNumber": 1, member: 2**64}
    with pytest.raises(CloudError) as refused:
        read_execution({"execution": execution})
    assert refused.value.reason == "bad-reply"


@pytest.mark.parametrize("member", ["board", "fwversion"])
def test_half_a_character_in_a_document_is_refused_before_something_cannot_write_it(member: str) -> None:
    with pytest.raises(DocumentError):
        parse_document({"location": {"url": "https://host/app.bin"}, member: "x\ud800"})


def directory_entry(archive: bytes) -> tuple[int, int]:
    return archive.rfind(b"PK\x01\x02"), archive.rfind(b"PK\x05\x06")


def test_a_member_of_a_zip_archive_without_a_name() -> None:
    archive = build.zipped({"a": b"x"})
    entry, end = directory_entry(archive)
    nameless = archive[: entry + 28] + bytes(2) + archive[entry + 30 : entry + 46]
    size = struct.pack("<I", end - entry - 1)
    with pytest.raises(ImageRefusedError) as refused:
        read_archive(nameless + archive[end : end + 12] + size + archive[end + 16 :])
    assert refused.value.reason == "unsafe-archive"


def test_a_member_of_a_zip_archive_at_an_offset_beyond_all_files() -> None:
    archive = build.zipped({"a": b"x"})
    entry, end = directory_entry(archive)
    offset = struct.pack("<HHQ", 1, 8, 2**63 + 5)
    head = archive[:entry] + archive[entry : entry + 30] + struct.pack("<H", len(offset))
    far = head + archive[entry + 32 : entry + 42] + b"\xff" * 4 + archive[entry + 46 : end] + offset
    size = struct.pack("<I", end - entry + len(offset))
    with pytest.raises(ImageRefusedError) as refused:
        read_archive(far + archive[end : end + 12] + size + archive[end + 16 :])
    assert refused.value.reason == "bad-archive"


@pytest.mark.parametrize(
    "text", [b'{"imei": "\xff"}', b"[]", b"1", b"[" * 100_000], ids=["text", "list", "number", "nested"]
)
def test_a_board_whose_saved_state_is_something_else(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "modem.json").write_bytes(text)
    with pytest.raises(BenchError) as refused:
        VirtualBoard(state_dir=tmp_path)
    assert refused.value.reason == "state-unusable"


@pytest.mark.parametrize(
    "change",
    [
        {"device_uuid": "\u031c"},
        {"imei": 5},
        {"credentials": {"one": "x"}},
        {"credentials": {"1,99": "x"}},
        {"credentials": {"1,0": "\u031c"}},
    ],
    ids=str,
)
def test_a_modem_whose_saved_memory_it_could_not_have_written(
    change: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "modem.json").write_text(json.dumps({**ModemNvm().to_dict(), **change}))
    with pytest.raises(BenchError) as refused:
        VirtualBoard(state_dir=tmp_path)
    assert refused.value.reason == "state-unusable"


def test_a_counter_of_the_bootloader_without_end(tmp_path: Path) -> None:
    (tmp_path / "otp.json").write_text('{"counters": [1e999], "invalid_keys": []}')
    with pytest.raises(BenchError):
        VirtualBoard(state_dir=tmp_path)


def test_a_torn_trailer_with_the_size_of_a_swap_that_no_flash_has_room_for() -> None:
    """MCUboot asserts that flash does what it is asked to: the board does not start, but the model of it must not end."""
    layout = layout_of("nrf9151dk")
    flash = layout.make_flash()
    image = build.mcuboot()
    for slot in (layout.primary, layout.secondary):
        flash.program(slot.address, image)
    trailer = struct.pack("<I", 0x05D3_0000).ljust(8, b"\xff") + b"\x02" + b"\xff" * 7 + b"\xff" * 16
    magic = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
    flash.program(layout.primary.end - len(trailer + magic), trailer + magic)
    flash.program(layout.primary.end - len(trailer + magic) - 4, b"\x01")  # the first status entry
    outcome = boot(flash, layout, [])
    assert not outcome.bootable
    assert "assertion failed" in outcome.log[-1]


def test_an_application_that_would_be_ready_in_ten_to_the_two_hundredth_milliseconds() -> None:
    text = b'{"ready_delay_ms":1' + b"0" * 200 + b"}"
    assert find_behaviour(BEHAVIOUR_MAGIC + struct.pack("<H", len(text)) + text) == {}
