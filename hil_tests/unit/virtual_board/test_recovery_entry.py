"""The ways into serial recovery and out of it, on a board with its line."""

import time
from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import UsageError
from bridge.lab.sample_images import SampleImages
from bridge.virtual.bootloader_options import BootloaderOptions, RecoveryEntry, default_options, parse_entries
from bridge.virtual.events import BoardEvent
from bridge.virtual.faults import FaultPlan
from bridge.virtual.layout import layout_of
from bridge.virtual.mcuboot import running_version
from bridge.virtual.smp_options import SmpOptions
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame
from bridge.wire.smp_message import ImageCommand, OsCommand, SmpGroup, SmpMessage, SmpOp
from hil_tests.unit.virtual_board.tapped import TappedBoard

CHUNK = 512
ECHO_CONTROL = SmpMessage(SmpOp.WRITE, SmpGroup.OS, OsCommand.ECHO_CONTROL, {}, 1)


class Bench(TappedBoard):
    """A tapped board and a hand that speaks SMP."""

    def __init__(self, samples: SampleImages, *entries: str, **options: Any) -> None:
        bootloader = options.pop("bootloader", BootloaderOptions())
        bootloader = replace(bootloader, entries=parse_entries(entries))
        super().__init__(samples, **{"firmware": "smp", "bootloader": bootloader, **options})
        self.samples = samples
        self._decoder = SmpFrameDecoder()

    def answer(self, timeout_s: float = 5) -> SmpMessage:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            for message in self._decoder.feed(self.cable.read(max(1, self.cable.readable()), 0.05)):
                return SmpMessage.decode(message)
        raise AssertionError("no answer")

    def silent(self) -> bool:
        """Whether nothing comes although the board has nothing left to do."""
        return self.cable.read(1, 0.1) == b""

    def ask_smp(
        self, group: int, command: int, body: dict[str, Any] | None = None, op: int = SmpOp.WRITE
    ) -> Any:
        self.send(encode_frame(SmpMessage(op, group, command, body or {}, 5).encode()))
        return dict(self.answer().body)

    def in_recovery(self) -> bool:
        """Recovery answers "echo control", an application does not know it."""
        return bool(self.ask_smp(SmpGroup.OS, OsCommand.ECHO_CONTROL) == {"rc": 0})

    def upload(self, content: bytes, until: int | None = None, **first: Any) -> int:
        offset = 0
        end = len(content) if until is None else until
        while offset < end:
            body: dict[str, Any] = {"off": offset, "data": content[offset : offset + CHUNK]}
            if offset == 0:
                body |= {"len": len(content), **first}
            answer = self.ask_smp(SmpGroup.IMAGE, ImageCommand.UPLOAD, body)
            assert answer["rc"] == 0
            offset = answer["off"]
        return offset

    def send_when(self, kind: str, data: bytes) -> None:
        """Send bytes at the moment of the first event of a kind; simulated time does not wait for this thread."""
        sent = False

        def send_once(event: BoardEvent) -> None:
            nonlocal sent
            if event.kind == kind and not sent:
                sent = True
                self.send(data)

        self.board.on_event(send_once)

    def reset_by_smp(self, **body: Any) -> None:
        self.ask_smp(SmpGroup.OS, OsCommand.RESET, body)

    def entries(self) -> list[object]:
        return [event["entry"] for event in self.events("recovery")]


def test_given_no_recovery_then_a_held_button_means_nothing(samples: SampleImages) -> None:
    with Bench(samples, button_held=True) as bench:
        bench.board.wait_for_event("ready")
        assert not bench.in_recovery()


def test_given_the_button_at_power_on_then_recovery_and_after_a_soft_reset_the_application(
    samples: SampleImages,
) -> None:
    with Bench(samples, "button", button_held=True) as bench:
        assert bench.board.wait_for_event("recovery").details == {"entry": "button"}
        assert bench.in_recovery()
        bench.reset_by_smp()
        bench.board.wait_for_event("ready")
        assert bench.events("reset") == [{"reason": "recovery"}]
        bench.board.reset()
        bench.board.wait_for_event("recovery", count=2)
        bench.board.release_button()
        bench.board.reset()
        bench.board.wait_for_event("ready", count=2)
        bench.board.hold_button()
        bench.board.power_cut()
        bench.board.power_on()
        bench.board.wait_for_event("recovery", count=3)


def test_given_firmware_mcuboot_then_the_button_is_held_down_and_the_image_can_be_replaced(
    samples: SampleImages,
) -> None:
    board = TappedBoard(samples, firmware="mcuboot")
    with board:
        assert board.board.wait_for_event("recovery").details == {"entry": "button"}
        board.send(encode_frame(ECHO_CONTROL.encode()))
        board.read_until(b"\n")
        board.board.release_button()
        board.board.reset()
        board.board.wait_for_event("ready")


