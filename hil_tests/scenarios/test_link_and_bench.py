"""The cable and the bench around it: what they can carry, who holds them, and how their faults are told."""

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from bridge.board import Board
from bridge.errors import BenchError, BoardNotFoundError
from bridge.fota import Outcome, Progress, UpdateEvent
from bridge.pytest_plugin.device import DeviceUnderTest
from bridge.pytest_plugin.faults import BoardFaults
from bridge.pytest_plugin.images import Images
from bridge.pytest_plugin.jobs import JobBench
from bridge.pytest_plugin.link_check import FULL_BYTES, QUICK_BYTES, check_link
from bridge.pytest_plugin.updates import Updater

pytestmark = pytest.mark.nrf91_route("xdfu")


@pytest.mark.scenario(84)
@pytest.mark.parametrize("size_bytes", [QUICK_BYTES, FULL_BYTES], ids=["4 KB", "400 KB"])
def test_the_line_loses_and_changes_nothing_in_either_direction(
    nrf91_board: DeviceUnderTest, measured: Callable[[str, object], None], size_bytes: int
) -> None:
    with nrf91_board.board.at_baud(1_000_000):
        report = check_link(nrf91_board.board, size_bytes)
    measured("at_latency_ms", report.histogram())
    assert report.echoed_bytes == size_bytes, report.remark
    assert sum(report.histogram().values()) == len(report.latencies_ms)


@pytest.mark.scenario(84)
@pytest.mark.parametrize("fault", ["drop", "flip"])
@pytest.mark.parametrize("direction", ["to_board", "from_board"])
def test_a_line_that_hurts_a_single_byte_is_found_and_is_a_bench_error(
    nrf91_board: DeviceUnderTest, nrf91_faults: BoardFaults, direction: str, fault: str
) -> None:
    board = nrf91_board.board
    check_link(board, 100)
    getattr(nrf91_faults, direction)(2_500, fault)
    with pytest.raises(BenchError) as caught:
        check_link(board, QUICK_BYTES)
    assert caught.value.reason == "link-damaged"
    assert caught.value.offset is not None


@pytest.mark.scenario(85)
@pytest.mark.nrf91_route("smp")
def test_log_text_between_smp_frames_does_not_disturb_an_update(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_update: Updater, nrf91_faults: BoardFaults
) -> None:
    said = []

    def chat(event: UpdateEvent) -> None:
        if isinstance(event, Progress):
            said.append(event.done_bytes)
            nrf91_faults.say(f"[00:00:{len(said):02}.000,000] <inf> app: {event.done_bytes} bytes\r\n")

    story = nrf91_update(nrf91_images.newer, transport="smp", on_event=chat)
    assert story.outcome is Outcome.SUCCEEDED
    assert len(said) > 10


HOLD = """
import fcntl, os, sys
port = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.scenario(86)
def test_a_second_program_on_the_port_is_refused_with_the_holder_s_name(
    nrf91_board: DeviceUnderTest, nrf91_images: Images, nrf91_deploy: JobBench
) -> None:
    with (
        nrf91_board.released() as port,
        subprocess.Popen(
            [sys.executable, "-c", HOLD, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder,
    ):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = nrf91_deploy(nrf91_images.newer).work(bench_errors=True)
        holder.communicate("", timeout=30)
    assert (done.status, done.reason) == ("FAILED", "port-held")
    message = done.cloud.details["message"]  # a pty is held by the program that serves it, too
    assert re.search(r"is held by .*\(process \d+\)|is held by this process", message)


@pytest.mark.scenario(87)
@pytest.mark.nrf91_build(baud=230_400)
@pytest.mark.nrf91_virtual("the board is built for another bit rate")
def test_a_board_at_another_bit_rate_is_found_or_told_in_one_message(nrf91_board: DeviceUnderTest) -> None:
    with pytest.raises(BoardNotFoundError) as caught:
        Board.open(nrf91_board.port, baud=57_600, timeout_s=1.0)
    assert caught.value.reason == "board-silent"
    assert "57600 baud" in caught.value.message
    for cause in ("switched on", "baud rate", "DTR", "--no-flow-control"):
        assert cause in (caught.value.hint or "")


@pytest.mark.scenario(88)
@pytest.mark.nrf91_power
def test_a_board_without_power_is_no_board_and_comes_back_with_it(nrf91_board: DeviceUnderTest) -> None:
    nrf91_board.power.off()
    try:
        with pytest.raises(BoardNotFoundError) as caught:
            Board.open(nrf91_board.port, baud=nrf91_board.bench_board.baud, timeout_s=1.0)
    finally:
        nrf91_board.power.on()
    assert caught.value.reason in {"board-silent", "port-missing"}
    assert nrf91_board.version()
