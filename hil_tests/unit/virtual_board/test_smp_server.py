"""Zephyr's SMP server on the virtual board: each rule of its upload and of its image states, message by message."""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from bridge.image import inspect_bytes
from bridge.lab.sample_images import SampleImages
from bridge.virtual.flash import Flash
from bridge.virtual.layout import layout_of
from bridge.virtual.mcuboot import boot
from bridge.virtual.retention import RetainedState
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.smp_zephyr import ZephyrSmpServer
from bridge.virtual.trailer import SwapType
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp

from .conftest import Hand

CHUNK = 320


class Client:
    """Sends messages to a server that has no line in front of it."""

    def __init__(self, samples: SampleImages, **options: Any) -> None:
        self.layout = layout_of("nrf9151dk")
        self.flash = Flash(self.layout.flash_size)
        self.samples = samples
        self.flash.program(self.layout.primary.address, samples.application("1.0.0").read_bytes())
        self.new = samples.application("1.1.0").read_bytes()
        self.resets = 0
        self.start(**options)

    def start(self, **options: Any) -> None:
        self.retained = RetainedState()
        smp = SmpOptions(**options)
        self.server = ZephyrSmpServer(self.flash, self.layout, smp, self._reset, self.retained)

    def _reset(self) -> None:
        self.resets += 1

    def ask(
        self, op: int, group: int, command: int, body: dict[str, Any] | None = None, version: int = 1
    ) -> Any:
        answer = self.server.handle(SmpMessage(op, group, command, body or {}, 9, version).encode())
        assert answer is not None
        decoded = SmpMessage.decode(answer)
        assert (decoded.op, decoded.group, decoded.command, decoded.sequence) == (op + 1, group, command, 9)
        return dict(decoded.body)

    def upload(self, version: int = 1, **body: Any) -> Any:
        return self.ask(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body, version)

    def first(self, **more: Any) -> Any:
        return self.upload(**{"off": 0, "len": len(self.new), "data": self.new[:CHUNK], **more})

    def upload_all(self) -> None:
        offset = self.first()["off"]
        while offset < len(self.new):
            offset = self.upload(off=offset, data=self.new[offset : offset + CHUNK])["off"]

    def state(self, **body: Any) -> Any:
        op = SmpOp.WRITE if body else SmpOp.READ
        return self.ask(op, SmpGroup.IMAGE, ImageCommand.STATE, body)

    def flags(self) -> list[set[str]]:
        names = ("pending", "confirmed", "active", "permanent", "bootable")
        return [{name for name in names if image[name]} for image in self.state()["images"]]

    def boot(self) -> SwapType:
        outcome = boot(self.flash, self.layout, [self.samples.public_key_pem])
        assert outcome.bootable
        self.start()
        return outcome.swap_type

    @property
    def digest(self) -> bytes:
        image = inspect_bytes(self.new, "new")
        assert image.mcuboot is not None
        return bytes.fromhex(image.mcuboot.digest)


@pytest.fixture
def client(samples: SampleImages) -> Client:
    return Client(samples)


def error(code: int) -> dict[str, Any]:
    return {"err": {"group": 1, "rc": code}}


def test_given_a_whole_upload_then_the_slot_holds_the_image_and_lists_it(client: Client) -> None:
    client.upload_all()
    secondary = client.layout.secondary
    assert client.flash.read(secondary.address, len(client.new)) == client.new
    first, second = client.state()["images"]
    assert (first["slot"], first["version"], second["slot"], second["version"]) == (0, "1.0.0", 1, "1.1.0")
    assert second["hash"] == client.digest
    assert client.flags() == [{"active", "confirmed", "bootable"}, {"bootable"}]


def test_given_a_wrong_offset_then_the_expected_one_is_answered_and_nothing_is_written(
    client: Client,
) -> None:
    client.first()
    before = client.flash.operations
    assert client.upload(off=CHUNK * 2, data=b"x" * CHUNK) == {"off": CHUNK}
    assert client.upload(off=8, data=b"x") == {"off": CHUNK}
    assert client.flash.operations == before


def test_given_the_same_sha_then_the_session_goes_on_and_another_sha_starts_again(client: Client) -> None:
    sha = hashlib.sha256(client.new).digest()
    client.first(sha=sha)
    assert client.upload(off=CHUNK, data=client.new[CHUNK : 2 * CHUNK]) == {"off": 2 * CHUNK}
    assert client.first(sha=sha) == {"off": 2 * CHUNK}
    assert client.first(sha=bytes(32)) == {"off": CHUNK}


