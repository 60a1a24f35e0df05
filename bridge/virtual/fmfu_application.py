"""NCS's sample for full modem updates over SMP: the modem in bootloader mode, and an SMP server on the UART.

Source: NCS 2.9 ``samples/cellular/fmfu_smp_svr`` (``main.c``, ``prj.conf``): lines and messages of up to 512 bytes, answers
with ``rc`` in every case, no console on the UART (it is on RTT), 115,200 baud, or 1,000,000 with the sample's overlay. It
does not confirm itself, and it starts whether the modem has firmware or not.
"""

from collections import deque
from typing import Final

from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.fmfu_server import BUFFER_BYTES, FmfuServer
from bridge.virtual.hardware import Hardware
from bridge.virtual.running_image import RunningImage
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.smp_zephyr import ZephyrSmpServer
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame

OPTIONS: Final = SmpOptions(buffer_bytes=BUFFER_BYTES, line_bytes=BUFFER_BYTES, legacy_rc=True)

_START_NS: Final = 50 * NS_PER_MS
_RESET_NS: Final = 250 * NS_PER_MS
_MESSAGE_NS: Final = NS_PER_MS // 2
_LENGTH_AND_CRC_BYTES: Final = 4


class FmfuApplication:
    """One run of the sample, from reset to reset.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        baud: Rate from the device tree.
    """

    def __init__(self, hardware: Hardware, image: RunningImage, baud: int) -> None:
        self._hardware = hardware
        self._image = image
        self._baud = baud
        self._decoder = SmpFrameDecoder(
            max_line_bytes=OPTIONS.line_bytes, max_message_bytes=OPTIONS.buffer_bytes - _LENGTH_AND_CRC_BYTES
        )
        self._buffers: deque[bytes] = deque()
        zephyr = ZephyrSmpServer(hardware.flash, hardware.layout, OPTIONS, self._reset_later)
        self._server = FmfuServer(hardware.modem, zephyr.handle)

    def start(self) -> None:
        """From the first instruction to a server that waits; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS + self._image.behaviour.ready_delay_ms * NS_PER_MS)
        hardware.uart.enable(self._baud)
        status, _ = hardware.modem.start()
        firmware = None if status else hardware.modem.firmware
        hardware.modem.start_bootloader()
        modem_version = None if firmware is None else firmware.version
        hardware.note("ready", version=self._image.version, modem_version=modem_version)

    def on_received(self) -> None:
        """The UART has bytes; they are looked at before any waiting message."""
        self._hardware.cpu.submit(self._receive, first=True)

    def on_modem_notification(self, line: str) -> None:
        """A modem in bootloader mode says nothing."""

    def _receive(self) -> None:
        for message in self._decoder.feed(self._hardware.uart.read()):
            if len(self._buffers) < OPTIONS.buffer_count:
                self._buffers.append(message)
            else:
                self._hardware.note("message-dropped", size_bytes=len(message))
        self._decoder.text_lines.clear()
        if self._buffers:
            self._hardware.cpu.submit(self._work)

    def _work(self) -> None:
        hardware = self._hardware
        hardware.cpu.spend(_MESSAGE_NS)
        answer = self._server.handle(self._buffers[0])
        self._buffers.popleft()  # the buffer is held as long as the work lasts
        if answer is not None:
            hardware.replies.give(encode_frame(answer), self._send, hardware.cpu.submit_after)
        if self._buffers:
            hardware.cpu.submit(self._work)

    def _send(self, data: bytes) -> None:
        hardware = self._hardware
        hardware.uart.send(data, hardware.cpu.now_ns)
        hardware.cpu.wait_until(hardware.uart.tx_free_ns)

    def _reset_later(self) -> None:
        self._hardware.cpu.submit_after(_RESET_NS, lambda: self._hardware.reset("smp"))
