"""What Serial Modem and its predecessor have in common: resets, results of updates, and their own small commands.

Sources: ncs-serial-modem ``app/src/sm_at_commands.c`` and ``main.c``; NCS 2.9 ``applications/serial_lte_modem/src``, from
which it was made. The functions are the same in both.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, SILENT, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.modem_delta import AREA_BYTES, DeltaResult
from bridge.virtual.running_image import RunningImage
from bridge.wire.at_command import AtCommand, CommandKind

EXECUTED: Final = (CommandKind.EXECUTE, CommandKind.SET)

_RESPONSE_DELAY_NS: Final = 50 * NS_PER_MS
_FOTA_ACTIVATE: Final = 4
_FOTA_COMPLETE: Final = 5


class ModemApplication:
    """The common part of one run.

    Args:
        hardware: What it runs on.
        image: The image that MCUboot started.
        host: The AT host.
    """

    def __init__(self, hardware: Hardware, image: RunningImage, host: Callable[[], AtHost]) -> None:
        self._hardware = hardware
        self._image = image
        self._host = host
        self._fota: str | None = None
        self.commands: dict[str, Callable[[AtCommand], Reply]] = {
            "#XRESET": self.reset,
            "#XMODEMRESET": self._reset_modem,
            "#XUUID": self._device_uuid,
            "#XDATACTRL": self._data_control,
            "#XFOTA": self._fota_command,
        }

    # --- start ----------------------------------------------------------------------------------------------

    def remember_result(self, result: DeltaResult | None) -> None:
        """Keep what came of a delta update, to report it when the application is ready."""
        if result is None:
            return
        firmware = self._hardware.modem.firmware
        version = None if firmware is None else firmware.version
        self._hardware.note("modem-update", result=result.name, version=version)
        stage = _FOTA_ACTIVATE if result is DeltaResult.VOLTAGE_LOW else _FOTA_COMPLETE
        self._fota = f"{stage},0" if result is DeltaResult.OK else f"{stage},1,{result:d}"

    def confirm_image(self) -> None:
        """Confirm an image on trial, if the image does that."""
        if self._image.unconfirmed and self._image.behaviour.confirms:
            self._image.confirm()
            self._hardware.note("confirmed", version=self._image.version)
            self._fota = f"{_FOTA_COMPLETE},0"

    def report_result(self) -> None:
        """Send ``#XFOTA`` once, if there is something to say."""
        if self._fota is not None:
            self._host().urc(f"\r\n#XFOTA: {self._fota}\r\n")
            self._fota = None

    # --- commands -------------------------------------------------------------------------------------------

    def reset(self, command: AtCommand) -> Reply:
        """``#XRESET``."""
        if command.kind not in EXECUTED:
            return ERROR
        return Reply("OK", after=self.reset_later)

    def reset_later(self) -> None:
        """Reset the board after the time that an answer is given to leave."""
        self._later(self._do_reset)

    def _later(self, action: Callable[[], None]) -> None:
        self._hardware.cpu.submit_after(_RESPONSE_DELAY_NS, action)

    def _do_reset(self) -> None:
        cpu = self._hardware.cpu
        self._hardware.modem.power_off()
        self._hardware.timeline.at(cpu.now_ns, lambda: self._hardware.reset("command"))

    def _reset_modem(self, command: AtCommand) -> Reply:
        if command.kind not in EXECUTED:
            return ERROR
        self._later(self._do_reset_modem)
        return SILENT

    def _do_reset_modem(self) -> None:
        modem = self._hardware.modem
        modem.power_off()
        modem.shut_down()
        status, result = modem.start()
        self.remember_result(result)
        self.report_result()
        self._host().respond(f"\r\n#XMODEMRESET: {f'2,{status}' if status else '0'}\r\n")
        self._host().respond("\r\nOK\r\n")

    def _device_uuid(self, command: AtCommand) -> Reply:
        if command.kind not in EXECUTED:
            return ERROR
        return Reply("OK", (f"#XUUID: {self._hardware.modem.nvm.device_uuid}",))

    def _data_control(self, command: AtCommand) -> Reply:
        host = self._host()
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
        modem = self._hardware.modem
        if command.kind is CommandKind.SET and command.integer(0) == 7:
            return Reply("OK", (f"#XFOTA: {AREA_BYTES},{modem.delta.offset}",))
        if command.kind is CommandKind.SET and command.integer(0) == 9:
            modem.step(modem.delta.erase())
            return OK
        return ERROR
