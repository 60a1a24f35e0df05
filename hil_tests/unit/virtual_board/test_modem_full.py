"""#XDFU type 2 on the wire, byte by byte, as Serial Modem does it, and what becomes of the modem."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.image.modem_full import ModemFullReader
from bridge.lab.sample_images import SampleImages
from bridge.virtual import registry
from bridge.virtual.board import VirtualBoard
from bridge.virtual.faults import FaultPlan
from bridge.virtual.modem import ModemOptions
from bridge.virtual.serial_modem_options import SerialModemOptions
from hil_tests.unit.virtual_board.conftest import Hand

MakeHand = Callable[..., Hand]
FULL = SerialModemOptions(modem_full=True)
READY = b"Bootloader mode ready\r\n"


class Segments:
    """The segments of a CBOR file, as Nordic's host script cuts them."""

    def __init__(self, file: Path) -> None:
        content = file.read_bytes()
        reader = ModemFullReader()
        reader.feed(content)
        loader, *firmware = reader.finish().segments
        self.loader = content[loader.offset : loader.offset + loader.size_bytes]
        self.firmware = [
            (segment.address, content[segment.offset : segment.offset + segment.size_bytes])
            for segment in firmware
        ]

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        for address, data in self.firmware:
            for start in range(0, len(data), 4096):
                yield address + start, data[start : start + 4096]


@pytest.fixture
def segments(samples: SampleImages) -> Segments:
    return Segments(samples.modem_full("2.0.3"))


@pytest.fixture
def hand(make_hand: MakeHand) -> Hand:
    return make_hand(serial_modem=FULL)


def enter(hand: Hand) -> None:
    hand.port.write(b"AT#XDFUINIT=2\r")
    assert hand.read_until(READY) == READY


def write(hand: Hand, address: int, data: bytes, status: int = 0) -> None:
    assert hand.ask(f"AT#XDFUWRITE=2,{address},{len(data)}") == b"\r\nOK\r\n"
    hand.port.write(data)
    end = f"#XDFU: 2,1,{status}\r\n".encode()
    assert hand.read_until(end) == b"\r\n#XDATAMODE: 0\r\n" + end


def apply(hand: Hand, status: int = 0) -> None:
    hand.port.write(b"AT#XDFUAPPLY=2\r")
    end = f"#XDFU: 2,2,{status}\r\n".encode()
    assert hand.read_until(end) == b"\r\nOK\r\n" + end


def start_loader(hand: Hand, segments: Segments) -> None:
    enter(hand)
    write(hand, 0, segments.loader)
    apply(hand)


def finish(hand: Hand, end: bytes = b"Ready\r\n") -> bytes:
    hand.port.write(b"AT#XDFUAPPLY=2\r")
    return hand.read_until(end)


def versions(hand: Hand) -> tuple[bytes, bytes, bytes]:
    return hand.ask("AT%SHORTSWVER"), hand.ask("AT+CGMR"), hand.ask("AT%XMODEMUUID")


def test_given_all_segments_then_the_board_reboots_without_a_word_and_the_modem_is_another(
    hand: Hand, segments: Segments
) -> None:
    before = versions(hand)
    start_loader(hand, segments)
    for address, data in segments.chunks():
        write(hand, address, data)
    assert finish(hand) == b"Ready\r\n"
    after = versions(hand)
    assert after[0] == b"\r\n%SHORTSWVER: nrf91x1_2.0.3\r\n\r\nOK\r\n"
    assert after[1] == b"\r\nmfw_nrf91x1_2.0.3\r\n\r\nOK\r\n"
    assert after[2] != before[2]


def test_given_a_newer_version_then_it_answers_before_each_reboot(
    make_hand: MakeHand, segments: Segments
) -> None:
    hand = make_hand(serial_modem=SerialModemOptions(modem_full=True, answers_before_reboot=True))
    hand.port.write(b"AT#XDFUINIT=2\r")
    assert hand.read_until(READY) == b"\r\nOK\r\n" + READY
    write(hand, 0, segments.loader)
    apply(hand)
    for address, data in segments.chunks():
        write(hand, address, data)
    assert finish(hand) == b"\r\nOK\r\n#XDFU: 2,2,0\r\nReady\r\n"


