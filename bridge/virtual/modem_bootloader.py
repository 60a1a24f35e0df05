"""A full update of the modem: a loader first, then firmware by address, then a digest of what is there.

Source: nrfxlib ``nrf_modem_bootloader.h`` and ``doc/bootloader.rst``: loader pieces are appended whatever their address;
firmware is collected until 8 kB are together or the address jumps, and only then written, so that an error may
be told late. Nothing here survives a reset but what has reached the modem's flash. Durations are estimates:
Nordic publishes none.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from bridge.image.sample_modem import is_modem_loader
from bridge.virtual.clock import NS_PER_MS
from bridge.virtual.modem_delta import StepResult
from bridge.virtual.modem_flash import PAGE_BYTES, ModemFlash
from bridge.virtual.modem_power import ModemOperations

MAX_LOADER_BYTES: Final = 0x10000
"""What the shared memory of the bootloader mode holds."""
METADATA_RANGE: Final = (0x59602000, 0x59604000)
"""Where the first segment of released packages goes. What the modem does with it is not published; here it is taken."""

PAGE_PROGRAM_NS: Final = 120 * NS_PER_MS
LOADER_START_NS: Final = 500 * NS_PER_MS
DIGEST_NS_PER_PAGE: Final = 2 * NS_PER_MS
_WORD_BYTES: Final = 4


class _State(Enum):
    OFF = auto()
    LOADER = auto()
    FIRMWARE = auto()


class ModemBootloader:
    """The modem in bootloader mode, behind the calls of the modem library.

    Args:
        flash: The modem's flash.
        wrote: Called when the flash has changed.
        operations: Carries out what changes it.
    """

    def __init__(
        self,
        flash: ModemFlash,
        wrote: Callable[[], None] = lambda: None,
        operations: ModemOperations | None = None,
    ) -> None:
        self._operations = operations or ModemOperations()
        self._flash = flash
        self._wrote = wrote
        self._state = _State.OFF
        self._loader = bytearray()
        self._buffer = bytearray()
        self._address = 0

    @property
    def is_loaded(self) -> bool:
        """Whether the loader runs, so that firmware can be written."""
        return self._state is _State.FIRMWARE

    def begin(self) -> None:
        """Initialise the library in bootloader mode: everything starts over."""
        self._state = _State.LOADER
        self._loader.clear()
        self._buffer.clear()

    def end(self) -> None:
        """Shut the library down."""
        self._state = _State.OFF

    def write_loader(self, data: bytes) -> StepResult:
        """Append to the loader (``nrf_modem_bootloader_bl_write``)."""
        if self._state is not _State.LOADER or len(self._loader) + len(data) > MAX_LOADER_BYTES:
            return StepResult(False)
        self._loader += data
        return StepResult(True)

    def write_firmware(self, address: int, data: bytes) -> StepResult:
        """Take firmware for an address (``nrf_modem_bootloader_fw_write``)."""
        if self._state is not _State.FIRMWARE or address == 0:
            return StepResult(False)
        ok, duration_ns = True, 0
        if self._buffer and address != self._address + len(self._buffer):
            flushed = self._flush(len(self._buffer))
            ok, duration_ns = flushed.ok, flushed.duration_ns
        if not self._buffer:
            self._address = address
        self._buffer += data
        while len(self._buffer) >= PAGE_BYTES:
            flushed = self._flush(PAGE_BYTES)
            ok = ok and flushed.ok
            duration_ns += flushed.duration_ns
        return StepResult(ok, duration_ns)

    def update(self) -> StepResult:
        """Complete what was written (``nrf_modem_bootloader_update``): start the loader, or flush firmware."""
        if self._state is _State.LOADER:
            if not is_modem_loader(bytes(self._loader)):
                return StepResult(False)
            self._state = _State.FIRMWARE
            return StepResult(True, LOADER_START_NS)
        if self._state is _State.FIRMWARE:
            return self._flush(len(self._buffer)) if self._buffer else StepResult(True)
        return StepResult(False)

    def digest(self, first: int, last: int) -> tuple[bytes | None, int]:
        """Digest of a range, both ends included (``nrf_modem_bootloader_digest``).

        Returns:
            Eight 32-bit words as they lie in memory, which is SHA-256 with the bytes of every word reversed; None
            when the loader does not run or the range is not one of firmware. And the duration in ns.
        """
        if self._state is not _State.FIRMWARE or last < first:
            return None, 0
        if not self._flash.is_valid(first, last - first + 1):
            return None, 0
        digest = self._flash.digest(first, last)
        words = (digest[start : start + _WORD_BYTES][::-1] for start in range(0, len(digest), _WORD_BYTES))
        return b"".join(words), DIGEST_NS_PER_PAGE * (1 + (last - first) // PAGE_BYTES)

    def _flush(self, size: int) -> StepResult:
        address, data = self._address, bytes(self._buffer[:size])
        del self._buffer[:size]
        self._address += size
        if METADATA_RANGE[0] <= address and address + size <= METADATA_RANGE[1]:
            return StepResult(True)
        if not self._flash.is_valid(address, size):
            return StepResult(False)
        half = size // 2 & ~(_WORD_BYTES - 1)
        erased_pages: list[int] = []
        self._wrote()
        self._operations.do(
            lambda: erased_pages.append(self._flash.program(address, data)),
            lambda: self._flash.program(address, data[:half]),
        )
        return StepResult(True, sum(erased_pages) * PAGE_PROGRAM_NS)
