"""When the board says what: the 100 ms grid of URCs, echo, bit rates, and a processor that stands still."""

import pytest

from bridge.lab.sample_images import SampleImages
from bridge.virtual.faults import ByteFault, FaultPlan, ReplyFault
from hil_tests.unit.virtual_board.tapped import TappedBoard

BYTE_MS = 10_000 / 115_200
URC_MS = len(b"#XDFU: 0,1,0\r\n") * BYTE_MS


def write(tapped: TappedBoard, data: bytes, then: bytes = b"") -> None:
    """One ``#XDFUWRITE`` with its data, and what follows it without a gap."""
    tapped.ask(f"AT#XDFUWRITE=0,0,{len(data)}")
    tapped.send(data + then)


@pytest.mark.parametrize("size_bytes", [16, 1000, 2000, 4000])
def test_the_status_leaves_on_a_100_ms_grid_from_the_write_command(
    samples: SampleImages, size_bytes: int
) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT#XDFUINIT=0,8192")
        write(tapped, bytes(size_bytes))
        assert tapped.read_until(b"#XDFU: 0,1,0\r\n") == b"\r\n#XDATAMODE: 0\r\n#XDFU: 0,1,0\r\n"
        status_ms = tapped.sent_at_ms(b"#XDFU") - URC_MS
        command_ms = tapped.sent_at_ms(b"OK") - len(b"\r\nOK\r\n") * BYTE_MS
        off_the_grid_ms = (status_ms - command_ms + 50) % 100 - 50
        assert off_the_grid_ms == pytest.approx(0, abs=0.5)
        assert 0 <= status_ms - tapped.sent_at_ms(b"#XDATAMODE") < 100  # the next point of the grid


