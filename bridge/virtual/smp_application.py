"""An application with Zephyr's SMP server on the console UART, between its log lines.

Source: Zephyr ``subsys/mgmt/mcumgr/transport/src/smp_uart.c`` and ``drivers/console/uart_mcumgr.c``: lines that do not
fit the receive buffer are dropped, complete messages wait in a fixed number of buffers for one work queue, answers
leave by polling. The application confirms itself only when it is told to.
"""

from collections import deque
from typing import Final

from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.running_image import RunningImage
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.smp_zephyr import ZephyrSmpServer
from bridge.wire.smp_frame import SmpFrameDecoder, encode_frame

_START_NS: Final = 50 * NS_PER_MS
_RESET_NS: Final = 250 * NS_PER_MS
_MESSAGE_NS: Final = NS_PER_MS // 2
_LENGTH_AND_CRC_BYTES: Final = 4


class SmpApplication:
    """One run of the application, from reset to reset.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        baud: Rate from the device tree.
        options: Kconfig of its SMP server.
    """

    def __init__(self, hardware: Hardware, image: RunningImage, baud: int, options: SmpOptions) -> None:
        self._hardware = hardware
        self._image = image
        self._baud = baud
        self._options = options
        self._decoder = SmpFrameDecoder(
            max_line_bytes=options.line_bytes, max_message_bytes=options.buffer_bytes - _LENGTH_AND_CRC_BYTES
        )
        self._buffers: deque[bytes] = deque()
        self._server = ZephyrSmpServer(
            hardware.flash, hardware.layout, options, self._reset_later, hardware.retained
        )

    def start(self) -> None:
        """From the first instruction to the last line of the boot log; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS + self._image.behaviour.ready_delay_ms * NS_PER_MS)
        hardware.uart.enable(self._baud)
        self._send(b"*** Booting Zephyr OS ***\r\n")
        self._send(f"[00:00:00.250,000] <inf> app: version {self._image.version}\r\n".encode())
        hardware.note("ready", version=self._image.version)

    def on_received(self) -> None:
        """The UART has bytes; they are looked at before any waiting message."""
        self._hardware.cpu.submit(self._receive, first=True)

    def on_modem_notification(self, line: str) -> None:
        """The modem is not used."""

    def _receive(self) -> None:
        for message in self._decoder.feed(self._hardware.uart.read()):
            if len(self._buffers) < self._options.buffer_count:
                self._buffers.append(message)
            else:
                self._hardware.note("message-dropped", size_bytes=len(message))
        self._decoder.text_lines.clear()
        if self._buffers:
            self._hardware.cpu.submit(self._work)

    def _work(self) -> None:
        self._hardware.cpu.spend(_MESSAGE_NS)
        answer = self._server.handle(self._buffers[0])
        self._buffers.popleft()  # the buffer is held as long as the work lasts
        if answer is not None:
            hardware = self._hardware
            hardware.replies.give(encode_frame(answer), self._send, hardware.cpu.submit_after)
        if self._buffers:
            self._hardware.cpu.submit(self._work)

    def _send(self, data: bytes) -> None:
        hardware = self._hardware
        hardware.uart.send(data, hardware.cpu.now_ns)
        hardware.cpu.wait_until(hardware.uart.tx_free_ns)

    def _reset_later(self) -> None:
        self._hardware.cpu.submit_after(_RESET_NS, lambda: self._hardware.reset("smp"))
