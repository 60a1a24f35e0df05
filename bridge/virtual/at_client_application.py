"""NCS's AT Client sample: the modem's own text on the console UART, and nothing else.

Sources: NCS 2.9 ``samples/cellular/at_client/src/main.c`` and ``lib/at_host/at_host.c``. A command ends with CR. While one is
carried out reception is off: without flow control only what the UART itself holds is kept. When the modem does not answer
at all, the library sends its buffer back, and that is the command.
"""

from typing import Final

from bridge.virtual.at_host import ERROR, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.running_image import RunningImage
from bridge.wire.at_command import parse_command

MAX_COMMAND_BYTES: Final = 4096
BANNER: Final = (
    "*** Booting nRF Connect SDK v2.9.0-7787b2649840 ***\r\n*** Using Zephyr OS v3.7.99-1f8f3dc29142 ***\r\n"
)
STARTED: Final = "The AT host sample started\r\n"
READY: Final = "Ready\r\n"

_FIFO_BYTES: Final = 5
"""One byte that DMA has taken, and four in the peripheral."""
_START_NS: Final = 50 * NS_PER_MS
_CR: Final = 0x0D
_QUOTE: Final = 0x22
_SPACE: Final = 0x20
_BACKSPACE: Final = b"\x08\x7f"


class AtClientApplication:
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
        self._line = bytearray()
        self._inside_quotes = False
        self._busy = False
        self._held = bytearray()

    def start(self) -> None:
        """From the first instruction to ``Ready``; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS)
        hardware.uart.enable(self._baud)
        hardware.modem.network.registers = self._image.behaviour.registers
        self._send(BANNER + STARTED)
        status, result = hardware.modem.start()
        if result is not None:
            hardware.note("modem-update", result=result.name)
        hardware.cpu.spend(self._image.behaviour.ready_delay_ms * NS_PER_MS)
        if status:
            self._send(f"Modem library initialization failed, error: {status}\r\n")
        else:
            self._send(READY)
        hardware.note("ready", version=self._image.version)

    def on_received(self) -> None:
        """The UART has bytes; its interrupt runs at once, also while the CPU works."""
        data = self._hardware.uart.read()
        if self._busy:
            self._hold(data)
        else:
            self._accept(data)

    def on_modem_notification(self, line: str) -> None:
        """Pass on what the modem says unasked."""
        self._send(f"{line}\r\n")

    # --- receiving ------------------------------------------------------------------------------------------

    def _hold(self, data: bytes) -> None:
        room = len(data) if self._hardware.uart.holds_host else max(0, _FIFO_BYTES - len(self._held))
        self._held += data[:room]
        if len(data) > room:
            self._hardware.note("bytes-lost", count=len(data) - room)

    def _accept(self, data: bytes) -> None:
        for index, byte in enumerate(data):
            if self._take(byte):
                self._busy = True
                self._hardware.cpu.submit(self._work)
                self._hold(data[index + 1 :])
                return

    def _take(self, byte: int) -> bool:
        """Take one character; True when it ends a command that holds anything printable."""
        if byte in _BACKSPACE:
            del self._line[-1:]
            return False
        if byte == _CR and not self._inside_quotes:
            if any(character > _SPACE for character in self._line):
                return True
            self._line.clear()
            return False
        if byte != 0 and len(self._line) < MAX_COMMAND_BYTES - 1:
            self._line.append(byte)
            self._inside_quotes ^= byte == _QUOTE
        return False

    # --- working --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        text = self._line.decode("latin-1")
        self._line.clear()
        self._inside_quotes = False
        modem = self._hardware.modem
        if modem.is_running:
            command = parse_command(text.lstrip())
            self._send(_modem_text(ERROR if command is None else modem.execute(command)))
        else:
            self._send(text)
        self._hardware.timeline.at(self._hardware.cpu.now_ns, self._listen)

    def _listen(self) -> None:
        self._busy = False
        data = bytes(self._held)
        self._held.clear()
        self._accept(data)

    def _send(self, text: str) -> None:
        hardware = self._hardware
        hardware.uart.send(text.encode("latin-1"), hardware.cpu.now_ns)
        hardware.cpu.wait_until(hardware.uart.tx_free_ns)


def _modem_text(reply: Reply) -> str:
    return "".join(f"{line}\r\n" for line in (*reply.lines, reply.final))
