"""NCS's sample for full modem updates over SMP, message by message."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.lab.sample_modem import make_modem_image
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ModemFullCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.unit.virtual_board.conftest import Hand

IMAGE = make_modem_image("2.0.3", "nrf91x1")
LINE_BYTES = 512


class Fmfu:
    """A hand that speaks SMP."""

    def __init__(self, hand: Hand) -> None:
        self.hand = hand
        self._decoder = SmpFrameDecoder()
        self._sequence = 0

    def ask(
        self, op: int, group: int, command: int, body: Mapping[str, Any], version: int = 0
    ) -> dict[str, Any]:
        self._sequence += 1
        request = SmpMessage(op, group, command, body, self._sequence, version)
        self.hand.port.write(encode_frame(request.encode(), LINE_BYTES))
        return self.answer()

    def answer(self) -> dict[str, Any]:
        messages: list[bytes] = []
        while not messages:
            messages = self._decoder.feed(self.hand.read_until(b"\n"))
        answer = SmpMessage.decode(messages[0])
        assert answer.sequence == self._sequence
        return dict(answer.body)

    def upload(self, data: bytes, address: int = 1, *, end: int | None = None) -> dict[str, Any]:
        """Send a file in pieces; the last answer."""
        answer: dict[str, Any] = {}
        for start in range(0, len(data) if end is None else end, 328):
            body: dict[str, Any] = {"addr": address + start, "data": data[start : start + 328], "off": start}
            if start == 0:
                body.update(len=len(data), sha=bytes(32))
            answer = self.ask(SmpOp.WRITE, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD, body)
            assert answer == {"rc": 0, "off": min(len(data), start + 328)}, answer
        return answer

    def piece(self, **body: object) -> dict[str, Any]:
        return self.ask(SmpOp.WRITE, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD, body)

    def digest(self, first: int, last: int) -> dict[str, Any]:
        body = {"start": first, "end": last}
        return self.ask(SmpOp.READ, SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH, body)

    def modem_version(self) -> str | None:
        firmware = self.hand.board.call(lambda: self.hand.board.modem_nvm.firmware)
        return None if firmware is None else firmware.version


@pytest.fixture
def fmfu(samples: SampleImages, request: pytest.FixtureRequest) -> Iterator[Fmfu]:
    board = VirtualBoard(
        firmware="fmfu",
        keys=[samples.public_key_pem],
        factory_image=samples.application("1.0.0").read_bytes(),
    )
    name = f"fmfu-{abs(hash(request.node.nodeid))}"
    hand = Hand(board, name)
    with board:
        board.wait_for_event("ready")
        yield Fmfu(hand)
        hand.close()
    registry.unregister(name)


def test_its_uart_is_silent_until_it_is_asked_and_tells_how_long_a_line_may_be(fmfu: Fmfu) -> None:
    assert fmfu.hand.silent()
    answer = fmfu.ask(SmpOp.READ, SmpGroup.STATISTICS, 0, {"name": "smp_com"})
    assert answer == {"rc": 0, "name": "smp_com", "fields": {"frame_max": 512, "pack_max": 504}}
    assert fmfu.ask(SmpOp.READ, SmpGroup.STATISTICS, 1, {}) == {"rc": 0, "stat_list": ["smp_com"]}
    assert fmfu.ask(SmpOp.READ, SmpGroup.STATISTICS, 0, {"name": "other"}) == {"rc": 5}
    parameters = fmfu.ask(SmpOp.READ, SmpGroup.OS, OsCommand.PARAMETERS, {})
    assert parameters == {"rc": 0, "buf_size": 512, "buf_count": 4}


def test_given_loader_and_firmware_then_digests_come_word_by_word_reversed(fmfu: Fmfu) -> None:
    fmfu.upload(IMAGE.loader)
    for address, data in IMAGE.firmware.items():
        fmfu.upload(data, address)
    for address, data in IMAGE.firmware.items():
        answer = fmfu.digest(address, address + len(data) - 1)
        words = [answer["digest"][start : start + 4][::-1] for start in range(0, 32, 4)]
        assert (answer["rc"], b"".join(words)) == (0, hashlib.sha256(data).digest())
    assert fmfu.modem_version() == "2.0.3"


def test_given_a_piece_twice_then_it_is_not_noticed_and_the_loader_is_spoilt(fmfu: Fmfu) -> None:
    loader = IMAGE.loader
    assert fmfu.piece(off=0, len=len(loader), data=loader[:400], addr=1) == {"rc": 0, "off": 400}
    assert fmfu.piece(off=0, len=len(loader), data=loader[:400], addr=1) == {"rc": 0, "off": 400}
    for start in range(400, len(loader) - 400, 400):
        assert fmfu.piece(off=start, data=loader[start : start + 400])["rc"] == 0
    start += 400
    assert fmfu.piece(off=start, data=loader[start:]) == {"rc": 6}
    # Nothing clears what was appended, so only a reset helps.
    assert fmfu.upload(loader, end=2952) == {"rc": 0, "off": 2952}
    assert fmfu.piece(off=2952, data=loader[2952:]) == {"rc": 6}


def test_given_a_gap_then_the_offset_is_just_added_to(fmfu: Fmfu) -> None:
    assert fmfu.piece(off=5000, data=bytes(10)) == {"rc": 0, "off": 5010}


def test_given_a_reset_then_a_loader_comes_first_again(fmfu: Fmfu) -> None:
    fmfu.upload(IMAGE.loader)
    assert fmfu.ask(SmpOp.WRITE, SmpGroup.OS, OsCommand.RESET, {}) == {"rc": 0}
    ready = fmfu.hand.board.wait_for_event("ready", count=2)
    assert ready.details["modem_version"] == "2.0.2"
    assert fmfu.digest(0x6000, 0x7FFF) == {"rc": 6}
    fmfu.upload(IMAGE.loader)
    assert fmfu.digest(0x6000, 0x7FFF)["rc"] == 0


def test_given_half_the_firmware_and_a_reset_then_the_sample_still_starts_and_a_rerun_repairs(
    fmfu: Fmfu,
) -> None:
    fmfu.upload(IMAGE.loader)
    fmfu.upload(IMAGE.firmware[0x6000], 0x6000)
    fmfu.hand.board.reset()
    ready = fmfu.hand.board.wait_for_event("ready", count=2)
    assert ready.details["modem_version"] is None
    fmfu.upload(IMAGE.loader)
    for address, data in IMAGE.firmware.items():
        fmfu.upload(data, address)
    assert fmfu.modem_version() == "2.0.3"


def test_given_bad_addresses_then_bad_state(fmfu: Fmfu) -> None:
    assert fmfu.digest(0x6000, 0x7FFF) == {"rc": 6}
    fmfu.upload(IMAGE.loader)
    assert fmfu.digest(0x10000, 0x10FFF) == {"rc": 6}
    assert fmfu.digest(0, 0x7FFF) == {"rc": 3}
    assert fmfu.ask(SmpOp.WRITE, SmpGroup.MODEM_FULL, 0, {"start": "x", "end": 1}) == {"rc": 3}
    assert fmfu.piece(off=0, len=100, data=b"x") == {"rc": 6}  # address 0
    assert fmfu.piece(off=0, len=1, data=b"x", addr=0x10000) == {"rc": 6}


@pytest.mark.parametrize("body", [{"off": "0"}, {"data": "text"}, {"off": -1}, {"data": bytes(505)}])
def test_given_what_cannot_be_decoded_then_it_is_answered_as_if_all_were_well(
    fmfu: Fmfu, body: dict[str, object]
) -> None:
    small = len(body.get("data", b"")) < 505  # type: ignore[arg-type]
    if small:
        assert fmfu.piece(**body) == {"rc": 0, "off": 3}
    else:
        request = SmpMessage(SmpOp.WRITE, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD, body)
        fmfu.hand.port.write(encode_frame(request.encode(), LINE_BYTES))
        assert fmfu.hand.silent()  # the message does not fit the buffer


def test_given_no_cbor_then_offset_3_and_other_groups_say_invalid(fmfu: Fmfu) -> None:
    header = bytes([2, 0, 0, 1, 0, 65, 9, 1])
    fmfu.hand.port.write(encode_frame(header + b"\xff", LINE_BYTES))
    fmfu._sequence = 9
    assert fmfu.answer() == {"rc": 0, "off": 3}


def test_given_unknown_commands_and_the_second_version_then_rc_all_the_same(fmfu: Fmfu) -> None:
    assert fmfu.ask(SmpOp.READ, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD, {}) == {"rc": 8}
    assert fmfu.ask(SmpOp.WRITE, 77, 0, {}) == {"rc": 8}
    assert fmfu.ask(SmpOp.WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "hi"}, 1) == {"rc": 0, "r": "hi"}
    assert fmfu.ask(SmpOp.READ, SmpGroup.STATISTICS, 0, {"name": "smp_com"}, 2) == {"rc": 13}


def test_given_a_line_of_more_than_512_bytes_then_it_is_dropped(fmfu: Fmfu) -> None:
    request = SmpMessage(SmpOp.WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "x" * 400}, 1, 0)
    fmfu.hand.port.write(encode_frame(request.encode(), 4096))
    assert fmfu.hand.silent()
    fmfu._sequence = 0
    assert fmfu.ask(SmpOp.WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "x" * 340})["r"] == "x" * 340
