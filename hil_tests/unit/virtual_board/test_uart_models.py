"""What the UART does while the processor stands still, in board time: DMA buffers, a FIFO, an adapter in the cable."""

import random

import pytest

from bridge.errors import UsageError
from bridge.virtual.cable import Cable
from bridge.virtual.clock import NS_PER_MS, Timeline, Timing
from bridge.virtual.faults import ByteFaults, FaultRates
from bridge.virtual.uart import Uart
from bridge.virtual.uart_options import Reception, UartOptions, parse_uart
from bridge.virtual.usb_adapter import UsbAdapter

BAUD = 1_000_000
BYTE_NS = 10_000
ERASE_NS = 87 * NS_PER_MS
WORD_NS = 43_000
PLENTY = 1 << 20


class Bench:
    """A UART whose firmware reads only when it is told to, and a host that has sent bytes."""

    def __init__(
        self, options: UartOptions, *, host_flow_control: bool = True, latency_ms: int = 0, baud: int = BAUD
    ) -> None:
        self.timeline = Timeline(Timing.SIMULATED)
        self.cable = Cable(PLENTY)
        self.cable.plug()
        self.cable.set_host_end(dtr=True, baud=baud, flow_control=host_flow_control)
        self.lost = 0
        self.told_ns: list[int] = []
        wire: Cable | UsbAdapter = self.cable
        if latency_ms:
            wire = UsbAdapter(self.cable, self.timeline, latency_ms * NS_PER_MS, self._poll)
        self.uart = Uart(
            self.timeline,
            wire,
            on_received=lambda: self.told_ns.append(self.timeline.now_ns),
            on_overrun=self._on_overrun,
            options=options,
        )
        self.uart.enable(baud)

    def _poll(self) -> None:
        self.uart.poll()

    def _on_overrun(self, count: int) -> None:
        self.lost += count

    def send(self, data: bytes) -> None:
        self.cable.write(data, 1)
        self.uart.poll()

    def run_until(self, time_ns: int) -> None:
        """Let everything happen up to and at a moment."""
        while (next_ns := self.timeline._next_ns()) is not None and next_ns <= time_ns:
            self.timeline.run_due()
        self.timeline.at(time_ns, lambda: None)
        self.timeline.run_due()

    def stall(self, duration_ns: int = ERASE_NS, unbroken_ns: int | None = None) -> int:
        """The CPU stands still from now on; returns the end."""
        begin = self.timeline.now_ns
        self.uart.stall(begin, begin + duration_ns, unbroken_ns or duration_ns)
        return begin + duration_ns


DATA = bytes(range(256)) * 20


