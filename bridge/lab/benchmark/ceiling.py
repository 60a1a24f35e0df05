"""How fast an upload could be, from first principles: what the line carries, what flash takes, and what both allow.

* **line**: payload bytes in the bytes of one frame (or of the raw data), at ten bits a byte.
* **flash**: a page of 4096 bytes in one erase and 1024 word writes.
* **ceiling**: the smaller of the two, which needs the line to be busy while flash is.
* **reach**: what is left of that on this board. While flash is busy the processor stands still and the UART receives at most
  ``H`` bytes, so of each such time ``s`` at most ``min(s, H / line)`` is used by the line; an SMP server also spends time on
  each message and sends its answer by polling, and holds at most as many requests as it has buffers.
"""

from dataclasses import dataclass
from typing import Final

from bridge.lab.benchmark.case import Case
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.flash import PAGE_BYTES, PAGE_ERASE_NS, WORD_BYTES, WORD_WRITE_NS
from bridge.virtual.slot_stream import STREAM_BUFFER_BYTES
from bridge.virtual.uart_options import Reception, UartOptions
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES, frame_size_bytes, largest_message_bytes
from bridge.wire.smp_message import ImageCommand, SmpGroup, SmpMessage, SmpOp

_ERASE_S: Final = PAGE_ERASE_NS / 1e9
_WORD_S: Final = WORD_WRITE_NS / 1e9
_BITS_PER_BYTE: Final = 10
_LENGTH_AND_CRC_BYTES: Final = 4
_BYTE_STRING_HEAD_BYTES: Final = 2
_SPARE_LINES: Final = 2
"""Of the line buffers one is held by whoever works on a line, and one receives."""
RECOVERY_BUFFER_BYTES: Final = BootloaderOptions().receive_bytes
RECOVERY_LINE_BUFFERS: Final = BootloaderOptions().line_buffers
_MESSAGE_S: Final = 0.0005
"""The virtual server's own time for a message (``smp_application.py``)."""


@dataclass(frozen=True)
class Ceiling:
    """Payload bytes per second.

    Attributes:
        line: What the line carries.
        flash: What flash takes; infinite if it takes no time.
        reach: The most that this board allows, whatever the host does.
        formula: The reach in numbers, for people.
    """

    line: float
    flash: float
    reach: float
    formula: str

    @property
    def ceiling(self) -> float:
        """The smaller of line and flash."""
        return min(self.line, self.flash)


def ceiling_of(case: Case) -> Ceiling:
    """The limits of a case."""
    return _xdfu(case) if case.route == "xdfu" else _smp(case)


def flash_rate(case: Case) -> float:
    """Bytes per second that flash takes."""
    return float("inf") if case.ideal_flash else PAGE_BYTES / (_ERASE_S + _write_s(PAGE_BYTES))


def _write_s(size_bytes: int) -> float:
    return size_bytes / WORD_BYTES * _WORD_S


def _hidden_bytes(uart: UartOptions, *, one_is_held: bool) -> int:
    """What the UART can receive while the processor stands still."""
    if uart.reception is Reception.FIFO:
        return uart.fifo_bytes
    return uart.held_bytes - (uart.buffer_bytes if one_is_held else 0)