def test_given_a_pin_reset_then_recovery_once(samples: SampleImages) -> None:
    with Bench(samples, "pin-reset") as bench:
        bench.board.wait_for_event("ready")
        bench.board.reset()
        assert bench.board.wait_for_event("recovery").details == {"entry": "pin-reset"}
        bench.reset_by_smp()
        bench.board.wait_for_event("ready", count=2)


def test_given_the_note_of_the_application_then_recovery_once(samples: SampleImages) -> None:
    with Bench(samples, "boot-mode", smp=SmpOptions(boot_mode=True)) as bench:
        bench.board.wait_for_event("ready")
        bench.reset_by_smp(boot_mode=1)
        assert bench.board.wait_for_event("recovery").details == {"entry": "boot-mode"}
        assert len(bench.events("boot")) == 2, "the images are looked at first"
        assert bench.in_recovery()
        bench.reset_by_smp()
        bench.board.wait_for_event("ready", count=2)
        bench.reset_by_smp(boot_mode=0)
        bench.board.wait_for_event("ready", count=3)
        assert bench.entries() == ["boot-mode"]


def test_given_a_loss_of_power_then_the_note_is_forgotten(samples: SampleImages) -> None:
    with Bench(samples, "boot-mode", smp=SmpOptions(boot_mode=True)) as bench:
        bench.board.wait_for_event("ready")
        bench.board.call(lambda: setattr(bench.board._life.retained, "boot_mode", 1))
        bench.board.power_cut()
        bench.board.power_on()
        bench.board.wait_for_event("ready", count=2)


def test_given_an_application_built_without_it_then_no_note_is_left(samples: SampleImages) -> None:
    with Bench(samples, "boot-mode") as bench:
        bench.board.wait_for_event("ready")
        bench.reset_by_smp(boot_mode=1)
        bench.board.wait_for_event("ready", count=2)
        assert not bench.entries()


def test_given_no_application_then_recovery_or_nothing(samples: SampleImages) -> None:
    with Bench(samples, "no-application", factory_image=b"\xff" * 64) as bench:
        assert bench.board.wait_for_event("recovery").details == {"entry": "no-application"}
        bench.upload(samples.application("1.1.0").read_bytes())
        bench.reset_by_smp()
        assert bench.board.wait_for_event("ready").details == {"version": "1.1.0"}
    with Bench(samples, "button", factory_image=b"\xff" * 64) as bench:
        bench.board.wait_for_event("no-image")
        bench.send(encode_frame(ECHO_CONTROL.encode()))
        assert bench.silent()


