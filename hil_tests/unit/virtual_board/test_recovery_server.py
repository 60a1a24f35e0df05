"""MCUboot's serial recovery, command by command: exact answers, upload, image list, marking."""

from typing import Any

import cbor2
import pytest

from bridge.image import inspect_bytes
from bridge.lab.sample_images import SampleImages
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.layout import layout_of
from bridge.virtual.mcuboot import SwapType, boot, request_upgrade, swap_type
from bridge.virtual.recovery_server import RecoveryServer
from bridge.virtual.trailer import Magic, Trailer
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp

CHUNK = 512
IMPOSSIBLE = 0x7FFFFFFF
READ, WRITE = SmpOp.READ, SmpOp.WRITE


class Recovery:
    """A server with no line in front of it, on a board that has version 1.0.0."""

    def __init__(self, samples: SampleImages, model: str = "nrf9151dk", **options: Any) -> None:
        self.samples = samples
        self.layout = layout_of(model)
        self.flash = self.layout.make_flash()
        self.old = samples.application("1.0.0").read_bytes()
        self.new = samples.application("1.1.0").read_bytes()
        self.flash.program(self.layout.primary.address, self.old)
        self.options = BootloaderOptions(**options)
        self.resets = 0
        self.start()

    def start(self, max_image_bytes: int | None = None) -> None:
        self.server = RecoveryServer(
            self.flash,
            self.layout,
            self.options,
            [self.samples.public_key_pem],
            reset=self._reset,
            max_image_bytes=max_image_bytes,
        )

    def _reset(self) -> None:
        self.resets += 1

    def raw(
        self, op: int, group: int, command: int, body: dict[str, Any] | None = None, version: int = 1
    ) -> bytes:
        answer = self.server.handle(SmpMessage(op, group, command, body or {}, 77, version).encode())
        assert answer is not None
        return answer

    def ask(
        self, op: int, group: int, command: int, body: dict[str, Any] | None = None, version: int = 1
    ) -> Any:
        decoded = SmpMessage.decode(self.raw(op, group, command, body, version))
        assert (decoded.op, decoded.group, decoded.command) == (op + 1, group, command)
        assert (decoded.sequence, decoded.version) == (77, version)
        return dict(decoded.body)

    def upload(self, **body: Any) -> Any:
        return self.ask(WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body)

    def first(self, **more: Any) -> Any:
        return self.upload(**{"off": 0, "len": len(self.new), "data": self.new[:CHUNK], **more})

    def upload_all(self, **first: Any) -> None:
        offset = self.first(**first)["off"]
        while offset < len(self.new):
            answer = self.upload(off=offset, data=self.new[offset : offset + CHUNK])
            assert answer["rc"] == 0
            offset = answer["off"]

    def state(self, **body: Any) -> Any:
        return self.ask(WRITE if body else READ, SmpGroup.IMAGE, ImageCommand.STATE, body)

    def digest(self, image: bytes) -> bytes:
        info = inspect_bytes(image, "image").mcuboot
        assert info is not None
        return bytes.fromhex(info.digest)


@pytest.fixture
def recovery(samples: SampleImages) -> Recovery:
    return Recovery(samples)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize(
    ("op", "group", "command", "body", "answer"),
    [
        (WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "x"}, {"rc": 8}),
        (WRITE, SmpGroup.OS, OsCommand.ECHO_CONTROL, {"echo": 1}, {"rc": 0}),
        (READ, SmpGroup.OS, OsCommand.PARAMETERS, {}, {"rc": 8}),
        (READ, SmpGroup.OS, OsCommand.INFO, {}, {"rc": 8}),
        (READ, SmpGroup.OS, OsCommand.BOOTLOADER_INFO, {}, {"rc": 8}),
        (WRITE, SmpGroup.IMAGE, ImageCommand.STATE, {"confirm": True}, {"rc": 8}),
        (WRITE, SmpGroup.IMAGE, ImageCommand.ERASE, {}, {"rc": 8}),
        (READ, SmpGroup.IMAGE, ImageCommand.SLOT_INFO, {}, {"rc": 8}),
        (READ, SmpGroup.STATISTICS, 0, {"name": "smp_com"}, {"rc": 8}),
        (READ, SmpGroup.MODEM_FULL, 0, {}, {"rc": 8}),
        (WRITE, SmpGroup.OS, OsCommand.RESET, {"force": 1}, {"rc": 0}),
    ],
)
def test_given_a_plain_build_then_each_command_has_its_answer_in_every_version(
    recovery: Recovery, version: int, op: int, group: int, command: int, body: dict[str, Any], answer: Any
) -> None:
    assert recovery.ask(op, group, command, body, version) == answer


