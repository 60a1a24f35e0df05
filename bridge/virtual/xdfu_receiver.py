"""The receiving end of ``#XDFU``: its three commands, for the image types that the build and the mode allow.

Source: ncs-serial-modem ``app/src/sm_at_dfu.c``. Type 3 (MCUboot itself) is only in builds with a slot s1, type 2
(full modem) only in builds that ask for it, and in bootloader mode there is nothing but type 2.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, SILENT, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.hardware import Hardware
from bridge.virtual.serial_modem_options import SerialModemOptions
from bridge.virtual.settings import Settings
from bridge.virtual.xdfu_targets import DeltaTarget, FullModemTarget, Segment, SlotTarget, XdfuTarget
from bridge.wire.at_command import AtCommand, CommandKind
from bridge.wire.xdfu import XdfuOperation, XdfuStatus, XdfuType

_INIT_NS: Final = 2 * NS_PER_MS
_NEEDED: Final = {"#XDFUINIT": ",<size>", "#XDFUWRITE": ",<addr>,<len>", "#XDFUAPPLY": ""}


class _Transfer:
    """Takes the data of one ``#XDFUWRITE``."""

    def __init__(self, size_bytes: int, write: Callable[[bytes], bool], done: Callable[[bool], None]) -> None:
        self._left = size_bytes
        self._write = write
        self._done = done
        self._ok = True

    def send(self, data: bytes) -> None:
        # A failed write does not end the transfer: the rest is swallowed and the failure reported at its end.
        written = self._write(data)
        self._ok = self._ok and written
        self._left -= len(data)

    def finish(self) -> None:
        self._done(self._ok and self._left == 0)


class XdfuReceiver:
    """``#XDFUINIT``, ``#XDFUWRITE`` and ``#XDFUAPPLY``.

    Args:
        hardware: What the application runs on.
        settings: The application's settings.
        host: The AT host, for data mode and URCs.
        options: The build.

    Attributes:
        bootloader_mode: The application came up in bootloader mode.
    """

    def __init__(
        self,
        hardware: Hardware,
        settings: Settings,
        host: Callable[[], AtHost],
        options: SerialModemOptions,
    ) -> None:
        self.bootloader_mode = False
        self._hardware = hardware
        self._host = host
        self._options = options
        self._full = FullModemTarget(hardware.modem, settings)
        slot = SlotTarget(hardware.flash, hardware.layout)
        self._targets: dict[XdfuType, XdfuTarget] = {
            XdfuType.APPLICATION: slot,
            XdfuType.MODEM_DELTA: DeltaTarget(hardware.modem),
        }
        if options.modem_full:
            self._targets[XdfuType.MODEM_FULL] = self._full
        if hardware.layout.bootloader_slots is not None:
            self._targets[XdfuType.MCUBOOT_BOOTLOADER] = slot
        self._transfers = 0

    def init(self, command: AtCommand) -> Reply:
        """Begin: a size that does not fit is refused; a dirty modem area is erased before the answer."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        kind = self._type(command)
        size = command.integer(1)
        if kind is None or (size is not None and size < 0):
            return ERROR
        self._hardware.cpu.spend(_INIT_NS)
        if not self._targets[kind].begin(size):
            return ERROR
        if kind is XdfuType.MODEM_FULL:
            return self._reboot("")
        return OK

    def write(self, command: AtCommand) -> Reply:
        """Switch to data mode for exactly the announced bytes."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        kind = self._type(command)
        address, size = command.integer(1), command.integer(2)
        if (
            kind is None
            or len(command.parameters) != 3
            or address is None
            or size is None
            or min(address, size - 1) < 0
        ):
            return ERROR
        sink = _Transfer(size, self._writer(kind, address), lambda ok: self._written(kind, ok))
        return OK if self._host().enter_data_mode(sink, size) else ERROR

    def apply(self, command: AtCommand) -> Reply:
        """Schedule what was written; the result comes as a URC after ``OK``."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        kind = self._type(command)
        if kind is None:
            return ERROR
        last = kind is XdfuType.MODEM_FULL and self._full.segment is Segment.FIRMWARE
        ok = self._targets[kind].apply()
        if ok and last:
            return self._reboot(f"{XdfuStatus(kind, XdfuOperation.APPLY, 0)}\r\n")
        self._report(kind, XdfuOperation.APPLY, ok)
        return OK

    def _reboot(self, report: str) -> Reply:
        """Reset the board at once; what was to be said is not, unless the version is one that says it."""
        hardware = self._hardware
        at_ns = hardware.cpu.now_ns
        if self._options.answers_before_reboot:
            self._host().respond(OK.text + report)
            hardware.cpu.wait_until(hardware.uart.tx_free_ns)
            at_ns = hardware.cpu.now_ns
        hardware.timeline.at(at_ns, lambda: hardware.reset("full modem update"))
        return SILENT

    def _type(self, command: AtCommand) -> XdfuType | None:
        number = command.integer(0)
        if command.kind is not CommandKind.SET or number not in self._targets:
            return None
        if self.bootloader_mode and number != XdfuType.MODEM_FULL:
            return None
        return XdfuType(number)

    def _usage(self, command: AtCommand) -> Reply:
        types = ",".join(f"{kind:d}" for kind in sorted(self._targets))
        return Reply("OK", (f"{command.name}: ({types}){_NEEDED[command.name]}",))

    def _writer(self, kind: XdfuType, address: int) -> Callable[[bytes], bool]:
        number, self._transfers = self._transfers, self._transfers + 1
        if number in self._hardware.faults.failing_writes:
            return lambda _: False
        return self._targets[kind].writer(address)

    def _written(self, kind: XdfuType, ok: bool) -> None:
        self._report(kind, XdfuOperation.WRITE, ok)

    def _report(self, kind: XdfuType, operation: XdfuOperation, ok: bool) -> None:
        self._host().urc(f"{XdfuStatus(kind, operation, 0 if ok else -1)}\r\n")
