"""The modem core: its identity and its start, with or without an update.

Source: nRF91x1 AT commands reference for the replies. The application processor talks to it over shared
memory; a modem that is not initialised answers nothing, which Serial Modem turns into ``ERROR``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.image.sample_modem import ModemFirmware
from bridge.virtual.at_host import ERROR, OK, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.cpu import Cpu
from bridge.virtual.credential_commands import CredentialCommands
from bridge.virtual.credentials import CmeCode, CredentialStore
from bridge.virtual.layout import BoardModel
from bridge.virtual.modem_bootloader import ModemBootloader
from bridge.virtual.modem_delta import DeltaResult, DeltaUpdater, StepResult
from bridge.virtual.modem_network import ModemNetwork
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.modem_power import ModemOperations
from bridge.wire.at_command import AtCommand, CommandKind

EIO: Final = 5
EAGAIN: Final = 11

_COMMAND_NS: Final = 5 * NS_PER_MS
_START_NS: Final = 250 * NS_PER_MS


@dataclass(frozen=True)
class ModemOptions:
    """How the surroundings of the modem are.

    Attributes:
        battery_mv: Supply in mV; too little postpones a delta update.
        time_scale: Factor on the time that updates take inside the modem: minutes to erase and apply a delta, a
            fraction of a second for a page of a full update. All of these durations are estimates.
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
        changed: Called when a full update has changed the modem's flash.
        operations: Carries out what changes its memory.

    Attributes:
        delta: Its delta updates.
        bootloader: Its full updates.
        firmware: What it runs; None before it was started.
        network: Its radio.
    """

    def __init__(
        self,
        nvm: ModemNvm,
        cpu: Cpu,
        notify: Callable[[str], None],
        options: ModemOptions,
        model: BoardModel,
        *,
        changed: Callable[[], None] = lambda: None,
        operations: ModemOperations | None = None,
    ) -> None:
        self.nvm = nvm
        self.options = options
        self.delta = DeltaUpdater(nvm, operations)
        self.bootloader = ModemBootloader(nvm.flash, changed, operations)
        self.firmware: ModemFirmware | None = None
        self.network = ModemNetwork(cpu, notify)
        self._cpu = cpu
        self._store = CredentialStore(nvm.credentials, nvm.device_uuid)
        self._running = False
        self._clear()
        credentials = CredentialCommands(self._store, self._cme, lambda: self.network.radio_is_on)
        self._commands: dict[str, Callable[[AtCommand], Reply]] = {
            "": lambda _: OK,
            "+CGMI": self._fixed(lambda: "Nordic Semiconductor ASA"),
            "+CGMM": self._fixed(lambda: model.modem_model),
            "+CGMR": self._fixed(lambda: f"mfw_{self._firmware_name}"),
            "+CGSN": self._serial_number,
            "+CMEE": self._error_mode,
            "+CLAC": self._list_commands,
            "%SHORTSWVER": self._fixed(lambda: f"%SHORTSWVER: {self._firmware_name}"),
            "%HWVERSION": self._fixed(lambda: f"%HWVERSION: {model.hardware_version}"),
            "%XMODEMUUID": self._fixed(self._build_uuid),
            "%DEVICEUUID": self._fixed(lambda: f"%DEVICEUUID: {nvm.device_uuid}"),
            "%XVBAT": self._fixed(lambda: f"%XVBAT: {options.battery_mv}"),
            "%XTEMP": self._temperature,
            "%CMNG": credentials.manage,
            "%KEYGEN": credentials.generate,
            **self.network.commands,
        }

    def _clear(self) -> None:
        self.network.clear()
        self._cme_enabled = False

    # --- power ----------------------------------------------------------------------------------------------

    def start(self) -> tuple[int, DeltaResult | None]:
        """Initialise the modem library; applies a scheduled update first.

        Returns:
            0 or a negative errno, and the result of an update if there was one.
        """
        self._clear()
        self.bootloader.end()
        self._cpu.spend(_START_NS)
        if self.nvm.firmware is None:
            self._running = False
            return -EIO, None
        applied = self.delta.apply(self.options.battery_mv)
        self.firmware = self.nvm.firmware
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
        self.network.power_off()

    def shut_down(self) -> None:
        """Stop the modem library."""
        self._clear()
        self.bootloader.end()
        self._running = False

    def start_bootloader(self) -> None:
        """Initialise the modem library in bootloader mode; there are no AT commands then."""
        self.shut_down()
        self._cpu.spend(_START_NS)
        self.bootloader.begin()

    @property
    def is_running(self) -> bool:
        """Whether it answers AT commands."""
        return self._running

    def step(self, result: StepResult) -> bool:
        """Let the time of an update's step pass; True when it succeeded."""
        self._cpu.spend(int(result.duration_ns * self.options.time_scale))
        return result.ok

    # --- commands -------------------------------------------------------------------------------------------

    def execute(self, command: AtCommand) -> Reply:
        """Carry out a command of the modem."""
        if not self._running:
            return ERROR
        self._cpu.spend(_COMMAND_NS)
        handler = self._commands.get(command.name)
        return ERROR if handler is None else handler(command)

    @property
    def _firmware_name(self) -> str:
        assert self.firmware is not None
        return f"{self.firmware.family}_{self.firmware.version}"

    def _build_uuid(self) -> str:
        assert self.firmware is not None
        return f"%XMODEMUUID: {self.firmware.modem_uuid}"

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

    def _error_mode(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", (f"+CMEE: {int(self._cme_enabled)}",))
        if command.kind is CommandKind.TEST:
            return Reply("OK", ("+CMEE: (0,1)",))
        if command.kind is not CommandKind.SET or command.parameters not in ((0,), (1,)):
            return ERROR
        self._cme_enabled = command.parameters == (1,)
        return OK

    def _temperature(self, command: AtCommand) -> Reply:
        if command.kind is CommandKind.READ:
            return Reply("OK", ("%XTEMP: 31",))
        return OK if command.parameters in ((0,), (1,)) else ERROR

    def _list_commands(self, command: AtCommand) -> Reply:
        if command.kind is not CommandKind.EXECUTE:
            return ERROR
        return Reply("OK", tuple(f"AT{name}" for name in sorted(self._commands) if name))
