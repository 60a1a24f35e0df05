"""What a start of the board comes to: trials, refusals, crashes, late and silent applications, power cuts."""

import pytest

from bridge.errors import UsageError
from bridge.lab.sample_images import SampleImages
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import FaultPlan
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.modem import ModemOptions
from hil_tests.unit.virtual_board.tapped import TappedBoard


def transfer(tapped: TappedBoard, image: bytes, kind: int = 0, end: bytes = b",2,0\r\n") -> None:
    """Write and apply an image."""
    tapped.ask(f"AT#XDFUINIT={kind},{len(image)}")
    tapped.send(b"AT#XDFUWRITE=%d,0,%d\r" % (kind, len(image)) + image)
    tapped.read_until(b"#XDFU: %d,1,0\r\n" % kind)
    tapped.ask(f"AT#XDFUAPPLY={kind}")
    tapped.read_until(b"#XDFU: %d" % kind + end)


def test_an_image_that_never_confirms_is_reverted_by_the_next_reset(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        transfer(tapped, samples.application("2.0.0", behaviour={"confirm": False}).read_bytes())
        tapped.ask("AT#XRESET")
        tapped.read_until(b"Ready\r\n")
        assert b"v2.0.0" in tapped.ask("AT#XSMVER")
        assert swap_type(tapped.board.flash, tapped.board.layout) is SwapType.REVERT
        answer = tapped.ask("AT#XRESET") + tapped.read_until(b"Ready\r\n")
        assert b"v1.0.0" in tapped.ask("AT#XSMVER")
        assert b"#XFOTA" not in answer
        assert not tapped.events("confirmed")


def test_an_image_that_is_late_is_late_by_what_its_block_says(samples: SampleImages) -> None:
    def ready_after_s(delay_ms: int) -> float:
        image = samples.application("1.0.0", behaviour={"ready_delay_ms": delay_ms}).read_bytes()
        with TappedBoard(samples, factory_image=image) as tapped:
            return tapped.board.wait_for_event("ready").time_s

    assert ready_after_s(7000) - ready_after_s(0) == pytest.approx(7, abs=0.001)


def test_an_image_that_fills_its_slot_cannot_be_applied(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        slot = tapped.board.layout.secondary
        transfer(tapped, b"\x5a" * slot.size, end=b",2,-1\r\n")
        assert tapped.board.flash.is_erased(slot.address, slot.size)


def test_a_confirmed_image_that_crashes_hangs_in_the_end(samples: SampleImages) -> None:
    image = samples.application("1.0.0", behaviour={"crash_loop": True}).read_bytes()
    with TappedBoard(samples, factory_image=image) as tapped:
        tapped.board.wait_for_event("hung")
        assert len(tapped.events("crash")) == 20
        assert tapped.sent == []


def test_power_that_fails_in_a_transfer_leaves_the_old_image(samples: SampleImages) -> None:
    image = samples.application("2.0.0").read_bytes()
    with TappedBoard(samples, faults=FaultPlan(power_cut_at_flash_operation=20)) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask(f"AT#XDFUINIT=0,{len(image)}")
        tapped.send(b"AT#XDFUWRITE=0,0,%d\r" % len(image) + image)
        tapped.board.wait_for_event("power-off")
        assert not tapped.board._life.powered
        tapped.send(b"AT\r")  # nobody is there
        tapped.cable.wait_sent(1)
        tapped.cable.drop_input()
        tapped.board.power_on()
        tapped.read_until(b"Ready\r\n")
        assert b"v1.0.0" in tapped.ask("AT#XSMVER")
        transfer(tapped, image)
        tapped.ask("AT#XRESET")
        tapped.read_until(b"#XFOTA: 5,0\r\n")


@pytest.mark.parametrize("operation", [95, 120, 150])
def test_power_that_fails_in_a_swap_delays_it(samples: SampleImages, operation: int) -> None:
    image = samples.application("2.0.0").read_bytes()
    with TappedBoard(samples, faults=FaultPlan(power_cut_at_flash_operation=operation)) as tapped:
        tapped.read_until(b"Ready\r\n")
        transfer(tapped, image)
        tapped.ask("AT#XRESET")
        assert tapped.board.wait_for_event("power-off").details == {"reason": "fault plan"}
        assert len(tapped.events("ready")) == 1
        tapped.board.power_on()
        tapped.read_until(b"#XFOTA: 5,0\r\n")
        assert running_version(tapped.board.flash, tapped.board.layout) == "2.0.0"


def test_a_delta_that_low_voltage_postponed_is_tried_again_at_the_next_start(samples: SampleImages) -> None:
    delta = samples.modem_delta("2.0.2", "2.0.3").read_bytes()
    with TappedBoard(samples, modem=ModemOptions(battery_mv=2500)) as tapped:
        tapped.read_until(b"Ready\r\n")
        transfer(tapped, delta, kind=1)
        tapped.send(b"AT#XMODEMRESET\r")
        answer = tapped.read_until(b"OK\r\n")
        assert answer == b"\r\n#XFOTA: 4,1,71303173\r\n\r\n#XMODEMRESET: 2,-11\r\n\r\nOK\r\n"
        assert tapped.ask("AT+CGMR", b"ERROR\r\n") == b"\r\nERROR\r\n"  # the modem does not run
        tapped.board._build.modem = ModemOptions()  # somebody charges the battery
        tapped.ask("AT#XRESET")
        tapped.read_until(b"Ready\r\n")
        tapped.read_until(b"#XFOTA: 5,0\r\n")
        assert b"mfw_nrf91x1_2.0.3" in tapped.ask("AT+CGMR")


def test_a_modem_that_does_not_start_leaves_only_the_bootloader_mode(samples: SampleImages) -> None:
    delta = samples.modem_delta("2.0.2", "2.0.3", result=71_303_170).read_bytes()
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        transfer(tapped, delta, kind=1)
        tapped.ask("AT#XRESET")
        tapped.read_until(b"Bootloader mode ready\r\n")
        assert tapped.ask("AT", b"ERROR\r\n") == b"\r\nERROR\r\n"
        tapped.send(b"AT#XRESET\r")
        tapped.read_until(b"Ready\r\n")


@pytest.mark.parametrize("step", ["dirty", "blank"])
def test_a_delta_area_that_is_not_ready_takes_nothing(samples: SampleImages, step: str) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.board.modem_nvm.delta.dirty = step == "dirty"
        if step == "dirty":
            tapped.send(b"AT#XDFUWRITE=1,0,4\r" + bytes(4) + b"AT\r")
            tapped.read_until(b"#XDFU: 1,1,-1\r\n")
        tapped.ask("AT#XDFUAPPLY=1")
        tapped.read_until(b"#XDFU: 1,2,-1\r\n")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"firmware": "blinky"}, "unknown-firmware"), ({"baud": 9600}, "bad-baud"), ({"model": "x"}, "unknown-model"),
     ({"factory_image": bytes(1 << 20)}, "image-too-large")],
)  # fmt: skip
def test_a_board_that_cannot_be_is_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        VirtualBoard(**options)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.reason == reason


def test_listeners_hear_what_happens_and_errors_reach_the_caller(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.board.wait_for_event("ready")
        heard: list[str] = []
        tapped.board.on_event(lambda event: heard.append(event.kind))
        tapped.board.power_cut()
        tapped.board.reset()  # a button without power does nothing
        tapped.board.power_on()
        tapped.board.wait_for_event("ready", count=2)
        assert heard == ["power-off", "power-on", "boot", "ready"]
        with pytest.raises(ZeroDivisionError):
            tapped.board.call(lambda: 1 // 0)
        with pytest.raises(TimeoutError, match="no-image"):
            tapped.board.wait_for_event("no-image", timeout_s=0)
