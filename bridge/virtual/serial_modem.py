"""The application on the board: Nordic Serial Modem from its start to ``Ready``, and its own commands.

Source: ncs-serial-modem ``app/src/main.c`` (start, confirmation, bootloader mode), ``sm_at_commands.c``, ``sm_at_host.c``
(``handle_bootloader_at_cmd``). Commands of the modem are passed on. What the version in the reply says comes from the header
of the image that runs. With a modem that does not start the application asks itself for bootloader mode and resets.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, SILENT, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.immutable_bootloader import active_bootloader
from bridge.virtual.modem import EIO
from bridge.virtual.modem_application import EXECUTED, ModemApplication
from bridge.virtual.running_image import RunningImage
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.settings import Settings
from bridge.virtual.uart import BAUD_RATES
from bridge.virtual.xdfu_receiver import XdfuReceiver
from bridge.virtual.xdfu_targets import BOOTLOADER_MODE_SETTING
from bridge.wire.at_command import AtCommand, CommandKind

READY: Final = "Ready\r\n"
BOOTLOADER_MODE_READY: Final = "Bootloader mode ready\r\n"
NCS_VERSION: Final = "3.3.0-rc1"

_START_NS: Final = 150 * NS_PER_MS


class SerialModem:
    """One run of the application, from reset to reset.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        baud: Rate from the device tree, valid after every reset.
        options: How it was built.
    """

    def __init__(
        self,
        hardware: Hardware,
        image: RunningImage,
        baud: int,
        options: SerialModemOptions | None = None,
    ) -> None:
        assert hardware.layout.storage is not None
        self._hardware = hardware
        self._image = image
        self._baud = baud
        self._settings = Settings(hardware.flash, hardware.layout.storage)
        self.host = AtHost(
            hardware.timeline, hardware.cpu, hardware.uart, self._execute, replies=hardware.replies
        )
        self._common = ModemApplication(hardware, image, lambda: self.host)
        self._xdfu = XdfuReceiver(
            hardware, self._settings, lambda: self.host, options or SerialModemOptions()
        )
        xdfu: dict[str, Callable[[AtCommand], Reply]] = {
            "#XDFUINIT": self._xdfu.init,
            "#XDFUWRITE": self._xdfu.write,
            "#XDFUAPPLY": self._xdfu.apply,
        }
        self._bootloader_commands = {**xdfu, "#XRESET": self._reset_in_bootloader_mode}
        self._commands: dict[str, Callable[[AtCommand], Reply]] = {
            "E0": lambda _: self._set_echo(enabled=False),
            "E1": lambda _: self._set_echo(enabled=True),
            "+IPR": self._rate,
            "#XSMVER": self._version,
            "#XBOOTINFO": self._bootloader_info,
            "#XCLAC": self._list_commands,
            **self._common.commands,
            **xdfu,
        }

    # --- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From the first instruction to ``Ready``; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS)
        hardware.uart.enable(self._baud)
        hardware.modem.network.registers = self._image.behaviour.registers
        if self._settings.load().get(BOOTLOADER_MODE_SETTING) == b"\1":
            self._start_in_bootloader_mode()
            return
        status, result = hardware.modem.start()
        if status == -EIO:
            # Only a full update of the modem helps now; its own result of the delta is lost.
            self._settings.save(BOOTLOADER_MODE_SETTING, b"\1")
            hardware.timeline.at(hardware.cpu.now_ns, lambda: hardware.reset("modem does not start"))
            return
        self._common.remember_result(result)
        self._common.confirm_image()
        hardware.cpu.spend(self._image.behaviour.ready_delay_ms * NS_PER_MS)
        self.host.respond(READY)
        hardware.note("ready", version=self._image.version)
        self._common.report_result()

    def _start_in_bootloader_mode(self) -> None:
        self._settings.save(BOOTLOADER_MODE_SETTING, b"\0")
        self._hardware.modem.start_bootloader()
        self._xdfu.bootloader_mode = True
        self.host.respond(BOOTLOADER_MODE_READY)
        self._hardware.note("bootloader-mode")

    def on_received(self) -> None:
        """The UART has bytes."""
        self.host.on_received()

    def on_modem_notification(self, line: str) -> None:
        """Pass on what the modem says unasked."""
        self.host.urc(f"\r\n{line}\r\n")

    # --- commands -------------------------------------------------------------------------------------------

    def _execute(self, command: AtCommand) -> Reply:
        if self._xdfu.bootloader_mode:
            known = self._bootloader_commands.get(command.name)
            return ERROR if known is None else known(command)
        handler = self._commands.get(command.name)
        return self._hardware.modem.execute(command) if handler is None else handler(command)

    def _reset_in_bootloader_mode(self, command: AtCommand) -> Reply:
        self._common.reset_later()
        return SILENT

    def _set_echo(self, *, enabled: bool) -> Reply:
        self.host.set_echo(enabled)
        return OK

    def _version(self, command: AtCommand) -> Reply:
        if command.kind not in EXECUTED:
            return ERROR
        return Reply("OK", (f'#XSMVER: "v{self._image.version}","{NCS_VERSION}"',))

    def _rate(self, command: AtCommand) -> Reply:
        uart = self._hardware.uart
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"+IPR: {uart.baud}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", (f"+IPR: ({','.join(map(str, BAUD_RATES))})",))
        rate = command.integer(0)
        if command.kind is not CommandKind.SET or rate not in BAUD_RATES:
            return ERROR

        def switch() -> None:
            uart.baud = rate

        # OK still leaves at the old rate.
        return Reply("OK", after=lambda: self._after_sending(switch))

    def _after_sending(self, action: Callable[[], None]) -> None:
        hardware = self._hardware
        hardware.timeline.at(max(hardware.cpu.now_ns, hardware.uart.tx_free_ns), action)

    def _bootloader_info(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("#XBOOTINFO: (0,1)",))
        layout = self._hardware.layout
        active = None if layout.bootloader_slots is None else active_bootloader(self._hardware.flash, layout)
        operation = command.integer(0)
        if command.kind is not CommandKind.SET or active is None or operation not in (0, 1):
            return ERROR
        return Reply("OK", (f"#XBOOTINFO: {active.slot if operation else active.version}",))

    def _list_commands(self, command: AtCommand) -> Reply:
        if command.kind not in EXECUTED:
            return ERROR
        return Reply("OK", tuple(f"AT{name}" for name in self._commands))
