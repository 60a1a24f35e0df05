"""The #XDFU commands on the wire, byte by byte, and what they leave in flash."""

from collections.abc import Callable

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.virtual.faults import FaultPlan
from bridge.virtual.mcuboot import SwapType, running_version, swap_type
from bridge.virtual.modem import ModemOptions
from hil_tests.unit.virtual_board.conftest import Hand


def write(hand: Hand, kind: int, data: bytes) -> bytes:
    """One WRITE with its data; what the board says from the end of data mode to the status."""
    hand.ask(f"AT#XDFUWRITE={kind},0,{len(data)}")
    hand.port.write(data)
    return hand.read_until(f"#XDFU: {kind},1,".encode()) + hand.read_until(b"\r\n")


def install(hand: Hand, image: bytes, kind: int = 0) -> None:
    hand.ask(f"AT#XDFUINIT={kind},{len(image)}")
    for start in range(0, len(image), 8192):
        assert write(hand, kind, image[start : start + 8192]).endswith(b",0\r\n")
    hand.ask(f"AT#XDFUAPPLY={kind}")
    hand.read_until(f"#XDFU: {kind},2,0\r\n".encode())


@pytest.mark.parametrize(
    "command",
    [
        "AT#XDFUINIT",
        "AT#XDFUINIT=0",
        "AT#XDFUINIT=2",
        "AT#XDFUINIT=3",
        "AT#XDFUINIT=3,450561",
        "AT#XDFUINIT=4,100",
        "AT#XDFUINIT=0,450561",
        "AT#XDFUINIT=1,294913",
        "AT#XDFUWRITE=0,0",
        "AT#XDFUWRITE=0,0,0",
        "AT#XDFUWRITE=0,0,1,2",
        "AT#XDFUAPPLY",
        "AT#XDFUAPPLY=2",
    ],
)
def test_what_makes_no_sense_is_refused(hand: Hand, command: str) -> None:
    assert hand.ask(command, b"ERROR\r\n") == b"\r\nERROR\r\n"


def test_the_test_forms_tell_what_the_build_can_do(hand: Hand) -> None:
    assert hand.ask("AT#XDFUINIT=?") == b"\r\n#XDFUINIT: (0,1,3),<size>\r\n\r\nOK\r\n"
    assert hand.ask("AT#XDFUWRITE=?") == b"\r\n#XDFUWRITE: (0,1,3),<addr>,<len>\r\n\r\nOK\r\n"


