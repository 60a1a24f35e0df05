"""A stand-in for ``pynrfjprog.HighLevel`` with chips behind it, as pynrfjprog 10.24.2 was read and seen to behave.

Its enumerations, options and errors are the real ones. What the real library is known to do oddly, this one does too:
there is one library, closed by opening it twice; reading four bytes gives a number; flash that is not erased keeps its
zeros; nothing but a full erase clears UICR; a protected chip does not say what it is.
"""

# ruff: noqa: N802 - pynrfjprog's names

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from intelhex import IntelHex
from pynrfjprog import Parameters
from pynrfjprog.APIError import APIError

from bridge.dfu.probe.process import OnProgress
from bridge.dfu.probe.reports import ProbeProgress
from bridge.dfu.probe.session import Session

FLASH_BYTES = 0x100000
UICR_START, UICR_BYTES = 0xFF8000, 0x800
PAGE_BYTES = 4096


@dataclass
class FakeChip:
    """An nRF91 and what is wrong with it.

    Attributes:
        protected: Access-port protection is on.
        stuck_at: Address of a byte that no write changes.
        fails: Error code by method name, raised instead of doing anything.
        modem: Modem packages that were written.
        digests_agree: What verifying the modem gives.
        log: What was done to it.
    """

    family: str = "NRF91"
    device: str = "NRF9160_xxAA_REV2"
    protected: bool = False
    stuck_at: int | None = None
    fails: dict[str, int] = field(default_factory=dict)
    digests_agree: bool = True
    flash: bytearray = field(default_factory=lambda: bytearray(b"\xff" * FLASH_BYTES))
    uicr: bytearray = field(default_factory=lambda: bytearray(b"\xff" * UICR_BYTES))
    modem: list[bytes] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def erase_all(self) -> None:
        self.flash[:] = b"\xff" * FLASH_BYTES
        self.uicr[:] = b"\xff" * UICR_BYTES

    def place(self, address: int) -> tuple[bytearray, int]:
        return (self.uicr, address - UICR_START) if address >= UICR_START else (self.flash, address)

    def write(self, address: int, data: bytes) -> None:
        memory, start = self.place(address)
        for index, byte in enumerate(data):
            if address + index != self.stuck_at:
                memory[start + index] &= byte

    def read(self, address: int, size: int) -> bytes:
        memory, start = self.place(address)
        return bytes(memory[start : start + size])


class FakeHighLevel:
    """The module.

    Args:
        chips: Chips by the serial number of their probe.
        has_jlink: SEGGER's library is installed.
    """

    APIError: type[Exception] = APIError
    ProgramOptions = Parameters.ProgramOptions
    EraseAction = Parameters.EraseAction
    ResetAction = Parameters.ResetAction
    VerifyAction = Parameters.VerifyAction
    CoProcessor = Parameters.CoProcessor

    def __init__(self, chips: dict[int, FakeChip], *, has_jlink: bool = True) -> None:
        self.chips = chips
        self.has_jlink = has_jlink
        self.is_open = False
        self.open_probes = 0

    def API(self) -> "FakeApi":
        return FakeApi(self)

    def DebugProbe(self, api: Any, snr: int) -> "FakeDebugProbe":
        return FakeDebugProbe(self, snr)

    def IPCDFUProbe(self, api: Any, snr: int, coprocessor: Any) -> "FakeModemProbe":
        assert coprocessor == Parameters.CoProcessor.CP_MODEM
        return FakeModemProbe(self, snr)

    def MCUBootDFUProbe(self, api: Any, serial_port: str, baud_rate: int, timeout: int) -> Any:
        raise self.APIError(-114)

    ModemUARTDFUProbe = MCUBootDFUProbe


class FakeApi:
    def __init__(self, module: FakeHighLevel) -> None:
        self._module = module

    def open(self) -> None:
        was_open, self._module.is_open = self._module.is_open, not self._module.is_open
        if was_open:
            raise APIError(-2)

    def close(self) -> None:
        self._module.is_open = False

    def find_jlink_path(self) -> str:
        return "/opt/SEGGER/JLink/libjlinkarm.so" if self._module.has_jlink else "no-such-libjlinkarm.so"

    def get_connected_probes(self) -> list[int]:
        if not self._module.is_open:
            raise APIError(-2)
        return list(self._module.chips)


