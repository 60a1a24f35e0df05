"""Serial recovery on the UART: MCUboot's loop that waits for lines, works on them and answers.

Sources: MCUboot ``boot/zephyr/serial_adapter.c`` and ``boot_serial_read_console``. The interrupt puts every byte into line
buffers at once, whatever the loop does, so hardware flow control does not stop the host when they are full: with no buffer
left, bytes are gone. It does stop it while flash is busy and the interrupt handler cannot run. Answers leave by polling. The
Zephyr console is off in such builds.
"""

from collections.abc import Callable, Sequence
from typing import Final

from bridge.virtual.boot_machine import BootMachine
from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.recovery_lines import LineBuffers, PacketDecoder
from bridge.virtual.recovery_server import RecoveryServer
from bridge.virtual.uart_options import Reception, UartOptions
from bridge.wire.smp_frame import encode_frame

_LINE_NS: Final = NS_PER_MS // 20
_MESSAGE_NS: Final = NS_PER_MS // 2
_RESET_NS: Final = 250 * NS_PER_MS


class RecoveryConsole:
    """One stay in serial recovery, or one wait for its first command.

    Args:
        machine: What it runs on.
        options: Kconfig of MCUboot.
        public_keys_pem: The keys built into it.
        on_command: Called for every command that was one.
    """

    def __init__(
        self,
        machine: BootMachine,
        options: BootloaderOptions,
        public_keys_pem: Sequence[bytes],
        *,
        on_command: Callable[[], None] = lambda: None,
    ) -> None:
        self._machine = machine
        self._options = options
        self._keys = public_keys_pem
        self._on_command = on_command
        self._lines = LineBuffers(options.line_bytes, options.line_buffers)
        self._packets = PacketDecoder(options.receive_bytes)
        self._server: RecoveryServer | None = None
        self._noted_lost_bytes = 0
        self._resetting = False

    def open(self) -> None:
        """Begin to receive; lines wait until :meth:`serve`."""
        interrupts = UartOptions(reception=Reception.FIFO)
        self._machine.uart.enable(self._options.baud, interrupts if self._options.interrupt_driven else None)

    def close(self) -> None:
        """MCUboot starts the application, which sets up the UART anew."""
        self._machine.uart.disable()
        self._server = None

    def serve(self, max_image_bytes: int | None = None) -> None:
        """Work on lines from now on.

        Args:
            max_image_bytes: Largest image that can be swapped, if MCUboot has worked it out at this boot.
        """
        self._server = RecoveryServer(
            self._machine.flash,
            self._machine.layout,
            self._options,
            self._keys,
            reset=self._ask_for_reset,
            max_image_bytes=max_image_bytes,
        )
        self._machine.cpu.submit(self._work)

    def on_received(self) -> None:
        """The UART's interrupt."""
        lines = self._lines
        lines.feed(self._machine.uart.read())
        if lines.lost_bytes > self._noted_lost_bytes:
            self._machine.note("lines-full", count=lines.lost_bytes - self._noted_lost_bytes)
            self._noted_lost_bytes = lines.lost_bytes
        if self._server is not None:
            self._machine.cpu.submit(self._work)

    def _work(self) -> None:
        """One turn of the loop: one line."""
        server = self._server
        if server is None:
            return
        line = self._lines.take()
        if line is None:
            return
        cpu = self._machine.cpu
        cpu.spend(_LINE_NS)
        message = self._packets.take(line)
        if message is not None:
            cpu.spend(_MESSAGE_NS)
            answer = server.handle(message)
            if answer is not None:
                self._machine.replies.give(encode_frame(answer), self._send, cpu.submit_after)
                self._on_command()
        if self._resetting:
            # The loop sleeps, now that the answer is out.
            self._server = None
            cpu.submit_after(_RESET_NS, lambda: self._machine.reset("recovery"))
        else:
            cpu.submit(self._work)

    def _send(self, data: bytes) -> None:
        cpu, uart = self._machine.cpu, self._machine.uart
        uart.send(data, cpu.now_ns)
        cpu.wait_until(uart.tx_free_ns)

    def _ask_for_reset(self) -> None:
        self._resetting = True
