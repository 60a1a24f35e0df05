"""The application on the board: Nordic Serial Modem from its start to ``Ready``, and its own commands.

Source: ncs-serial-modem ``app/src/main.c`` (start, confirmation, result messages), ``sm_at_commands.c``,
``sm_at_fota.c``. Commands of the modem are passed on. What the version in the reply says comes from the
header of the image that runs.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, SILENT, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.modem import EIO
from bridge.virtual.modem_delta import AREA_BYTES, DeltaResult
from bridge.virtual.running_image import RunningImage
from bridge.virtual.uart import BAUD_RATES
from bridge.virtual.xdfu_receiver import XdfuReceiver
from bridge.wire.at_command import AtCommand, CommandKind

READY: Final = "Ready\r\n"
BOOTLOADER_MODE_READY: Final = "Bootloader mode ready\r\n"
NCS_VERSION: Final = "3.3.0-rc1"

_RESPONSE_DELAY_NS: Final = 50 * NS_PER_MS
_START_NS: Final = 150 * NS_PER_MS
_MCUBOOT_VERSION: Final = 1
_MCUBOOT_SLOT: Final = 0
_FOTA_ACTIVATE: Final = 4
_FOTA_COMPLETE: Final = 5
_EXECUTED: Final = (CommandKind.EXECUTE, CommandKind.SET)


class SerialModem:
    """One run of the application, from reset to reset.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        baud: Rate from the device tree, valid after every reset.
    """

    def __init__(self, hardware: Hardware, image: RunningImage, baud: int) -> None:
        self._hardware = hardware
        self._image = image
        self._baud = baud
        self._fota: str | None = None
        self._bootloader_mode = False
        self.host = AtHost(
            hardware.timeline, hardware.cpu, hardware.uart, self._execute, faults=hardware.faults
        )
        self._xdfu = XdfuReceiver(
            cpu=hardware.cpu,
            flash=hardware.flash,
            layout=hardware.layout,
            modem=hardware.modem,
            host=lambda: self.host,
            faults=hardware.faults,
        )
        self._commands: dict[str, Callable[[AtCommand], Reply]] = {
            "E0": lambda _: self._set_echo(enabled=False),
            "E1": lambda _: self._set_echo(enabled=True),
            "+IPR": self._rate,
            "#XSMVER": self._version,
            "#XRESET": self._reset,
            "#XMODEMRESET": self._reset_modem,
            "#XBOOTINFO": self._bootloader_info,
            "#XUUID": self._device_uuid,
            "#XDATACTRL": self._data_control,
            "#XFOTA": self._fota_command,
            "#XCLAC": self._list_commands,
            "#XDFUINIT": self._xdfu.init,
            "#XDFUWRITE": self._xdfu.write,
            "#XDFUAPPLY": self._xdfu.apply,
        }

    # --- start ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """From the first instruction to ``Ready``; runs on the CPU."""
        hardware = self._hardware
        hardware.cpu.spend(_START_NS)
        hardware.uart.enable(self._baud)
        hardware.modem.registers = self._image.behaviour.registers
        if not self._start_modem():
            return
        if self._image.unconfirmed and self._image.behaviour.confirms:
            self._image.confirm()
            hardware.note("confirmed", version=self._image.version)
            self._fota = f"{_FOTA_COMPLETE},0"
        hardware.cpu.spend(self._image.behaviour.ready_delay_ms * NS_PER_MS)
        self.host.respond(READY)
        hardware.note("ready", version=self._image.version)
        self._report_fota()

    def _start_modem(self) -> bool:
        """Start the modem; without a working one only the bootloader mode is left."""
        status, result = self._hardware.modem.start()
        if status == -EIO:
            self._bootloader_mode = True
            self.host.respond(BOOTLOADER_MODE_READY)
            self._hardware.note("bootloader-mode")
            return False
        self._remember_result(result)
        return True

    def _remember_result(self, result: DeltaResult | None) -> None:
        if result is None:
            return
        self._hardware.note("modem-update", result=result.name, version=self._hardware.modem.nvm.version)
        stage = _FOTA_ACTIVATE if result is DeltaResult.VOLTAGE_LOW else _FOTA_COMPLETE
        self._fota = f"{stage},0" if result is DeltaResult.OK else f"{stage},1,{result:d}"

    def _report_fota(self) -> None:
        if self._fota is not None:
            self.host.urc(f"\r\n#XFOTA: {self._fota}\r\n")
            self._fota = None

    def on_received(self) -> None:
        """The UART has bytes."""
        self.host.on_received()

    def on_modem_notification(self, line: str) -> None:
        """Pass on what the modem says unasked."""
        self.host.urc(f"\r\n{line}\r\n")

    # --- commands -------------------------------------------------------------------------------------------

    def _execute(self, command: AtCommand) -> Reply:
        if self._bootloader_mode:
            return self._reset(command) if command.name == "#XRESET" else ERROR
        handler = self._commands.get(command.name)
        return self._hardware.modem.execute(command) if handler is None else handler(command)

    def _set_echo(self, *, enabled: bool) -> Reply:
        self.host.set_echo(enabled)
        return OK

    def _version(self, command: AtCommand) -> Reply:
        if command.kind not in _EXECUTED:
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

    def _reset(self, command: AtCommand) -> Reply:
        if command.kind not in _EXECUTED:
            return ERROR
        return Reply("OK", after=lambda: self._later(self._do_reset))

    def _later(self, action: Callable[[], None]) -> None:
        self._hardware.cpu.submit_after(_RESPONSE_DELAY_NS, action)

    def _do_reset(self) -> None:
        cpu = self._hardware.cpu
        self._hardware.modem.power_off()
        self._hardware.timeline.at(cpu.now_ns, lambda: self._hardware.reset("command"))

    def _reset_modem(self, command: AtCommand) -> Reply:
        if command.kind not in _EXECUTED:
            return ERROR
        self._later(self._do_reset_modem)
        return SILENT

    def _do_reset_modem(self) -> None:
        modem = self._hardware.modem
        modem.power_off()
        modem.shut_down()
        status, result = modem.start()
        self._remember_result(result)
        self._report_fota()
        self.host.respond(f"\r\n#XMODEMRESET: {f'2,{status}' if status else '0'}\r\n")
        self.host.respond("\r\nOK\r\n")

    def _bootloader_info(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("#XBOOTINFO: (0,1)",))
        values = {0: _MCUBOOT_VERSION, 1: _MCUBOOT_SLOT}
        value = values.get(command.integer(0, -1) or 0) if command.parameters else None
        if command.kind is not CommandKind.SET or value is None:
            return ERROR
        return Reply("OK", (f"#XBOOTINFO: {value}",))

    def _device_uuid(self, command: AtCommand) -> Reply:
        if command.kind not in _EXECUTED:
            return ERROR
        return Reply("OK", (f"#XUUID: {self._hardware.modem.nvm.device_uuid}",))

    def _data_control(self, command: AtCommand) -> Reply:
        host = self.host
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"#XDATACTRL: {host.data_time_limit_ms},{host.minimum_time_limit_ms}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("#XDATACTRL=<time_limit>",))
        limit_ms = command.integer(0)
        if limit_ms is None or not host.minimum_time_limit_ms <= limit_ms <= 0xFFFF:
            return ERROR
        host.data_time_limit_ms = limit_ms
        return OK

    def _fota_command(self, command: AtCommand) -> Reply:
        """The two operations on the modem's update area; downloads by the board itself are not offered."""
        delta = self._hardware.modem.delta
        if command.kind is CommandKind.SET and command.integer(0) == 7:
            return Reply("OK", (f"#XFOTA: {AREA_BYTES},{delta.offset}",))
        if command.kind is CommandKind.SET and command.integer(0) == 9:
            result = delta.erase()
            self._hardware.cpu.spend(int(result.duration_ns * self._hardware.modem.options.time_scale))
            return OK
        return ERROR

    def _list_commands(self, command: AtCommand) -> Reply:
        if command.kind not in _EXECUTED:
            return ERROR
        return Reply("OK", tuple(f"AT{name}" for name in self._commands))