# --- DMA ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "size"), [(3, 256), (2, 64), (3, 2048)])
def test_given_nobody_that_reads_then_all_buffers_fill_and_the_host_is_held(count: int, size: int) -> None:
    bench = Bench(UartOptions(buffer_bytes=size, buffer_count=count))
    bench.send(DATA * 2)
    bench.run_until(ERASE_NS)
    assert (bench.lost, bench.uart.rts_asserted) == (0, False)
    assert bench.uart.read() == (DATA * 2)[: count * size]
    assert bench.uart.rts_asserted
    bench.run_until(ERASE_NS + 10 * NS_PER_MS)
    assert bench.uart.read() == (DATA * 2)[count * size :][: min(1000 // size, count) * size]


def test_given_a_host_without_flow_control_then_what_does_not_fit_is_lost() -> None:
    bench = Bench(UartOptions(), host_flow_control=False)
    bench.send(DATA)
    bench.run_until(ERASE_NS)
    assert bench.uart.read() == DATA[:768]
    assert bench.lost == len(DATA) - 768


def test_given_a_buffer_that_is_worked_on_then_only_the_others_can_be_filled_meanwhile() -> None:
    bench = Bench(UartOptions())
    bench.send(DATA)
    bench.run_until(256 * BYTE_NS)
    assert bench.uart.take_buffer() == DATA[:256]
    bench.run_until(256 * BYTE_NS + ERASE_NS)
    assert not bench.uart.rts_asserted
    assert [bench.uart.take_buffer() for _ in range(3)] == [DATA[256:512], DATA[512:768], b""]
    assert bench.uart.rts_asserted


def test_given_reception_that_is_about_to_end_when_a_buffer_is_read_then_it_ends_all_the_same() -> None:
    # The driver asked for a buffer when there was none; it does not ask again before it has stopped.
    bench = Bench(UartOptions())
    bench.send(DATA)
    bench.run_until(600 * BYTE_NS)
    assert bench.uart.read() == DATA[:512]
    bench.run_until(768 * BYTE_NS)
    assert bench.uart.read() == DATA[512:768]
    bench.run_until(ERASE_NS)
    assert bench.uart.read() == DATA[768 : 3 * 512]


def test_given_a_pause_then_the_bytes_so_far_are_reported_after_two_milliseconds() -> None:
    bench = Bench(UartOptions())
    bench.send(b"hello")
    bench.run_until(5 * BYTE_NS + 2 * NS_PER_MS)
    assert bench.told_ns == [5 * BYTE_NS + 2 * NS_PER_MS]
    assert bench.uart.take_buffer() == b"hello"


# --- FIFO and interrupts -----------------------------------------------------------------------------------


FIFO = UartOptions(Reception.FIFO)


def test_given_a_running_cpu_then_a_fifo_loses_nothing_without_flow_control() -> None:
    bench = Bench(UartOptions(Reception.FIFO, flow_control=False), host_flow_control=False)
    bench.send(DATA)
    bench.run_until(len(DATA) * BYTE_NS)
    assert (bench.uart.read(), bench.lost) == (DATA, 0)


@pytest.mark.parametrize("flow_control", [False, True])
def test_given_a_stall_then_only_the_fifo_is_received_and_the_rest_held_or_lost(flow_control: bool) -> None:
    bench = Bench(UartOptions(Reception.FIFO, flow_control=flow_control), host_flow_control=flow_control)
    bench.send(DATA)
    bench.run_until(100 * BYTE_NS)
    end_ns = bench.stall(10 * NS_PER_MS)
    bench.run_until(end_ns)
    assert bench.uart.read() == DATA[:106]
    bench.run_until(end_ns + len(DATA) * BYTE_NS)
    stalled = 999  # the next one is there when the stall ends
    assert bench.uart.read() == DATA[106 if flow_control else 100 + stalled :]
    assert bench.lost == (0 if flow_control else stalled - 6)


def test_given_the_words_of_a_write_then_the_fifo_bridges_each() -> None:
    bench = Bench(UartOptions(Reception.FIFO, flow_control=False), host_flow_control=False)
    bench.send(DATA)
    bench.stall(11 * NS_PER_MS, WORD_NS)
    bench.run_until(len(DATA) * BYTE_NS)
    assert (bench.uart.read(), bench.lost) == (DATA, 0)


def test_given_stalls_one_after_the_other_then_each_lets_a_fifo_through() -> None:
    bench = Bench(FIFO)
    bench.send(DATA)
    for number in range(3):
        bench.run_until(bench.stall(10 * NS_PER_MS))
        assert bench.uart.read() == DATA[6 * number : 6 * number + 6]


# --- the firmware's choice, and options --------------------------------------------------------------------


def test_given_firmware_that_receives_its_own_way_then_the_wires_stay_the_boards() -> None:
    bench = Bench(UartOptions(flow_control=False), host_flow_control=True)
    bench.uart.enable(BAUD, FIFO)
    bench.send(DATA)
    bench.stall()
    bench.run_until(ERASE_NS)
    assert bench.uart.read() == DATA[:6]
    assert bench.lost > 0
    bench.uart.enable(BAUD)
    bench.send(DATA)
    bench.run_until(2 * ERASE_NS)
    assert len(bench.uart.read()) == 768


@pytest.mark.parametrize(
    ("reception", "buffers", "label", "held"),
    [("dma", None, "dma 3x256", 768), ("dma", "3x2048", "dma 3x2048", 6144), ("fifo", None, "fifo 6", 6)],
)
def test_options_are_read_and_named(reception: str, buffers: str | None, label: str, held: int) -> None:
    options = parse_uart(reception, buffers)
    assert (options.label, options.held_bytes) == (label, held)
    assert parse_uart(reception, buffers, flow_control=False).label == f"{label} no rts"


@pytest.mark.parametrize(
    ("reception", "buffers"), [("pio", None), ("dma", "256"), ("dma", "1x256"), ("dma", "3x0")]
)
def test_options_that_make_no_sense_are_refused(reception: str, buffers: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        parse_uart(reception, buffers)
    assert caught.value.reason == "bad-uart"


# --- an adapter in the cable -------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_ms", [1, 4, 16])
def test_given_an_adapter_then_bytes_are_late_both_ways_and_the_rate_is_the_same(latency_ms: int) -> None:
    latency_ns = latency_ms * NS_PER_MS
    bench = Bench(UartOptions(buffer_bytes=2048), latency_ms=latency_ms)
    bench.send(DATA[:4096])
    bench.run_until(latency_ns + 4096 * BYTE_NS)
    assert bench.told_ns == [latency_ns + 2048 * BYTE_NS, latency_ns + 4096 * BYTE_NS]
    assert bench.uart.read() == DATA[:4096]
    bench.uart.send(b"answer", bench.timeline.now_ns)
    left_ns = bench.timeline.now_ns + 6 * BYTE_NS
    bench.run_until(left_ns + latency_ns - 1)
    assert bench.cable.readable() == 0
    bench.run_until(left_ns + latency_ns)
    assert bench.cable.read(6, 0) == b"answer"


def test_given_a_full_adapter_then_the_host_waits_and_nothing_is_lost() -> None:
    bench = Bench(UartOptions(buffer_bytes=2048), latency_ms=1)
    bench.send(DATA * 2)
    received = b""
    for end_ms in range(1, 200):
        bench.run_until(end_ms * NS_PER_MS)
        received += bench.uart.read()
        bench.uart.poll()
    assert received == DATA * 2


def test_given_a_closed_port_then_what_is_in_the_adapter_is_gone() -> None:
    bench = Bench(UartOptions(), latency_ms=4)
    bench.send(b"old")
    bench.cable.set_host_end(dtr=False)
    bench.uart.poll()
    bench.cable.set_host_end(dtr=True)
    bench.send(b"new")
    bench.run_until(20 * NS_PER_MS)
    assert bench.uart.read() == b"new"


def test_given_a_reset_of_the_board_then_bytes_on_their_way_to_the_host_still_arrive() -> None:
    bench = Bench(UartOptions(), latency_ms=4)
    bench.uart.send(b"last words", 0)
    bench.run_until(NS_PER_MS)
    bench.timeline.clear()
    bench.uart.poll()
    bench.run_until(10 * NS_PER_MS)
    assert bench.cable.read(10, 0) == b"last words"


# --- random faults -----------------------------------------------------------------------------------------


def test_random_faults_strike_as_often_as_they_should_and_alike_for_the_same_seed() -> None:
    data = random.Random(1).randbytes(400_000)
    rates = FaultRates(drop_every=2_000, flip_every=1_000)
    results = []
    for _ in range(2):
        faults = ByteFaults(seed=5, rates=rates)
        results.append(
            b"".join(faults.apply(data[start : start + 100]) for start in range(0, len(data), 100))
        )
    assert results[0] == results[1]
    dropped = len(data) - len(results[0])
    assert 140 <= dropped <= 260
    flips = ByteFaults(seed=5, rates=FaultRates(flip_every=1_000)).apply(data)
    assert 320 <= sum(a != b for a, b in zip(data, flips, strict=True)) <= 480


def test_given_firmware_that_reads_in_its_interrupt_then_bytes_still_come_at_the_lines_rate() -> None:
    bench = Bench(FIFO, baud=115_200)
    received: list[tuple[int, bytes]] = []
    bench.uart._on_received = lambda: received.append((bench.timeline.now_ns, bench.uart.read()))
    bench.send(DATA[:1152])
    bench.run_until(200 * NS_PER_MS)
    assert b"".join(data for _, data in received) == DATA[:1152]
    assert max(time_ns for time_ns, data in received if data) == pytest.approx(100 * NS_PER_MS, rel=0.001)