def _xdfu(case: Case) -> Ceiling:
    line = case.baud / _BITS_PER_BYTE
    flash = flash_rate(case)
    if case.ideal_flash:
        return Ceiling(line, flash, line, f"line = {line:.0f}")
    # Serial Modem writes 1024 bytes at a time, the first of a page after its erase, and still holds the DMA buffer that
    # the last of them came in.
    block_s = _write_s(STREAM_BUFFER_BYTES)
    stalls_s = [_ERASE_S + block_s] + [block_s] * (PAGE_BYTES // STREAM_BUFFER_BYTES - 1)
    hidden_bytes = _hidden_bytes(case.uart, one_is_held=True)
    hidden_s = sum(min(stall_s, hidden_bytes / line) for stall_s in stalls_s)
    if case.uart.reception is Reception.FIFO:  # whose interrupts are served between the words of a write
        hidden_s = min(_ERASE_S, hidden_bytes / line) + _write_s(PAGE_BYTES)
    page_s = sum(stalls_s) + max(0.0, PAGE_BYTES / line - hidden_s)
    formula = (
        f"4096 / ({sum(stalls_s) * 1e3:.0f} ms flash + max(0, {PAGE_BYTES / line * 1e3:.0f} ms line"
        f" - {hidden_s * 1e3:.0f} ms hidden))"
    )
    return Ceiling(line, flash, PAGE_BYTES / page_s, formula)


def _smp(case: Case) -> Ceiling:
    if case.route != "recovery":
        ahead = max(0, case.smp.buffer_count - 2)  # one is worked on, one is kept for the answer
        return _with_messages(case, case.smp.buffer_bytes - _LENGTH_AND_CRC_BYTES, ahead)
    # Recovery has one buffer; a second message may wait in its line buffers if it fits there.
    alone = _with_messages(case, RECOVERY_BUFFER_BYTES - _LENGTH_AND_CRC_BYTES, 0)
    overlapping = _with_messages(case, largest_message_bytes(RECOVERY_LINE_BUFFERS - _SPARE_LINES), 1)
    best = max(alone, overlapping, key=lambda each: each.reach)
    return Ceiling(alone.line, alone.flash, best.reach, best.formula)


def _with_messages(case: Case, message_bytes: int, ahead: int) -> Ceiling:
    """The limits with messages of a size of which ``ahead`` may wait while one is worked on."""
    payload = message_bytes - len(_request(case, b"")) - _BYTE_STRING_HEAD_BYTES
    byte_s = _BITS_PER_BYTE / case.baud
    frame_s = frame_size_bytes(message_bytes, DEFAULT_LINE_BYTES) * byte_s
    line, flash = payload / frame_s, flash_rate(case)
    requests = PAGE_BYTES / payload
    write_s = 0.0 if case.ideal_flash else _write_s(payload)
    erase_s = 0.0 if case.ideal_flash else _ERASE_S
    # While it works on a request the processor takes nothing from the UART.
    work_s = write_s + _MESSAGE_S + _answer_bytes(case) * byte_s
    hidden_s = min(_hidden_bytes(case.uart, one_is_held=False) * byte_s, ahead * frame_s)
    if case.uart.reception is Reception.FIFO:  # whose interrupts are served except during an erase
        overlap_s = requests * min(work_s, ahead * frame_s)
    else:
        overlap_s = max(0.0, requests - 1) * min(work_s, hidden_s) + min(work_s + erase_s, hidden_s)
    cpu_s = requests * work_s + erase_s
    page_s = cpu_s + max(0.0, requests * frame_s - overlap_s)
    turn_s = 2 * case.usb_latency_ms / 1e3 + frame_s + work_s + erase_s / requests
    turns_s = requests / (ahead + 1) * turn_s
    formula = (
        f"4096 / max({cpu_s * 1e3:.0f} ms flash and messages + max(0, {requests * frame_s * 1e3:.0f} ms line"
        f" - {overlap_s * 1e3:.0f} ms hidden), {turns_s * 1e3:.0f} ms of round trips)"
    )
    return Ceiling(line, flash, PAGE_BYTES / max(page_s, turns_s), formula)


def _request(case: Case, data: bytes) -> bytes:
    body = {"off": case.size_bytes // 2, "data": data}
    return SmpMessage(SmpOp.WRITE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body).encode()


def _answer_bytes(case: Case) -> int:
    body = {"rc": 0, "off": case.size_bytes // 2}
    message = SmpMessage(SmpOp.WRITE_RESPONSE, SmpGroup.IMAGE, ImageCommand.UPLOAD, body)
    return frame_size_bytes(len(message.encode(indefinite=True)), DEFAULT_LINE_BYTES)