def test_data_mode_ends_with_the_last_byte_and_the_status_has_no_crlf_before_it(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,16")
    assert write(hand, 0, bytes(16)) == b"\r\n#XDATAMODE: 0\r\n#XDFU: 0,1,0\r\n"


def test_the_status_waits_for_the_100_ms_grid_and_a_bare_at_brings_it_at_once(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,32")
    started_s = hand.board.call(lambda: hand.board._cpu.now_ns)
    write(hand, 0, bytes(16))
    waited_ms = (hand.board.call(lambda: hand.board._cpu.now_ns) - started_s) / 1e6
    hand.ask("AT#XDFUWRITE=0,0,16")
    started_s = hand.board.call(lambda: hand.board._cpu.now_ns)
    hand.port.write(bytes(16) + b"AT\r")
    assert hand.read_until(b"#XDFU: 0,1,0\r\n") == b"\r\n#XDATAMODE: 0\r\n\r\nOK\r\n#XDFU: 0,1,0\r\n"
    nudged_ms = (hand.board.call(lambda: hand.board._cpu.now_ns) - started_s) / 1e6
    assert waited_ms >= 100 > nudged_ms


def test_too_few_bytes_leave_it_in_data_mode_until_they_are_filled_up(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,64")
    hand.ask("AT#XDFUWRITE=0,0,64")
    hand.port.write(bytes(40))
    hand.port.write(b"AT\r")
    assert hand.silent()
    hand.port.write(bytes(64 - 43))
    hand.read_until(b"#XDATAMODE: 0\r\n")
    assert hand.ask("AT") == b"#XDFU: 0,1,0\r\n\r\nOK\r\n"


def test_surplus_bytes_are_commands_again(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,16")
    hand.ask("AT#XDFUWRITE=0,0,16")
    hand.port.write(bytes(16) + b"AT+CGMM\r")
    assert b"nRF9151-LACA" in hand.read_until(b"OK\r\n")


def test_a_line_feed_after_the_command_is_the_first_byte_of_the_image(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,1024")
    hand.port.write(b"AT#XDFUWRITE=0,0,1024\r\n")
    hand.read_until(b"OK\r\n")
    hand.port.write(bytes(1023))
    hand.read_until(b"#XDFU: 0,1,0\r\n")
    slot = hand.board.layout.secondary.address
    assert hand.board.flash.read(slot, 4) == b"\n\x00\x00\x00"


def test_the_address_is_ignored_and_bytes_are_appended(hand: Hand) -> None:
    hand.ask("AT#XDFUINIT=0,2048")
    for value in (1, 2):
        hand.ask("AT#XDFUWRITE=0,0,1024")
        hand.port.write(bytes([value]) * 1024)
        hand.read_until(b"#XDFU: 0,1,0\r\n")
    slot = hand.board.layout.secondary.address
    assert hand.board.flash.read(slot, 2048) == b"\x01" * 1024 + b"\x02" * 1024


def test_nothing_is_scheduled_without_apply(hand: Hand, samples: SampleImages) -> None:
    image = samples.application("2.0.0").read_bytes()
    hand.ask(f"AT#XDFUINIT=0,{len(image)}")
    write(hand, 0, image)
    assert swap_type(hand.board.flash, hand.board.layout) is SwapType.NONE


def test_apply_without_a_session_fails(hand: Hand) -> None:
    hand.ask("AT#XDFUAPPLY=0")
    hand.read_until(b"#XDFU: 0,2,-1\r\n")


def test_a_forced_write_failure_is_reported_at_the_end_of_the_data(make_hand: Callable[..., Hand]) -> None:
    hand = make_hand(faults=FaultPlan(failing_writes=frozenset({0})))
    hand.ask("AT#XDFUINIT=0,16")
    assert write(hand, 0, bytes(16)).endswith(b"#XDFU: 0,1,-1\r\n")


def test_a_good_image_is_swapped_in_confirms_itself_and_says_so_after_ready(
    hand: Hand, samples: SampleImages
) -> None:
    install(hand, samples.application("2.0.0").read_bytes())
    hand.ask("AT#XRESET")
    assert hand.read_until(b"#XFOTA: 5,0\r\n").endswith(b"Ready\r\n\r\n#XFOTA: 5,0\r\n")
    assert running_version(hand.board.flash, hand.board.layout) == "2.0.0"
    assert swap_type(hand.board.flash, hand.board.layout) is SwapType.NONE


def test_a_refused_image_is_met_with_silence(hand: Hand, samples: SampleImages) -> None:
    install(hand, samples.wrong_key("2.0.0").read_bytes())
    hand.ask("AT#XRESET")
    hand.read_until(b"Ready\r\n")
    assert hand.ask("AT") + hand.ask("AT") == b"\r\nOK\r\n" * 2
    assert running_version(hand.board.flash, hand.board.layout) == "1.0.0"


def test_an_image_that_crashes_at_once_is_reverted(hand: Hand, samples: SampleImages) -> None:
    install(hand, samples.application("2.0.0", behaviour={"crash_loop": True}).read_bytes())
    hand.ask("AT#XRESET")
    hand.read_until(b"Ready\r\n")
    assert running_version(hand.board.flash, hand.board.layout) == "1.0.0"
    assert [event.details["version"] for event in hand.board.events if event.kind == "crash"] == ["2.0.0"]


def test_the_power_fails_in_a_swap_and_the_board_goes_on_with_it(
    make_hand: Callable[..., Hand], samples: SampleImages
) -> None:
    image = samples.application("2.0.0").read_bytes()
    hand = make_hand(faults=FaultPlan(power_cut_at_flash_operation=200))
    install(hand, image)
    hand.port.write(b"AT#XRESET\r")
    hand.board.wait_for_event("power-off")
    hand.board.power_on()
    hand.read_until(b"#XFOTA: 5,0\r\n")
    assert hand.board.flash.read(hand.board.layout.primary.address, len(image)) == image


def test_a_delta_is_applied_by_the_modem_reset(hand: Hand, samples: SampleImages) -> None:
    install(hand, samples.modem_delta("2.0.2", "2.0.3").read_bytes(), kind=1)
    uuid = hand.ask("AT%XMODEMUUID")
    assert b"#XMODEMRESET: 0\r\n" in hand.ask("AT#XMODEMRESET")
    assert b"mfw_nrf91x1_2.0.3" in hand.ask("AT+CGMR")
    assert hand.ask("AT%XMODEMUUID") != uuid


@pytest.mark.parametrize(
    ("base", "corrupt", "code"), [("2.0.0", False, b"71303172"), ("2.0.2", True, b"71303171")]
)
def test_a_delta_that_does_not_fit_is_refused_with_its_code(
    hand: Hand, samples: SampleImages, base: str, corrupt: bool, code: bytes
) -> None:
    install(hand, samples.modem_delta(base, "2.0.3", corrupt=corrupt).read_bytes(), kind=1)
    hand.port.write(b"AT#XMODEMRESET\r")
    hand.read_until(b"#XFOTA: 5,1," + code)
    hand.read_until(b"OK\r\n")
    assert b"mfw_nrf91x1_2.0.2" in hand.ask("AT+CGMR")


def test_a_used_area_must_be_erased_and_that_takes_its_time(hand: Hand, samples: SampleImages) -> None:
    install(hand, samples.modem_delta("2.0.2", "2.0.3").read_bytes(), kind=1)
    hand.ask("AT#XMODEMRESET")
    assert b"#XFOTA: 294912,2621440" in hand.ask("AT#XFOTA=7")
    before_ns = hand.board.call(lambda: hand.board._cpu.now_ns)
    hand.ask("AT#XDFUINIT=1,1000")
    assert hand.board.call(lambda: hand.board._cpu.now_ns) - before_ns > 30e9
    assert b"#XFOTA: 294912,0" in hand.ask("AT#XFOTA=7")


def test_low_voltage_postpones_a_delta(make_hand: Callable[..., Hand], samples: SampleImages) -> None:
    hand = make_hand(modem=ModemOptions(battery_mv=2500))
    install(hand, samples.modem_delta("2.0.2", "2.0.3").read_bytes(), kind=1)
    hand.port.write(b"AT#XMODEMRESET\r")
    hand.read_until(b"71303173")
    hand.read_until(b"OK\r\n")
    assert hand.board.modem_nvm.version == "2.0.2"
    assert hand.board.modem_nvm.delta.scheduled


def test_without_flow_control_bytes_are_lost_while_the_flash_is_erased(
    make_hand: Callable[..., Hand],
) -> None:
    hand = make_hand(flow_control=False, timing="real")
    hand.ask("AT+IPR=1000000")
    hand.port.baudrate = 1_000_000
    hand.ask("AT#XDFUINIT=0,40000")
    hand.ask("AT#XDFUWRITE=0,0,40000")
    hand.port.write(bytes(40_000))
    hand.board.wait_for_event("bytes-lost")


def test_with_flow_control_nothing_is_lost(make_hand: Callable[..., Hand]) -> None:
    hand = make_hand(timing="real")
    hand.ask("AT+IPR=1000000")
    hand.port.baudrate = 1_000_000
    hand.ask("AT#XDFUINIT=0,40000")
    assert write(hand, 0, bytes(40_000)).endswith(b"#XDFU: 0,1,0\r\n")
    assert not [event for event in hand.board.events if event.kind == "bytes-lost"]
