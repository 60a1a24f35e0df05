"""The modem core: its AT commands, its registration, and its start with or without an update.

Source: nRF91x1 AT commands reference for the replies. The application processor talks to it over shared
memory; a modem that is not initialised answers nothing, which Serial Modem turns into ``ERROR``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.virtual.at_host import ERROR, OK, Reply
from bridge.virtual.clock import NS_PER_MS, Timer
from bridge.virtual.cpu import Cpu
from bridge.virtual.credential_commands import CredentialCommands
from bridge.virtual.credentials import CmeCode, CredentialStore
from bridge.virtual.layout import BoardModel
from bridge.virtual.modem_delta import DeltaResult, DeltaUpdater
from bridge.virtual.modem_nvm import ModemNvm
from bridge.wire.at_command import AtCommand, CommandKind

EIO: Final = 5
EAGAIN: Final = 11

_COMMAND_NS: Final = 5 * NS_PER_MS
_START_NS: Final = 250 * NS_PER_MS
_DETACH_NS: Final = 1_500 * NS_PER_MS
_SEARCH_NS: Final = 300 * NS_PER_MS
_REGISTER_NS: Final = 3_000 * NS_PER_MS

_FUNCTIONAL_MODES: Final = (0, 1, 4, 20, 21, 30, 31, 40, 41, 44)
_LTE_ON: Final = (1, 21)
_CELL: Final = ("00B7", "00011B07", "7")
_PLMN: Final = "26295"
_TIMERS: Final = '"11100000","11100000"'


@dataclass(frozen=True)
class ModemOptions:
    """How the surroundings of the modem are.

    Attributes:
        battery_mv: Supply in mV; too little postpones a delta update.
        time_scale: Factor on the minutes that erasing and applying a delta take.
    """

    battery_mv: int = 4_464
    time_scale: float = 1.0


class Modem:
    """The modem as the application processor sees it.

    Args:
        nvm: What it remembers.
        cpu: Whose work waits while a command runs.
        notify: Takes unsolicited lines.
        options: Its surroundings.
        model: The board that it is on.
    """

    def __init__(
        self,
        nvm: ModemNvm,
        cpu: Cpu,
        notify: Callable[[str], None],
        options: ModemOptions,
        model: BoardModel,
    ) -> None:
        self.nvm = nvm
        self.options = options
        self.delta = DeltaUpdater(nvm)
        self.registers = True
        self._cpu = cpu
        self._notify = notify
        self._store = CredentialStore(nvm.credentials, nvm.device_uuid)
        self._running = False
        self._timers: list[Timer] = []
        self._clear()
        credentials = CredentialCommands(self._store, self._cme, lambda: self._functional_mode not in (0, 4))
        self._commands: dict[str, Callable[[AtCommand], Reply]] = {
            "": lambda _: OK,
            "+CGMI": self._fixed(lambda: "Nordic Semiconductor ASA"),
            "+CGMM": self._fixed(lambda: model.modem_model),
            "+CGMR": self._fixed(lambda: nvm.firmware_name),
            "+CGSN": self._serial_number,
            "+CFUN": self._functionality,
            "+CEREG": self._registration_command,
            "+CMEE": self._error_mode,
            "+COPS": self._operator,
            "+CESQ": self._signal,
            "+CLAC": self._list_commands,
            "%SHORTSWVER": self._fixed(lambda: f"%SHORTSWVER: {nvm.family}_{nvm.version}"),
            "%HWVERSION": self._fixed(lambda: f"%HWVERSION: {model.hardware_version}"),
            "%XMODEMUUID": self._fixed(lambda: f"%XMODEMUUID: {nvm.modem_uuid}"),
            "%DEVICEUUID": self._fixed(lambda: f"%DEVICEUUID: {nvm.device_uuid}"),
            "%XMONITOR": self._fixed(self._monitor),
            "%XVBAT": self._fixed(lambda: f"%XVBAT: {options.battery_mv}"),
            "%XTEMP": self._temperature,
            "%XSIM": self._sim,
            "%CMNG": credentials.manage,
            "%KEYGEN": credentials.generate,
        }

    def _clear(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._functional_mode = 0
        self._registration = 0
        self._registration_mode = 0
        self._cme_enabled = False

    # --- power ----------------------------------------------------------------------------------------------

    def start(self) -> tuple[int, DeltaResult | None]:
        """Initialise the modem library; applies a scheduled update first.

        Returns:
            0 or a negative errno, and the result of an update if there was one.
        """
        self._clear()
        self._cpu.spend(_START_NS)
        applied = self.delta.apply(self.options.battery_mv)
        if applied is None:
            self._running = True
            return 0, None
        result, duration_ns = applied
        self._cpu.spend(int(duration_ns * self.options.time_scale))
        self._running = result in (DeltaResult.OK, DeltaResult.AUTH_ERROR, DeltaResult.UUID_ERROR)
        if self._running:
            return 0, result
        return (-EAGAIN if result is DeltaResult.VOLTAGE_LOW else -EIO), result

    def power_off(self) -> None:
        """``AT+CFUN=0``: takes a second or two when the modem is on the network."""
        self._set_functional_mode(0)

    def shut_down(self) -> None:
        """Stop the modem library."""
        self._clear()
        self._running = False

    # --- commands -------------------------------------------------------------------------------------------

    def execute(self, command: AtCommand) -> Reply:
        """Carry out a command of the modem."""
        if not self._running:
            return ERROR
        self._cpu.spend(_COMMAND_NS)
        handler = self._commands.get(command.name)
        return ERROR if handler is None else handler(command)

    def _cme(self, code: CmeCode) -> Reply:
        return Reply(f"+CME ERROR: {code:d}") if self._cme_enabled else ERROR

    def _fixed(self, text: Callable[[], str]) -> Callable[[AtCommand], Reply]:
        def handler(command: AtCommand) -> Reply:
            if command.kind is CommandKind.EXECUTE:
                return Reply("OK", (text(),))
            return OK if command.kind is CommandKind.TEST else ERROR

        return handler

    def _serial_number(self, command: AtCommand) -> Reply:
        imei = self.nvm.imei
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("+CGSN: (0-3)",))
        kind = 0 if command.kind is CommandKind.EXECUTE else command.integer(0, 0)
        lines = {0: imei, 1: f'+CGSN: "{imei}"', 2: f'+CGSN: "{imei[:14]}12"', 3: '+CGSN: "12"'}
        if command.kind is CommandKind.READ or kind not in lines:
            return ERROR
        return Reply("OK", (lines[kind],))

    def _functionality(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"+CFUN: {self._functional_mode}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", (f"+CFUN: ({','.join(map(str, _FUNCTIONAL_MODES))})",))
        mode = command.integer(0)
        if command.kind is not CommandKind.SET or mode not in _FUNCTIONAL_MODES:
            return ERROR
        self._set_functional_mode(mode)
        return OK

    def _set_functional_mode(self, mode: int) -> None:
        if mode in (0, 4, 20) and self._functional_mode in _LTE_ON:
            self._cpu.spend(_DETACH_NS)
            for timer in self._timers:
                timer.cancel()
            self._set_registration(0)
        if mode in _LTE_ON and self._functional_mode not in _LTE_ON:
            self._timers = [self._cpu.submit_after(_SEARCH_NS, lambda: self._set_registration(2))]
            if self.registers:
                self._timers.append(self._cpu.submit_after(_REGISTER_NS, lambda: self._set_registration(5)))
        if mode in (0, 1, 4):
            self._functional_mode = mode

    def _set_registration(self, status: int) -> None:
        if status == self._registration:
            return
        self._registration = status
        if self._registration_mode:
            self._notify(f"+CEREG: {self._registration_text()}")

    def _registration_text(self) -> str:
        text = str(self._registration)
        if self._registration_mode >= 2 and self._registration:
            area, cell, technology = _CELL
            text += f',"{area}","{cell}",{technology}'
            if self._registration_mode >= 4 and self._registration == 5:
                text += f",,,{_TIMERS}"
        return text

    def _registration_command(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"+CEREG: {self._registration_mode},{self._registration_text()}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("+CEREG: (0-5)",))
        mode = command.integer(0)
        if command.kind is not CommandKind.SET or mode is None or not 0 <= mode <= 5:
            return ERROR
        self._registration_mode = mode
        return OK

    def _error_mode(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"+CMEE: {int(self._cme_enabled)}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("+CMEE: (0,1)",))
        if command.kind is not CommandKind.SET or command.parameters not in ((0,), (1,)):
            return ERROR
        self._cme_enabled = command.parameters == (1,)
        return OK

    def _operator(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.READ:
            return ERROR
        return Reply("OK", (f'+COPS: 0,2,"{_PLMN}",7' if self._registration == 5 else "+COPS: 0",))

    def _signal(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.EXECUTE:
            return ERROR
        level = "19,55" if self._registration == 5 else "255,255"
        return Reply("OK", (f"+CESQ: 99,99,255,255,{level}",))

    def _monitor(self) -> str:
        if self._registration != 5:
            return f"%XMONITOR: {self._registration}"
        area, cell, technology = _CELL
        return (
            f'%XMONITOR: 5,"EDAV","EDAV","{_PLMN}","{area}",{technology},4,"{cell}",7,2300,63,39,"",{_TIMERS}'
        )

    def _temperature(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", ("%XTEMP: 31",))
        return OK if command.parameters in ((0,), (1,)) else ERROR

    def _sim(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"%XSIM: {int(self._functional_mode in _LTE_ON)}",))
        return OK if command.parameters in ((0,), (1,)) else ERROR

    def _list_commands(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.EXECUTE:
            return ERROR
        return Reply("OK", tuple(f"AT{name}" for name in sorted(self._commands) if name))