@pytest.mark.parametrize(
    ("entries", "recovers"), [(("button",), False), (("button", "no-application"), True)]
)
def test_given_half_an_upload_and_a_reset_then_only_one_way_in_saves_the_board(
    entries: tuple[str, ...], recovers: bool, samples: SampleImages
) -> None:
    image = samples.application("1.1.0").read_bytes()
    with Bench(samples, *entries, button_held=True) as bench:
        bench.board.wait_for_event("recovery")
        bench.upload(image, until=len(image) // 2)
        bench.board.release_button()
        bench.board.reset()
        bench.board.wait_for_event("no-image")
        if not recovers:
            bench.send(encode_frame(ECHO_CONTROL.encode()))
            assert bench.silent()
            bench.board.hold_button()
            bench.board.reset()
        bench.board.wait_for_event("recovery", count=2)
        bench.upload(image)
        bench.board.release_button()
        bench.reset_by_smp()
        assert bench.board.wait_for_event("ready").details == {"version": "1.1.0"}


def test_given_a_window_then_a_command_in_it_means_recovery(samples: SampleImages) -> None:
    bench = Bench(samples, "window")
    bench.send_when("boot", encode_frame(ECHO_CONTROL.encode()))
    with bench:
        assert bench.answer().body == {"rc": 0}
        assert bench.board.wait_for_event("recovery").details == {"entry": "window"}
        assert bench.in_recovery()
        bench.reset_by_smp()
        bench.board.wait_for_event("ready")


def test_given_a_window_and_no_command_then_the_application_starts_half_a_second_later(
    samples: SampleImages,
) -> None:
    def ready_s(*entries: str, text: bytes = b"") -> float:
        bench = Bench(samples, *entries)
        if text:
            bench.send_when("boot", text)
        with bench:
            return bench.board.wait_for_event("ready").time_s

    plain = ready_s()
    assert ready_s("window") - plain == pytest.approx(0.5, abs=0.01)
    assert ready_s("window", text=b"AT\r\n\x06\x09AAAA\n") - plain == pytest.approx(0.5, abs=0.01)


def test_given_a_reset_request_then_it_is_answered_first_and_carried_out_a_quarter_second_later(
    samples: SampleImages,
) -> None:
    with Bench(samples, "button", button_held=True) as bench:
        bench.board.wait_for_event("recovery")
        assert bench.ask_smp(SmpGroup.OS, OsCommand.RESET) == {"rc": 0}
        answered_ms = bench.sent_at_ms(b"\x06\x09")
        reset = bench.board.wait_for_event("reset")
        assert reset.time_s * 1000 - answered_ms == pytest.approx(250, abs=1)


def test_given_recovery_then_nothing_but_answers_is_on_the_line(samples: SampleImages) -> None:
    with Bench(samples, "button", button_held=True) as bench:
        bench.board.wait_for_event("recovery")
        bench.send(b"AT\r\nhello\n" + encode_frame(bytes(300), 512) + encode_frame(ECHO_CONTROL.encode()))
        bench.answer()
        sent = b"".join(data for _, data in bench.sent)
        assert sent.startswith(b"\x06\x09")
        assert sent.count(b"\n") == 1


def test_given_a_packet_of_more_lines_than_buffers_then_it_depends_on_the_reader_and_is_never_answered_wrongly(
    samples: SampleImages,
) -> None:
    few = BootloaderOptions(line_buffers=2)
    with Bench(samples, "button", bootloader=few, button_held=True) as bench:
        bench.board.wait_for_event("recovery")
        messages = b"".join(
            encode_frame(replace(ECHO_CONTROL, sequence=number).encode()) for number in range(9)
        )
        bench.send(messages)
        assert bench.answer().sequence == 0
        assert bench.board.wait_for_event("lines-full").details["count"]


def test_given_power_that_fails_in_an_upload_then_recovery_starts_from_nothing(samples: SampleImages) -> None:
    image = samples.application("1.1.0").read_bytes()
    plan = FaultPlan(power_cut_at_flash_operation=20)
    with Bench(samples, "button", button_held=True, faults=plan) as bench:
        bench.board.wait_for_event("recovery")
        with pytest.raises(AssertionError, match="no answer"):
            bench.upload(image)
        bench.board.wait_for_event("power-off")
        bench.board.power_on()
        bench.board.wait_for_event("recovery", count=2)
        assert bench.ask_smp(SmpGroup.IMAGE, ImageCommand.UPLOAD, {"off": 0x7FFFFFFF, "data": b""}) == {
            "rc": 0,
            "off": 0,
        }
        bench.upload(image)
        assert running_version(bench.board.flash, bench.board.layout) == "1.1.0"


def test_given_thingy91_then_it_ships_with_recovery_and_lines_of_512(samples: SampleImages) -> None:
    with Bench(samples, model="thingy91", bootloader=default_options("thingy91")) as bench:
        assert bench.board._build.bootloader.line_bytes == 512
    with TappedBoard(samples, model="thingy91", button_held=True) as board:
        assert board.board.wait_for_event("recovery").details == {"entry": "button"}
        board.send(encode_frame(replace(ECHO_CONTROL, body={"x": bytes(250)}).encode(), 512))
        assert board.read_until(b"\n").startswith(b"\x06\x09")


def test_given_thingy91x_then_a_trial_can_be_set_up_from_recovery(samples: SampleImages) -> None:
    address = layout_of("thingy91x").primary.address
    image = samples.application("1.1.0", primary_address=address).read_bytes()
    options = default_options("thingy91x")
    entries = [str(entry) for entry in options.entries]
    with Bench(samples, *entries, model="thingy91x", bootloader=options, button_held=True) as bench:
        bench.board.wait_for_event("recovery")
        bench.upload(image, image=2)
        images = bench.ask_smp(SmpGroup.IMAGE, ImageCommand.STATE, op=SmpOp.READ)["images"]
        assert [image["version"] for image in images] == ["1.0.0", "1.1.0"]
        bench.ask_smp(SmpGroup.IMAGE, ImageCommand.STATE, {"hash": images[1]["hash"], "confirm": False})
        bench.board.release_button()
        bench.reset_by_smp()
        assert bench.board.wait_for_event("ready").details == {"version": "1.1.0"}


def test_given_names_then_they_are_ways_in_or_refused() -> None:
    assert parse_entries(["button", "window"]) == {RecoveryEntry.BUTTON, RecoveryEntry.WINDOW}
    assert parse_entries(["none"]) == parse_entries([""]) == frozenset()
    with pytest.raises(UsageError, match="door"):
        parse_entries(["door"])
