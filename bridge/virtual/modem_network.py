"""The modem on its network: functional mode, registration, and the commands that ask about them.

Source: nRF91x1 AT commands reference. How long a search or a detach takes is an assumption.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, Reply
from bridge.virtual.clock import NS_PER_MS, Timer
from bridge.virtual.cpu import Cpu
from bridge.wire.at_command import AtCommand, CommandKind

_DETACH_NS: Final = 1_500 * NS_PER_MS
_SEARCH_NS: Final = 300 * NS_PER_MS
_REGISTER_NS: Final = 3_000 * NS_PER_MS

_FUNCTIONAL_MODES: Final = (0, 1, 4, 20, 21, 30, 31, 40, 41, 44)
_LTE_ON: Final = (1, 21)
_CELL: Final = ("00B7", "00011B07", "7")
_PLMN: Final = "26295"
_TIMERS: Final = '"11100000","11100000"'


class ModemNetwork:
    """Radio and registration.

    Args:
        cpu: Whose work waits while the modem detaches.
        notify: Takes unsolicited lines.

    Attributes:
        registers: It finds its network.
        commands: The commands that are answered here.
    """

    def __init__(self, cpu: Cpu, notify: Callable[[str], None]) -> None:
        self.registers = True
        self._cpu = cpu
        self._notify = notify
        self._timers: list[Timer] = []
        self.clear()
        self.commands: dict[str, Callable[[AtCommand], Reply]] = {
            "+CFUN": self._functionality,
            "+CEREG": self._registration_command,
            "+COPS": self._operator,
            "+CESQ": self._signal,
            "%XMONITOR": self._monitor_command,
            "%XSIM": self._sim,
        }

    @property
    def radio_is_on(self) -> bool:
        """Whether the functional mode is another one than off or flight mode."""
        return self._functional_mode not in (0, 4)

    def clear(self) -> None:
        """What a start or a stop of the modem does."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._functional_mode = 0
        self._registration = 0
        self._registration_mode = 0

    def power_off(self) -> None:
        """``AT+CFUN=0``."""
        self._set_functional_mode(0)

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

    def _operator(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.READ:
            return ERROR
        return Reply("OK", (f'+COPS: 0,2,"{_PLMN}",7' if self._registration == 5 else "+COPS: 0",))

    def _signal(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.EXECUTE:
            return ERROR
        level = "19,55" if self._registration == 5 else "255,255"
        return Reply("OK", (f"+CESQ: 99,99,255,255,{level}",))

    def _monitor_command(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.EXECUTE:
            return Reply("OK", (f"%XMONITOR: {self._monitor()}",))
        return OK if command.kind is CommandKind.TEST else ERROR

    def _monitor(self) -> str:
        if self._registration != 5:
            return str(self._registration)
        area, cell, technology = _CELL
        return f'5,"EDAV","EDAV","{_PLMN}","{area}",{technology},4,"{cell}",7,2300,63,39,"",{_TIMERS}'

    def _sim(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"%XSIM: {int(self._functional_mode in _LTE_ON)}",))
        return OK if command.parameters in ((0,), (1,)) else ERROR
