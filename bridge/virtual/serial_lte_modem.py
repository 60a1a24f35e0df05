"""Serial LTE Modem, from which Serial Modem was made: no ``#XDFU``, and commands that end with CR LF.

Source: NCS 2.9 ``applications/serial_lte_modem/src``. What ``#XSLMVER`` tells are versions of the SDK and of the modem library,
and nothing about the application. URCs do not wait for an idle line. A modem that does not start is only logged; ``Ready``
comes all the same, and every command of the modem is answered ``ERROR``.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.modem_application import EXECUTED, ModemApplication
from bridge.virtual.running_image import RunningImage
from bridge.virtual.serial_modem import READY
from bridge.wire.at_command import AtCommand, Terminator

VERSION_LINE: Final = '#XSLMVER: "2.5.0","2.5.0-lte-5ccd2d4dd54c"'
"""As Nordic's documentation shows it."""

_START_NS: Final = 150 * NS_PER_MS


class SerialLteModem:
    """One run of the application, from reset to reset.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        baud: Rate from the device tree.
    """

    def __init__(self, hardware: Hardware, image: RunningImage, baud: int) -> None:
        self._hardware = hardware
        self._image = image
        self._baud = baud
        self.host = AtHost(
            hardware.timeline,
            hardware.cpu,
            hardware.uart,
            self._execute,
            replies=hardware.replies,
            terminator=Terminator.CRLF,
            urcs_wait=False,
        )
        self._common = ModemApplication(hardware, image, lambda: self.host)
        self._commands: dict[str, Callable[[AtCommand], Reply]] = {
            "#XSLMVER": self._version,
            "#XCLAC": self._list_commands,
            **self._common.commands,
        }

    def start(self) -> None:
        """From the first instruction to ``Ready``; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS)
        hardware.uart.enable(self._baud)
        hardware.modem.network.registers = self._image.behaviour.registers
        _, result = hardware.modem.start()
        self._common.remember_result(result)
        self._common.confirm_image()
        hardware.cpu.spend(self._image.behaviour.ready_delay_ms * NS_PER_MS)
        self.host.respond(READY)
        hardware.note("ready", version=self._image.version)
        self._common.report_result()

    def on_received(self) -> None:
        """The UART has bytes."""
        self.host.on_received()

    def on_modem_notification(self, line: str) -> None:
        """Pass on what the modem says unasked."""
        self.host.urc(f"\r\n{line}\r\n")

    def _execute(self, command: AtCommand) -> Reply:
        handler = self._commands.get(command.name)
        return self._hardware.modem.execute(command) if handler is None else handler(command)

    def _version(self, command: AtCommand) -> Reply:
        return Reply("OK", (VERSION_LINE,)) if command.kind in EXECUTED else ERROR

    def _list_commands(self, command: AtCommand) -> Reply:
        if command.kind not in EXECUTED:
            return ERROR
        return Reply("OK", tuple(f"AT{name}" for name in self._commands))