class FakeProbe:
    KIND: ClassVar[str]

    def __init__(self, module: FakeHighLevel, snr: int) -> None:
        if not module.is_open:
            raise APIError(-2)
        if not module.has_jlink:
            raise APIError(-101)
        if snr not in module.chips:
            raise APIError(-10)
        self._module = module
        self.chip = module.chips[snr]
        self._do("open")
        module.open_probes += 1

    def close(self) -> None:
        self._module.open_probes -= 1
        self.chip.log.append(f"{self.KIND} close")

    def program(self, hex_path: str, program_options: Any = None) -> None:
        raise APIError(-2)

    def verify(self, hex_path: str) -> None:
        raise APIError(-2)

    def read(self, address: int, data_len: int = 4) -> int | bytearray:
        raise APIError(-2)

    def reset(self, reset_action: Any) -> None:
        raise APIError(-2)

    def recover(self) -> None:
        raise APIError(-2)

    def get_device_info(self) -> Any:
        raise APIError(-2)

    def _do(self, what: str, *, needs_access: bool = False) -> None:
        self.chip.log.append(f"{self.KIND} {what}")
        if what in self.chip.fails:
            raise APIError(self.chip.fails[what])
        if needs_access and self.chip.protected:
            raise APIError(-90)


class FakeDebugProbe(FakeProbe):
    KIND = "swd"

    def get_device_info(self) -> Any:
        if self.chip.device == "NEW":
            raise ValueError("152109056 is not a valid DeviceVersion")
        hidden = self.chip.protected
        return SimpleNamespace(
            device_family=Parameters.DeviceFamily.UNKNOWN
            if hidden
            else Parameters.DeviceFamily[self.chip.family],
            device_type=SimpleNamespace(name="UNKNOWN" if hidden else self.chip.device),
            dll_ret_code=-90 if hidden else 0,
        )

    def program(self, hex_path: str, program_options: Any = None) -> None:
        options = program_options or Parameters.ProgramOptions()
        self._do("program", needs_access=True)
        memory = IntelHex(hex_path)
        if options.erase_action == Parameters.EraseAction.ERASE_ALL:
            self.chip.erase_all()
        for start, end in memory.segments():
            if options.erase_action == Parameters.EraseAction.ERASE_SECTOR and start < FLASH_BYTES:
                first, last = start // PAGE_BYTES * PAGE_BYTES, -(-end // PAGE_BYTES) * PAGE_BYTES
                self.chip.flash[first:last] = b"\xff" * (last - first)
        for start, end in memory.segments():
            self.chip.write(start, memory.tobinstr(start=start, size=end - start))
        if options.verify != Parameters.VerifyAction.VERIFY_NONE:
            self.verify(hex_path)
        if options.reset != Parameters.ResetAction.RESET_NONE:
            self.reset(options.reset)

    def verify(self, hex_path: str) -> None:
        self._do("verify", needs_access=True)
        memory = IntelHex(hex_path)
        for start, end in memory.segments():
            if self.chip.read(start, end - start) != memory.tobinstr(start=start, size=end - start):
                raise APIError(-160)

    def read(self, address: int, data_len: int = 4) -> int | bytearray:
        self._do("read", needs_access=True)
        data = self.chip.read(address, data_len)
        return int.from_bytes(data, "little") if data_len == 4 else bytearray(data)

    def reset(self, reset_action: Any) -> None:
        self._do(f"reset {Parameters.ResetAction(reset_action).name}")

    def recover(self) -> None:
        self._do("recover")
        self.chip.erase_all()
        self.chip.protected = False


class FakeModemProbe(FakeProbe):
    KIND = "modem"

    def program(self, hex_path: str, program_options: Any = None) -> None:
        assert program_options is None
        self._do("program", needs_access=True)
        self.chip.modem.append(Path(hex_path).read_bytes())

    def verify(self, hex_path: str) -> None:
        self._do("verify", needs_access=True)
        if not self.chip.digests_agree:
            raise APIError(-160)


class InProcessEngine:
    """Carries out calls here rather than in another process, values going through JSON as they do there."""

    def __init__(self, vendor: FakeHighLevel) -> None:
        self._on_progress: OnProgress | None = None
        self._session = Session(vendor, self._report)
        self.is_closed = False

    def call(
        self, name: str, *, timeout_s: float, on_progress: OnProgress | None = None, **arguments: object
    ) -> Any:
        assert timeout_s > 0
        self._on_progress = on_progress
        return json.loads(json.dumps(getattr(self._session, name)(**json.loads(json.dumps(arguments)))))

    def close(self) -> None:
        if not self.is_closed:
            self._session.close()
        self.is_closed = True

    def _report(self, progress: ProbeProgress) -> None:
        if self._on_progress is not None:
            self._on_progress(progress)
