"""The receiving end of ``#XDFU``: application images into the secondary slot, deltas into the modem.

Sources: ncs-serial-modem ``app/src/sm_at_dfu.c``; NCS ``dfu_target_mcuboot.c``, ``dfu_target_stream.c`` and
Zephyr
``stream_flash.c``: bytes are appended in the order of arrival (the address is ignored) through a 1024-byte
buffer, a page is erased when the first bytes for it are written, and nothing of the image is checked.
"""

from collections.abc import Callable
from typing import Final

from bridge.virtual.at_host import ERROR, OK, AtHost, Reply
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.cpu import Cpu
from bridge.virtual.faults import FaultPlan
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.mcuboot import request_upgrade
from bridge.virtual.modem import Modem
from bridge.virtual.modem_delta import AREA_BYTES, StepResult
from bridge.wire.at_command import AtCommand, CommandKind
from bridge.wire.xdfu import XdfuOperation, XdfuStatus, XdfuType

STREAM_BUFFER_BYTES: Final = 1024
_INIT_NS: Final = 2 * NS_PER_MS
_NEEDED: Final = {"#XDFUINIT": ",<size>", "#XDFUWRITE": ",<addr>,<len>", "#XDFUAPPLY": ""}


class SlotStream:
    """A buffered writer over the secondary slot that erases as it goes.

    Args:
        flash: Where it writes.
        start: First byte of the slot.
        size_bytes: Size of the slot.
    """

    def __init__(self, flash: Flash, start: int, size_bytes: int) -> None:
        self._flash = flash
        self._start = start
        self._size_bytes = size_bytes
        self._buffer = bytearray()
        self._written_bytes = 0
        self._erased_page: int | None = None

    def write(self, data: bytes) -> bool:
        """Append; False when it does not fit."""
        if self._written_bytes + len(self._buffer) + len(data) > self._size_bytes:
            return False
        for start in range(0, len(data), STREAM_BUFFER_BYTES):
            self._buffer += data[start : start + STREAM_BUFFER_BYTES]
            while len(self._buffer) >= STREAM_BUFFER_BYTES:
                self._write_out(STREAM_BUFFER_BYTES)
        return True

    def flush(self) -> None:
        """Write what is buffered, padded to a whole word."""
        if self._buffer:
            self._write_out(len(self._buffer))

    def erase_last_page(self) -> None:
        """Erase the page that holds the slot's trailer."""
        self._erase_page_of(self._start + self._size_bytes - 1)

    def _write_out(self, size: int) -> None:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        address = self._start + self._written_bytes
        self._erase_page_of(address + len(data) - 1)
        self._flash.write(address, data + b"\xff" * (-len(data) % self._flash.write_size))
        self._written_bytes += len(data)

    def _erase_page_of(self, address: int) -> None:
        page = address - address % self._flash.page_size
        if page != self._erased_page:
            self._flash.erase(page, self._flash.page_size)
            self._erased_page = page


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
    """``#XDFUINIT``, ``#XDFUWRITE`` and ``#XDFUAPPLY`` of a build for application and modem-delta images.

    Args:
        cpu: Whose time they take.
        flash: The internal flash.
        layout: Where the slots are.
        modem: Receiver of deltas.
        host: The AT host, for data mode and URCs.
        faults: What goes wrong on purpose.
    """

    def __init__(
        self,
        *,
        cpu: Cpu,
        flash: Flash,
        layout: Layout,
        modem: Modem,
        host: Callable[[], AtHost],
        faults: FaultPlan,
    ) -> None:
        self._cpu = cpu
        self._flash = flash
        self._layout = layout
        self._modem = modem
        self._host = host
        self._faults = faults
        self._stream: SlotStream | None = None
        self._transfers = 0

    def init(self, command: AtCommand) -> Reply:
        """Begin: a size that does not fit is refused; a dirty modem area is erased before the answer."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        size = command.integer(1)
        if size is None or size < 0:
            return ERROR
        self._cpu.spend(_INIT_NS)
        if command.integer(0) == XdfuType.APPLICATION:
            slot = self._layout.secondary
            if size > slot.size:
                return ERROR
            self._stream = SlotStream(self._flash, slot.address, slot.size)
            return OK
        if command.integer(0) == XdfuType.MODEM_DELTA and size <= AREA_BYTES:
            return OK if self._modem_step(self._modem.delta.erase()) else ERROR
        return ERROR

    def write(self, command: AtCommand) -> Reply:
        """Switch to data mode for exactly the announced bytes."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        kind = self._supported_type(command)
        address, size = command.integer(1), command.integer(2)
        if (
            kind is None
            or len(command.parameters) != 3
            or address is None
            or size is None
            or min(address, size - 1) < 0
        ):
            return ERROR
        sink = _Transfer(size, self._writer(kind), lambda ok: self._written(kind, ok))
        return OK if self._host().enter_data_mode(sink, size) else ERROR

    def apply(self, command: AtCommand) -> Reply:
        """Schedule what was written; the result comes as a URC after ``OK``."""
        if command.kind is CommandKind.TEST:
            return self._usage(command)
        kind = self._supported_type(command)
        if kind is None:
            return ERROR
        ok = self._apply_application() if kind is XdfuType.APPLICATION else self._apply_delta()
        self._report(kind, XdfuOperation.APPLY, ok)
        return OK

    def _supported_type(self, command: AtCommand) -> XdfuType | None:
        number = command.integer(0)
        if command.kind is not CommandKind.SET or number not in (XdfuType.APPLICATION, XdfuType.MODEM_DELTA):
            return None
        return XdfuType(number)

    @staticmethod
    def _usage(command: AtCommand) -> Reply:
        types = f"({XdfuType.APPLICATION:d},{XdfuType.MODEM_DELTA:d})"
        return Reply("OK", (f"{command.name}: {types}{_NEEDED[command.name]}",))

    def _writer(self, kind: XdfuType) -> Callable[[bytes], bool]:
        number, self._transfers = self._transfers, self._transfers + 1
        if number in self._faults.failing_writes:
            return lambda _: False
        if kind is XdfuType.MODEM_DELTA:
            return lambda data: self._modem_step(self._modem.delta.write(data))
        return lambda data: self._stream is not None and self._stream.write(data)

    def _written(self, kind: XdfuType, ok: bool) -> None:
        self._report(kind, XdfuOperation.WRITE, ok)

    def _report(self, kind: XdfuType, operation: XdfuOperation, ok: bool) -> None:
        self._host().urc(f"{XdfuStatus(kind, operation, 0 if ok else -1)}\r\n")

    def _apply_application(self) -> bool:
        if self._stream is None:
            return False
        self._stream.flush()
        self._stream.erase_last_page()
        return request_upgrade(self._flash, self._layout, permanent=False)

    def _apply_delta(self) -> bool:
        return self._modem_step(self._modem.delta.schedule())

    def _modem_step(self, result: StepResult) -> bool:
        self._cpu.spend(int(result.duration_ns * self._modem.options.time_scale))
        return result.ok