def test_given_everything_switched_on_then_echo_params_and_slots_answer(samples: SampleImages) -> None:
    recovery = Recovery(samples, echo=True, params=True, slot_info=True)
    assert recovery.ask(WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "hello"}) == {"r": "hello"}
    assert recovery.ask(WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "x" * 200}) == {"rc": 2}
    assert recovery.ask(WRITE, SmpGroup.OS, OsCommand.ECHO, {"d": "x", "e": 1}) == {"rc": 3}
    assert recovery.ask(READ, SmpGroup.OS, OsCommand.PARAMETERS) == {"buf_size": 1024, "buf_count": 1}
    slots = [{"slot": 0, "size": 0x6F000}, {"slot": 1, "size": 0x6E000, "upload_image_id": 1}]
    info = {"image": 0, "slots": slots}
    assert recovery.ask(READ, SmpGroup.IMAGE, ImageCommand.SLOT_INFO) == {"images": [info]}
    recovery.start(max_image_bytes=1234)
    assert recovery.ask(READ, SmpGroup.IMAGE, ImageCommand.SLOT_INFO) == {
        "images": [{**info, "max_image_size": 1234}]
    }


def test_given_direct_upload_then_each_slot_has_its_number(samples: SampleImages) -> None:
    recovery = Recovery(samples, slot_info=True, direct_upload=True)
    slots = recovery.ask(READ, SmpGroup.IMAGE, ImageCommand.SLOT_INFO)["images"][0]["slots"]
    assert [slot["upload_image_id"] for slot in slots] == [1, 2]


def test_given_an_answer_then_its_maps_and_lists_have_no_definite_length(recovery: Recovery) -> None:
    body = recovery.raw(READ, SmpGroup.IMAGE, ImageCommand.STATE)[8:]
    assert body.startswith(b"\xbf\x66images\x9f\xbf")
    assert body.endswith(b"\xff\xff\xff")
    entry = cbor2.loads(body)["images"][0]
    assert list(entry) == ["slot", "hash", "version"]
    assert entry == {"slot": 0, "hash": recovery.digest(recovery.old), "version": "1.0.0"}
    assert recovery.raw(WRITE, SmpGroup.OS, 1)[8:] == b"\xbf\x62rc\x00\xff"


def test_given_what_is_no_request_then_there_is_no_answer(recovery: Recovery) -> None:
    message = SmpMessage(READ, SmpGroup.IMAGE, ImageCommand.STATE).encode()
    assert recovery.server.handle(message[:7]) is None
    assert recovery.server.handle(SmpMessage(SmpOp.READ_RESPONSE, 0, 0).encode()) is None
    assert recovery.server.handle(message + b"more than the header says") is None
    longer = message[:2] + b"\x00\x20" + message[4:]
    assert recovery.server.handle(longer) is not None, "less than the header says is fine"


# --- upload -----------------------------------------------------------------------------------------------------