def test_given_the_option_is_off_as_upstream_then_type_2_is_unknown(make_hand: MakeHand) -> None:
    hand = make_hand()
    for command in ("AT#XDFUINIT=2", "AT#XDFUWRITE=2,0,4", "AT#XDFUAPPLY=2"):
        assert hand.ask(command, b"ERROR\r\n") == b"\r\nERROR\r\n"
    assert hand.ask("AT#XDFUINIT=?") == b"\r\n#XDFUINIT: (0,1,3),<size>\r\n\r\nOK\r\n"


def test_the_test_forms_list_type_2_in_either_mode(hand: Hand) -> None:
    for _ in range(2):
        assert hand.ask("AT#XDFUINIT=?") == b"\r\n#XDFUINIT: (0,1,2,3),<size>\r\n\r\nOK\r\n"
        assert hand.ask("AT#XDFUAPPLY=?") == b"\r\n#XDFUAPPLY: (0,1,2,3)\r\n\r\nOK\r\n"
        enter(hand)


@pytest.mark.parametrize(
    "command",
    [
        "AT",
        "ATE1",
        "AT+CGMR",
        "AT#XSMVER",
        "AT+IPR?",
        "AT#XDFUINIT=0,16",
        "AT#XDFUWRITE=1,0,4",
        "AT#XDFUAPPLY=3",
    ],
)
def test_in_bootloader_mode_there_is_nothing_but_type_2_and_the_reset(hand: Hand, command: str) -> None:
    enter(hand)
    assert hand.ask(command, b"ERROR\r\n") == b"\r\nERROR\r\n"


def test_given_a_reset_in_bootloader_mode_then_it_says_no_ok_and_one_reset_is_enough(hand: Hand) -> None:
    enter(hand)
    hand.port.write(b"AT#XRESET\r")
    assert hand.read_until(b"Ready\r\n") == b"Ready\r\n"
    assert hand.ask("AT%SHORTSWVER") == b"\r\n%SHORTSWVER: nrf91x1_2.0.2\r\n\r\nOK\r\n"


def test_given_another_init_in_bootloader_mode_then_it_starts_over(hand: Hand, segments: Segments) -> None:
    start_loader(hand, segments)
    start_loader(hand, segments)


def test_given_power_cut_before_the_first_firmware_page_then_the_old_modem_still_works(
    hand: Hand, segments: Segments
) -> None:
    start_loader(hand, segments)
    write(hand, *next(segments.chunks()))  # 4 kB: collected, not written
    hand.board.power_cut()
    hand.board.power_on()
    hand.read_until(b"Ready\r\n")
    assert hand.ask("AT%SHORTSWVER") == b"\r\n%SHORTSWVER: nrf91x1_2.0.2\r\n\r\nOK\r\n"


def test_given_half_the_firmware_then_every_start_ends_in_bootloader_mode_and_a_rerun_repairs_it(
    hand: Hand, segments: Segments
) -> None:
    start_loader(hand, segments)
    for address, data in list(segments.chunks())[:5]:
        write(hand, address, data)
    hand.board.power_cut()
    hand.board.power_on()
    for _ in range(2):
        assert hand.read_until(READY) == READY
        assert hand.ask("AT", b"ERROR\r\n") == b"\r\nERROR\r\n"
        hand.port.write(b"AT#XRESET\r")
    hand.read_until(READY)
    # The segment that it waited for outlives the reset, the loader does not.
    write(hand, 0x6000, segments.firmware[0][1], status=-1)
    start_loader(hand, segments)
    for address, data in segments.chunks():
        write(hand, address, data)
    finish(hand)
    assert hand.ask("AT%SHORTSWVER") == b"\r\n%SHORTSWVER: nrf91x1_2.0.3\r\n\r\nOK\r\n"


def test_given_half_the_firmware_and_a_build_without_type_2_then_it_waits_in_vain(
    make_hand: MakeHand, segments: Segments, samples: SampleImages, tmp_path: Path
) -> None:
    hand = make_hand(serial_modem=FULL, state_dir=tmp_path)
    start_loader(hand, segments)
    for address, data in list(segments.chunks())[:5]:
        write(hand, address, data)
    hand.board.stop()
    board = VirtualBoard(keys=[samples.public_key_pem], state_dir=tmp_path)
    again = Hand(board, "without-type-2")
    with board:
        again.read_until(READY)
        assert again.ask("AT#XDFUINIT=2", b"ERROR\r\n") == b"\r\nERROR\r\n"
        again.close()
    registry.unregister("without-type-2")