def test_given_a_reset_in_between_then_the_session_is_gone(client: Client) -> None:
    client.first()
    client.start()
    assert client.upload(off=CHUNK, data=b"x" * CHUNK) == {"off": 0}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data": b"\x3d\xb8\xf3\x96"}, 22),
        ({"len": None}, 21),
        ({"off": None}, 20),
        ({"data": bytes(64)}, 23),
        ({"len": 1 << 20}, 30),
    ],
    ids=["short", "no-len", "no-off", "no-magic", "too-large"],
)
def test_given_a_bad_first_request_then_it_is_refused_by_its_code(
    client: Client, changes: dict[str, Any], code: int
) -> None:
    body = {"off": 0, "len": len(client.new), "data": client.new[:CHUNK], **changes}
    assert client.upload(**{key: value for key, value in body.items() if value is not None}) == error(code)


def test_given_more_data_than_announced_then_it_is_an_overrun(client: Client) -> None:
    client.first(len=CHUNK + 4)
    assert client.upload(off=CHUNK, data=bytes(8)) == error(31)


def test_given_an_upgrade_only_upload_of_the_running_version_then_it_is_refused(client: Client) -> None:
    client.new = client.samples.application("1.0.0").read_bytes()
    assert client.first(upgrade=True) == error(27)


def test_given_the_first_version_of_smp_then_errors_are_translated_and_explained(client: Client) -> None:
    answer = client.upload(version=0, off=0, len=1000, data=bytes(64))
    assert answer == {"rc": 1, "rsn": "magic mismatch"}
    assert client.upload(version=0, len=1000) == {"rc": 3, "rsn": "header malformed"}