def test_given_a_whole_upload_then_it_is_in_the_primary_slot_and_boots(recovery: Recovery) -> None:
    recovery.upload_all(sha=bytes(32), upgrade=True)
    primary = recovery.layout.primary
    assert recovery.flash.read(primary.address, len(recovery.new)) == recovery.new
    assert recovery.state()["images"][0]["version"] == "1.1.0"
    outcome = boot(recovery.flash, recovery.layout, [recovery.samples.public_key_pem])
    assert (outcome.version, outcome.swap_type) == ("1.1.0", SwapType.NONE)


@pytest.mark.parametrize("offset", [CHUNK * 2, 4, IMPOSSIBLE])
def test_given_a_wrong_offset_then_the_expected_one_is_answered_and_nothing_happens(
    recovery: Recovery, offset: int
) -> None:
    assert recovery.upload(off=IMPOSSIBLE, data=b"") == {"rc": 0, "off": 0}
    recovery.first()
    before = recovery.flash.operations
    assert recovery.upload(off=offset, data=b"") == {"rc": 0, "off": CHUNK}
    assert recovery.flash.operations == before


def test_given_the_first_chunk_again_then_the_upload_starts_again_whatever_its_sha(
    recovery: Recovery,
) -> None:
    recovery.first(sha=bytes(32))
    recovery.upload(off=CHUNK, data=recovery.new[CHUNK : 2 * CHUNK])
    assert recovery.first(sha=bytes(32)) == {"rc": 0, "off": CHUNK}


@pytest.mark.parametrize(
    "body",
    [
        {"off": 0, "data": b"x" * 64},
        {"off": 0, "len": 1 << 20, "data": b"x" * 64},
        {"len": 100, "data": b"x"},
        {"off": 0, "len": 100},
        {"off": 0, "len": 100, "data": "text"},
        {"off": -1, "len": 100, "data": b"x"},
        {"off": 0, "len": 100, "data": b"x" * 4, "image": 1},
        {"off": 0, "len": 100, "data": b"x" * 4, "image": 2},
    ],
    ids=["no-len", "too-large", "no-off", "no-data", "data-text", "negative", "image-1", "image-2"],
)
def test_given_a_request_that_makes_no_sense_then_it_is_invalid(
    recovery: Recovery, body: dict[str, Any]
) -> None:
    assert recovery.upload(**body) == {"rc": 3}


def test_given_no_map_then_it_is_invalid(recovery: Recovery) -> None:
    header = SmpMessage(WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD).encode()[:8]
    for body in (b"", b"\x83\x01\x02\x03", b"\xa1", b"\xa1\x01\x02"):
        answer = recovery.server.handle(header[:2] + len(body).to_bytes(2, "big") + header[4:] + body)
        assert answer is not None
        assert SmpMessage.decode(answer).body == {"rc": 3}


def test_given_more_than_announced_then_only_the_first_chunk_gets_away_with_it(recovery: Recovery) -> None:
    assert recovery.upload(off=0, len=8, data=bytes(12)) == {"rc": 0, "off": 12}
    recovery.first(len=CHUNK + 4)
    assert recovery.upload(off=CHUNK, data=bytes(8)) == {"rc": 3}


def test_given_odd_chunks_then_they_are_cut_to_words_and_the_odd_end_is_filled_up(recovery: Recovery) -> None:
    assert recovery.upload(off=0, len=39, data=bytes(range(37))) == {"rc": 0, "off": 36}
    assert recovery.upload(off=36, data=bytes((36, 37, 38))) == {"rc": 0, "off": 39}
    start = recovery.flash.read(recovery.layout.primary.address, 44)
    assert start == bytes(range(39)) + b"\xff" * 5


def test_given_external_flash_then_no_chunk_is_cut(samples: SampleImages) -> None:
    recovery = Recovery(samples, "thingy91x", direct_upload=True)
    assert recovery.upload(off=0, len=39, data=bytes(range(37)), image=2) == {"rc": 0, "off": 37}
    assert recovery.upload(off=37, data=bytes((37, 38))) == {"rc": 0, "off": 39}
    assert recovery.flash.read(recovery.layout.secondary.address, 40) == bytes(range(39)) + b"\xff"