def test_a_bare_at_behind_the_data_brings_the_status_at_once(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT#XDFUINIT=0,4096")
        write(tapped, bytes(16), b"AT\r")
        answer = tapped.read_until(b"#XDFU: 0,1,0\r\n")
        assert answer == b"\r\n#XDATAMODE: 0\r\n\r\nOK\r\n#XDFU: 0,1,0\r\n"
        assert tapped.sent_at_ms(b"#XDFU") - tapped.sent_at_ms(b"#XDATAMODE") < 20


def test_a_next_write_at_once_postpones_the_status(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT#XDFUINIT=0,4096")
        write(tapped, bytes(16), b"AT#XDFUWRITE=0,0,16\r")
        assert tapped.read_until(b"OK\r\n") == b"\r\n#XDATAMODE: 0\r\n\r\nOK\r\n"
        tapped.send(bytes(16))
        answer = tapped.read_until(b"#XDFU: 0,1,0\r\n" * 2)
        assert answer == b"\r\n#XDATAMODE: 0\r\n" + b"#XDFU: 0,1,0\r\n" * 2


def test_with_echo_every_character_comes_back_before_the_answer(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask("ATE1").endswith(b"\r\nOK\r\n")
        assert tapped.ask("AT+CMEE?") == b"AT+CMEE?\r\r\n+CMEE: 0\r\n\r\nOK\r\n"
        tapped.ask("ATE0")
        assert tapped.ask("AT") == b"\r\nOK\r\n"


def test_the_answer_to_ipr_leaves_at_the_old_rate_and_the_next_at_the_new(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask("AT+IPR=921600") == b"\r\nOK\r\n"
        tapped.host(baud=921_600)
        assert b"+IPR: 921600" in tapped.ask("AT+IPR?")
        assert b"+IPR: (115200,230400,460800,921600,1000000)" in tapped.ask("AT+IPR=?")
        tapped.board.reset()
        tapped.board.wait_for_event("ready", count=2)
        tapped.host(baud=115_200)
        tapped.cable.drop_input()
        assert b"+IPR: 115200" in tapped.ask("AT+IPR?")


@pytest.mark.parametrize("flow_control", [True, False])
def test_bytes_that_come_during_a_page_erase_are_lost_only_without_flow_control(
    samples: SampleImages, flow_control: bool
) -> None:
    data = bytes(range(256)) * 48
    with TappedBoard(samples, flow_control=flow_control) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT+IPR=1000000")
        tapped.host(baud=1_000_000, flow_control=flow_control)
        tapped.ask(f"AT#XDFUINIT=0,{len(data)}")
        tapped.send(b"AT#XDFUWRITE=0,0,%d\r" % len(data) + data)
        if flow_control:
            tapped.read_until(b"#XDFU: 0,1,0\r\n")
            slot = tapped.board.layout.secondary.address
            assert tapped.board.flash.read(slot, len(data)) == data
            assert not tapped.events("bytes-lost")
        else:
            tapped.board.wait_for_event("bytes-lost")
            # Wedged: fewer bytes came than were announced. Filler ends it, and the status is none the wiser.
            for _ in range(len(data) // 256):
                tapped.send(bytes(256))
                assert tapped.cable.wait_sent(1)
            assert b"#XDATAMODE: 0" in tapped.read_until(b"#XDFU: 0,1,0\r\n")
            lost = sum(int(str(details["count"])) for details in tapped.events("bytes-lost"))
            assert lost > 1000


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (ReplyFault.DROP, b"\r\n+CMEE: 0\r\n\r\nOK\r\n"),
        (ReplyFault.DUPLICATE, b"\r\nOK\r\n\r\nOK\r\n\r\n+CMEE: 0\r\n\r\nOK\r\n"),
        (ReplyFault.DELAY, b"\r\n+CMEE: 0\r\n\r\nOK\r\n\r\nOK\r\n"),
    ],
)
def test_a_planned_fault_hits_one_reply(samples: SampleImages, fault: ReplyFault, answer: bytes) -> None:
    with TappedBoard(samples, faults=FaultPlan(replies={0: fault})) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.send(b"AT\rAT+CMEE?\r")
        assert tapped.read_until(answer) == answer


@pytest.mark.parametrize("way", ["rx", "tx"])
def test_the_power_can_fail_at_any_byte_on_the_line(samples: SampleImages, way: str) -> None:
    """Byte 12 is the C of the third command, or the line feed behind the OK that follows Ready (of 9 bytes)."""
    with TappedBoard(samples, faults=FaultPlan(**{way: {12: ByteFault.POWER_CUT}})) as tapped:  # type: ignore[arg-type]
        tapped.read_until(b"Ready\r\n")
        tapped.send(b"AT\rAT\rAT+CMEE?\r")
        assert tapped.board.wait_for_event("power-off").details == {"reason": "fault plan"}
        tapped.cable.drop_input()
        tapped.board.power_on()
        tapped.read_until(b"Ready\r\n")
        assert tapped.ask("AT+CMEE?") == b"\r\n+CMEE: 0\r\n\r\nOK\r\n"


def test_replies_are_counted_over_resets(samples: SampleImages) -> None:
    with TappedBoard(samples, faults=FaultPlan(replies={1: ReplyFault.DROP})) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.ask("AT#XRESET")
        tapped.board.wait_for_event("ready", count=2)
        tapped.send(b"AT+CMEE?\rAT+CMEE?\r")
        answer = b"\r\n+CMEE: 0\r\n\r\nOK\r\n"
        assert tapped.read_until(answer).endswith(answer)
        assert tapped.board.replies.count == 3


def test_a_command_line_without_end_is_refused_and_read_afresh(samples: SampleImages) -> None:
    with TappedBoard(samples) as tapped:
        tapped.read_until(b"Ready\r\n")
        tapped.send(b"AT" + b"+" * 8190 + b"\r")
        assert tapped.read_until(b"ERROR\r\n") == b"\r\nERROR\r\n"
        assert tapped.ask("AT") == b"\r\nOK\r\n"