def test_given_firmware_that_is_damaged_then_no_status_tells_and_the_modem_does_not_start(
    hand: Hand, samples: SampleImages
) -> None:
    dead = Segments(samples.modem_full("2.0.3", dead=True))
    start_loader(hand, dead)
    for address, data in dead.chunks():
        write(hand, address, data)
    assert finish(hand, READY) == READY


def test_given_a_loader_that_is_none_then_apply_fails_and_the_old_modem_is_untouched(hand: Hand) -> None:
    enter(hand)
    write(hand, 0, b"no loader")
    apply(hand, -1)
    hand.port.write(b"AT#XRESET\r")
    hand.read_until(b"Ready\r\n")


def test_given_an_address_that_is_no_flash_then_the_failure_is_reported(
    hand: Hand, segments: Segments
) -> None:
    start_loader(hand, segments)
    write(hand, 0x10000, bytes(8192), status=-1)
    write(hand, 0x10000, bytes(100))
    apply(hand, -1)


def test_given_type_2_outside_bootloader_mode_then_the_modem_library_refuses(hand: Hand) -> None:
    write(hand, 0, bytes(16), status=-1)
    apply(hand, -1)


def test_given_a_planned_failure_of_a_write_then_the_loader_is_not_complete(
    make_hand: MakeHand, segments: Segments
) -> None:
    hand = make_hand(serial_modem=FULL, faults=FaultPlan(failing_writes=frozenset([0])))
    enter(hand)
    write(hand, 0, segments.loader[:1000], status=-1)
    write(hand, 0, segments.loader[1000:])
    apply(hand, -1)


def test_programming_takes_the_time_of_its_pages(make_hand: MakeHand, segments: Segments) -> None:
    def seconds(time_scale: float) -> float:
        hand = make_hand(serial_modem=FULL, modem=ModemOptions(time_scale=time_scale))
        start_loader(hand, segments)
        before_s = hand.board.call(lambda: hand.board._cpu.now_ns) / 1e9
        write(hand, 0x6000, segments.firmware[0][1])
        return hand.board.call(lambda: hand.board._cpu.now_ns) / 1e9 - before_s

    # One page of 0.12 s. A part of it passes while the host is read and the URC waits for its time: hence the factor.
    assert 10.0 < seconds(100) - seconds(0) < 14.0


def test_given_an_update_then_another_process_finds_it(
    make_hand: MakeHand, segments: Segments, tmp_path: Path
) -> None:
    hand = make_hand(serial_modem=FULL, state_dir=tmp_path)
    start_loader(hand, segments)
    for address, data in segments.chunks():
        write(hand, address, data)
    finish(hand)
    hand.board.stop()
    again = make_hand(serial_modem=FULL, state_dir=tmp_path)
    assert again.ask("AT%SHORTSWVER") == b"\r\n%SHORTSWVER: nrf91x1_2.0.3\r\n\r\nOK\r\n"


def test_given_a_delta_after_a_full_update_then_the_modem_takes_it(
    hand: Hand, segments: Segments, samples: SampleImages
) -> None:
    start_loader(hand, segments)
    for address, data in segments.chunks():
        write(hand, address, data)
    finish(hand)
    delta = samples.modem_delta("2.0.3", "2.0.4").read_bytes()
    hand.ask(f"AT#XDFUINIT=1,{len(delta)}")
    hand.ask(f"AT#XDFUWRITE=1,0,{len(delta)}")
    hand.port.write(delta)
    hand.read_until(b"#XDFU: 1,1,0\r\n")
    hand.ask("AT#XDFUAPPLY=1", b"#XDFU: 1,2,0\r\n")
    hand.ask("AT#XMODEMRESET")
    assert hand.ask("AT%SHORTSWVER").startswith(b"\r\n%SHORTSWVER: nrf91x1_2.0.4\r\n")