def test_given_garbage_then_it_is_taken_and_no_longer_listed(recovery: Recovery) -> None:
    assert recovery.upload(off=0, len=64, data=b"garbage!" * 8) == {"rc": 0, "off": 64}
    assert recovery.state() == {"images": []}
    assert not boot(recovery.flash, recovery.layout, [recovery.samples.public_key_pem]).bootable


def test_given_progressive_erase_then_pages_go_as_data_comes_and_the_trailer_at_the_end(
    recovery: Recovery,
) -> None:
    primary = recovery.layout.primary
    recovery.flash.program(primary.address, bytes(primary.size))
    recovery.first()
    assert recovery.flash.is_erased(primary.address + CHUNK, 4096 - CHUNK)
    assert recovery.flash.read(primary.address + 4096, 16) == bytes(16)
    recovery.upload_all()
    assert recovery.flash.is_erased(primary.end - 4096, 4096)
    assert recovery.flash.read(primary.end - 8192, 4096) == bytes(4096)


def test_given_no_progressive_erase_then_the_first_chunk_erases_the_whole_slot(samples: SampleImages) -> None:
    recovery = Recovery(samples, progressive_erase=False)
    primary = recovery.layout.primary
    recovery.flash.program(primary.address, bytes(primary.size))
    recovery.first()
    assert recovery.flash.erased_pages == primary.size // 4096
    assert recovery.flash.is_erased(primary.address + 4096, primary.size - 4096)


def test_given_an_image_into_the_trailer_then_its_end_is_erased_without_a_word(recovery: Recovery) -> None:
    primary = recovery.layout.primary
    size = primary.size - 100
    offset = recovery.upload(off=0, len=size, data=bytes(CHUNK))["off"]
    while offset < size:
        answer = recovery.upload(off=offset, data=bytes(min(4096, size - offset)))
        assert answer["rc"] == 0
        offset = answer["off"]
    assert recovery.flash.is_erased(primary.end - 4096, 4096)


def test_given_a_trailer_over_two_pages_then_only_its_first_page_is_erased(samples: SampleImages) -> None:
    recovery = Recovery(samples, "thingy91x", direct_upload=True)
    request_upgrade(recovery.flash, recovery.layout, permanent=False)
    secondary = recovery.layout.secondary
    recovery.upload_all(image=2)
    assert recovery.flash.is_erased(Trailer(recovery.flash, secondary).first_page, 4096)
    assert swap_type(recovery.flash, recovery.layout) is SwapType.TEST, "the old request still stands"


# --- image states -----------------------------------------------------------------------------------------------


def flags(recovery: Recovery) -> list[tuple[str, ...]]:
    known = ("bootable", "confirmed", "active", "pending", "permanent")
    return [tuple(name for name in image if name in known) for image in recovery.state()["images"]]


def test_given_image_states_then_a_test_and_its_revert_are_shown_and_the_old_image_is_what_confirm_means(
    samples: SampleImages,
) -> None:
    recovery = Recovery(samples, direct_upload=True, image_state=True)
    recovery.upload_all(image=2)
    assert flags(recovery) == [("bootable", "confirmed", "active"), ("bootable",)]
    answer = recovery.state(hash=recovery.digest(recovery.new), confirm=False)
    assert list(answer["images"][1]) == ["bootable", "pending", "slot", "hash", "version"]
    assert flags(recovery) == [("bootable", "confirmed"), ("bootable", "pending")]
    keys = [samples.public_key_pem]
    assert boot(recovery.flash, recovery.layout, keys).version == "1.1.0"
    recovery.start()
    assert flags(recovery) == [("bootable", "active"), ("bootable", "confirmed")]
    # Whoever confirms the running image here gets the old one, for good.
    recovery.state(hash=recovery.digest(recovery.new), confirm=True)
    assert flags(recovery) == [("bootable", "confirmed"), ("bootable", "pending", "permanent")]
    outcome = boot(recovery.flash, recovery.layout, keys, downgrade_prevention=False)
    assert (outcome.version, outcome.swap_type) == ("1.0.0", SwapType.PERM)