def test_given_used_flash_when_uploading_then_it_is_erased_before_the_first_answer(client: Client) -> None:
    secondary = client.layout.secondary
    client.flash.program(secondary.address, bytes(secondary.size))
    client.first()
    whole_pages = -(-len(client.new) // 4096) * 4096
    assert client.flash.is_erased(secondary.address + 4096, whole_pages - 4096)
    assert client.flash.is_erased(secondary.end - 4096, 4096)


def test_given_progressive_erase_then_only_the_trailer_goes_at_first(samples: SampleImages) -> None:
    client = Client(samples, progressive_erase=True)
    secondary = client.layout.secondary
    client.flash.program(secondary.address, bytes(secondary.size))
    client.first()
    assert not client.flash.is_erased(secondary.address + 8192, 4096)
    client.upload_all()
    assert client.flash.read(secondary.address, len(client.new)) == client.new


def test_given_test_confirm_and_reboots_then_flags_and_swaps_follow(client: Client) -> None:
    client.upload_all()
    client.state(hash=client.digest)
    assert client.flags() == [{"active", "confirmed", "bootable"}, {"pending", "bootable"}]
    assert client.first() == error(9)
    assert client.boot() is SwapType.TEST
    assert client.flags() == [{"active", "bootable"}, {"confirmed", "bootable"}]
    client.state(confirm=True)
    assert client.flags() == [{"active", "confirmed", "bootable"}, {"bootable"}]
    assert client.boot() is SwapType.NONE


def test_given_an_unconfirmed_image_then_the_next_boot_reverts_it(client: Client) -> None:
    client.upload_all()
    client.state(hash=client.digest)
    client.boot()
    assert client.state(hash=client.state()["images"][1]["hash"]) == error(28)
    assert client.boot() is SwapType.REVERT
    assert client.state()["images"][0]["version"] == "1.0.0"


def test_given_a_confirm_of_the_other_image_then_it_is_permanent(client: Client) -> None:
    client.upload_all()
    client.state(hash=client.digest, confirm=True)
    assert client.flags()[1] == {"pending", "permanent", "bootable"}
    assert client.boot() is SwapType.PERM
    assert client.boot() is SwapType.NONE


def test_given_impossible_state_writes_then_each_has_its_code(client: Client) -> None:
    running = client.state()["images"][0]["hash"]
    assert client.state(confirm=False) == error(24)
    assert client.state(hash=b"short") == error(24)
    assert client.state(hash=bytes(32)) == error(8)
    assert client.state(hash=running) == error(33)
    assert client.state(hash=running, confirm=True)["images"][0]["confirmed"] is True


def test_given_erase_then_the_slot_is_blank_unless_it_is_needed(client: Client) -> None:
    erase: Callable[..., Any] = lambda **body: client.ask(SmpOp.WRITE, 1, ImageCommand.ERASE, body)  # noqa: E731
    client.upload_all()
    assert erase() == {}
    assert len(client.state()["images"]) == 1
    assert erase(slot=0) == error(9)
    assert erase(slot=7) == error(14)
    client.upload_all()
    client.state(hash=client.digest)
    assert erase() == error(9)


def test_given_os_commands_then_they_answer(client: Client) -> None:
    assert client.ask(SmpOp.WRITE, 0, OsCommand.ECHO, {"d": "hello"}) == {"r": "hello"}
    assert client.ask(SmpOp.READ, 0, OsCommand.PARAMETERS) == {"buf_size": 384, "buf_count": 4}
    assert client.ask(SmpOp.READ, 0, OsCommand.BOOTLOADER_INFO) == {"bootloader": "MCUboot"}
    assert client.ask(SmpOp.READ, 0, OsCommand.BOOTLOADER_INFO, {"query": "mode"}) == {"mode": 3}
    assert client.ask(SmpOp.WRITE, 0, OsCommand.RESET) == {}
    assert client.resets == 1
    assert client.ask(SmpOp.READ, 1, ImageCommand.SLOT_INFO)["images"][0]["slots"][1]["size"] == 0x6E000


@pytest.mark.parametrize(
    ("wanted", "output"),
    [
        ("", "Zephyr"),
        ("s", "Zephyr"),
        ("pm", "arm cortex-m33"),
        ("i", "nrf9151dk/nrf9151/ns"),
        ("a", "Zephyr unknown v4.1.99 4.1.99 arm cortex-m33 nrf9151dk/nrf9151/ns Zephyr"),
    ],
)
def test_given_the_letters_of_uname_then_the_system_tells_in_its_own_order(
    client: Client, wanted: str, output: str
) -> None:
    assert client.ask(SmpOp.READ, 0, OsCommand.INFO, {"format": wanted}) == {"output": output}


def test_given_a_letter_that_uname_does_not_know_then_it_is_an_error_of_the_os_group(client: Client) -> None:
    assert client.ask(SmpOp.READ, 0, OsCommand.INFO, {"format": "sx"}) == {"err": {"group": 0, "rc": 2}}
    assert client.ask(SmpOp.READ, 0, OsCommand.INFO, {"format": "sx"}, version=0) == {"rc": 3}
    client.start(os_info=False)
    assert client.ask(SmpOp.READ, 0, OsCommand.INFO) == {"rc": 8}


def test_given_echo_control_or_an_unknown_question_to_the_bootloader_then_they_are_refused(
    client: Client,
) -> None:
    assert client.ask(SmpOp.WRITE, 0, OsCommand.ECHO_CONTROL, {"echo": 0}) == {"rc": 8}
    assert client.ask(SmpOp.READ, 0, OsCommand.BOOTLOADER_INFO, {"query": "colour"}) == {"rc": 3}
    client.start(no_downgrade=True)
    answer = client.ask(SmpOp.READ, 0, OsCommand.BOOTLOADER_INFO, {"query": "mode"})
    assert answer == {"mode": 3, "no-downgrade": True}


@pytest.mark.parametrize(
    ("body", "resets"), [({}, 0), ({"force": 1}, 0), ({"force": False}, 0), ({"force": True}, 1)]
)
def test_given_an_application_that_is_busy_then_only_force_resets_it(
    samples: SampleImages, body: dict[str, Any], resets: int
) -> None:
    client = Client(samples, reset_busy=True)
    assert client.ask(SmpOp.WRITE, 0, OsCommand.RESET, body) == ({} if resets else {"rc": 10})
    assert client.resets == resets


@pytest.mark.parametrize(
    ("built", "mode", "left", "answer"),
    [(True, 1, 1, {}), (True, 0, 0, {}), (True, 300, 0, {"rc": 3}), (False, 1, 0, {}), (True, "x", 0, {})],
)
def test_given_a_boot_mode_then_it_is_left_for_the_bootloader_where_the_build_can(
    samples: SampleImages, built: bool, mode: object, left: int, answer: dict[str, Any]
) -> None:
    client = Client(samples, boot_mode=built)
    assert client.ask(SmpOp.WRITE, 0, OsCommand.RESET, {"boot_mode": mode}) == answer
    assert client.retained.boot_mode == left


def test_given_a_frugal_build_then_only_flags_that_are_set_are_listed(samples: SampleImages) -> None:
    client = Client(samples, frugal_list=True)
    client.upload_all()
    answer = client.state()
    assert list(answer) == ["images"]
    assert [list(image)[3:] for image in answer["images"]] == [
        ["bootable", "confirmed", "active"],
        ["bootable"],
    ]


def test_given_a_build_that_checks_images_then_uploads_end_with_a_match_and_twice_is_not_needed(
    samples: SampleImages,
) -> None:
    client = Client(samples, image_check=True)
    sha = hashlib.sha256(client.new).digest()
    offset = client.first(sha=bytes(32))["off"]
    while offset < len(client.new):
        answer = client.upload(off=offset, data=client.new[offset : offset + CHUNK])
        offset = answer["off"]
    assert answer == {"off": len(client.new), "match": False}
    before = client.flash.operations
    assert client.first(sha=sha) == {"off": len(client.new), "match": True}
    assert client.flash.operations == before
    assert client.first(sha=sha[:31]) == {"off": CHUNK}


def test_given_an_error_in_an_upload_then_the_session_is_over(client: Client) -> None:
    client.first(len=CHUNK + 4)
    assert client.upload(off=CHUNK, data=bytes(8)) == error(31)
    assert client.upload(off=CHUNK, data=bytes(4)) == {"off": 0}


def test_given_one_image_then_its_number_means_nothing(client: Client) -> None:
    assert client.first(image=3) == {"off": CHUNK}
    assert client.upload(off=0, len=8, data=bytes(64), image="one") == {"rc": 3}


def test_given_a_sha_that_is_too_long_then_it_is_refused(client: Client) -> None:
    assert client.first(sha=bytes(33)) == error(24)


def test_given_something_pending_then_it_can_be_asked_for_again_and_not_be_changed(client: Client) -> None:
    client.upload_all()
    running = client.state()["images"][0]["hash"]
    client.state(hash=client.digest)
    assert client.state(hash=client.digest)["images"][1]["pending"]
    assert client.state(hash=client.digest, confirm=True) == error(28)
    assert client.state(confirm=True) == client.state(hash=running, confirm=True) == error(28)
    client.boot()
    old = client.state()["images"][1]["hash"]
    assert client.state(hash=old, confirm=True)["images"][1]["confirmed"], "it comes back anyway"
    assert client.boot() is SwapType.REVERT


def test_given_an_image_that_is_pending_for_good_then_nothing_else_can_be_asked_for(client: Client) -> None:
    client.upload_all()
    client.state(hash=client.digest, confirm=True)
    assert client.state(hash=client.digest, confirm=True)["images"][1]["permanent"]
    assert client.state(hash=client.digest) == client.state(confirm=True) == error(28)


def test_given_a_slot_with_anything_in_it_then_all_pages_of_an_image_are_erased(client: Client) -> None:
    client.flash.program(client.layout.secondary.end - 8192, b"x")
    client.first()
    assert client.flash.erased_pages == -(-len(client.new) // 4096) + 1
    client.start()
    client.flash.erase(client.layout.secondary.address, client.layout.secondary.size)
    before = client.flash.erased_pages
    client.first()
    assert client.flash.erased_pages == before


def test_given_a_spoiled_image_that_is_pending_then_it_can_be_erased(client: Client) -> None:
    client.upload_all()
    client.state(hash=client.digest)
    client.flash.program(client.layout.secondary.address, bytes(4))
    assert client.ask(SmpOp.WRITE, 1, ImageCommand.ERASE) == {}


def test_given_unknown_or_newer_requests_then_the_codes_of_smp_are_used(client: Client) -> None:
    assert client.ask(SmpOp.READ, 99, 0) == {"rc": 8}
    assert client.ask(SmpOp.READ, 0, OsCommand.PARAMETERS, version=2) == {"rc": 13}
    assert client.server.handle(b"short") is None
    assert client.server.handle(SmpMessage(SmpOp.READ_RESPONSE, 0, 0).encode()) is None


def test_given_a_board_with_the_server_when_frames_come_between_noise_then_it_answers_and_resets(
    samples: SampleImages, make_smp_hand: Callable[..., Hand]
) -> None:
    hand = make_smp_hand()
    hand.port.write(b"AT\r\n" + encode_frame(SmpMessage(SmpOp.WRITE, 0, 0, {"d": "x"}).encode()))
    decoder = SmpFrameDecoder()
    messages: list[bytes] = []
    while not messages:
        messages = decoder.feed(hand.read_until(b"\n"))
    assert SmpMessage.decode(messages[0]).body == {"r": "x"}
    hand.port.write(encode_frame(SmpMessage(SmpOp.WRITE, 0, OsCommand.RESET).encode()))
    hand.board.wait_for_event("ready", count=2)


def test_given_a_line_longer_than_the_buffer_then_there_is_no_answer(
    make_smp_hand: Callable[..., Hand],
) -> None:
    hand = make_smp_hand()
    message = SmpMessage(SmpOp.WRITE, 0, 0, {"d": "x" * 150}).encode()
    hand.port.write(encode_frame(message, 512))
    assert hand.silent()
    hand.port.write(encode_frame(message, 128))
    assert b"\x06\x09" in hand.read_until(b"\n")