def test_given_a_confirm_of_the_other_image_then_it_stays_after_the_swap(samples: SampleImages) -> None:
    recovery = Recovery(samples, direct_upload=True, image_state=True)
    recovery.upload_all(image=2)
    recovery.state(confirm=True)
    keys = [samples.public_key_pem]
    assert boot(recovery.flash, recovery.layout, keys).swap_type is SwapType.PERM
    assert boot(recovery.flash, recovery.layout, keys).swap_type is SwapType.NONE


def test_given_impossible_marks_then_each_has_its_code(samples: SampleImages) -> None:
    recovery = Recovery(samples, direct_upload=True, image_state=True)
    assert recovery.state(hash=b"short", confirm=True) == {"rc": 3}
    assert recovery.state(hash=bytes(32), confirm=True) == {"rc": 5}
    assert recovery.state(confirm="yes") == {"rc": 3}
    secondary = recovery.layout.secondary
    recovery.flash.program(secondary.end - 16, bytes(16))
    assert recovery.state(confirm=True) == {"rc": 3}
    assert recovery.flash.is_erased(secondary.address, secondary.size), "a spoiled trailer costs the slot"


def test_given_strict_marks_then_what_waits_or_is_gone_back_to_cannot_be_marked_and_what_runs_can_be_confirmed(
    samples: SampleImages,
) -> None:
    recovery = Recovery(samples, direct_upload=True, image_state=True, strict_marks=True)
    recovery.upload_all(image=2)
    old, new = recovery.digest(recovery.old), recovery.digest(recovery.new)
    assert flags(recovery) == [("bootable", "confirmed"), ("bootable",)]
    assert recovery.state(hash=old) == {"rc": 3}
    assert "images" in recovery.state(hash=new)
    assert flags(recovery) == [("bootable", "confirmed"), ("bootable", "pending")]
    for confirm in (False, True):
        assert recovery.state(hash=new, confirm=confirm) == {"rc": 6}
    keys = [samples.public_key_pem]
    assert boot(recovery.flash, recovery.layout, keys).version == "1.1.0"
    recovery.start()
    assert flags(recovery) == [("bootable",), ("bootable", "confirmed")]
    for confirm in (False, True):
        assert recovery.state(hash=old, confirm=confirm) == {"rc": 6}
    assert "images" in recovery.state(hash=new, confirm=True)
    assert boot(recovery.flash, recovery.layout, keys).swap_type is SwapType.NONE


def test_given_strict_marks_and_no_digest_then_the_primary_slot_is_marked(samples: SampleImages) -> None:
    recovery = Recovery(samples, direct_upload=True, image_state=True, strict_marks=True)
    recovery.upload_all(image=2)
    recovery.state(confirm=True)
    assert swap_type(recovery.flash, recovery.layout) is SwapType.NONE
    assert Trailer(recovery.flash, recovery.layout.primary).state().magic is Magic.GOOD


def test_given_strict_marks_and_a_spoiled_primary_trailer_then_its_image_cannot_be_confirmed(
    samples: SampleImages,
) -> None:
    recovery = Recovery(samples, image_state=True, strict_marks=True)
    recovery.flash.program(recovery.layout.primary.end - 16, bytes(16))
    assert recovery.state(hash=recovery.digest(recovery.old), confirm=True) == {"rc": 4}


def test_given_a_build_without_digests_then_none_are_listed(samples: SampleImages) -> None:
    recovery = Recovery(samples, image_hash=False)
    assert recovery.state() == {"images": [{"slot": 0, "version": "1.0.0"}]}
