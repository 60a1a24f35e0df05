"""Delta updates inside the modem: the area, its dirt, and what comes of an update when the modem starts.

Source: nrfxlib ``nrf_modem_delta_dfu.h`` and ``nrf_modem.h`` for sizes and codes; NCS
``dfu_target_modem_delta.c`` for the order of calls. Durations are estimates: Nordic says "minutes" for the
erase and gives no number for the rest.
"""

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from bridge.image.sample import ModemDelta, decode_modem_delta
from bridge.virtual.clock import NS_PER_S
from bridge.virtual.modem_nvm import ModemNvm
from bridge.virtual.modem_power import ModemOperations

AREA_BYTES: Final = 294_912
DIRTY_OFFSET: Final = 2_621_440
"""What the modem gives as offset when the area must be erased."""

MINIMUM_BATTERY_MV: Final = 3_000
"""Below this the modem postpones an update (assumed; the real threshold is not published)."""

ERASE_NS: Final = 40 * NS_PER_S
APPLY_NS: Final = 60 * NS_PER_S
REJECT_NS: Final = 3 * NS_PER_S
_WRITE_NS_PER_BYTE: Final = 8_000
_WORD_BYTES: Final = 4


class DeltaResult(IntEnum):
    """What the modem reports when it starts with a scheduled update."""

    OK = 0
    INTERNAL_ERROR = 71_303_169
    HARDWARE_ERROR = 71_303_170
    AUTH_ERROR = 71_303_171
    UUID_ERROR = 71_303_172
    VOLTAGE_LOW = 71_303_173


@dataclass(frozen=True)
class StepResult:
    """How a step of an update went.

    Attributes:
        ok: It succeeded.
        duration_ns: Board time that it took.
    """

    ok: bool
    duration_ns: int = 0


class DeltaUpdater:
    """The modem's side of a delta update.

    Args:
        nvm: The modem's memory.
        operations: Carries out what changes it.
    """

    def __init__(self, nvm: ModemNvm, operations: ModemOperations | None = None) -> None:
        self._nvm = nvm
        self._operations = operations or ModemOperations()

    @property
    def offset(self) -> int:
        """Bytes in the area, or :data:`DIRTY_OFFSET`."""
        return DIRTY_OFFSET if self._nvm.delta.dirty else len(self._nvm.delta.content)

    def erase(self) -> StepResult:
        """Erase the area if it is dirty."""
        area = self._nvm.delta
        if not area.dirty:
            return StepResult(True)

        def erase() -> None:
            area.content.clear()
            area.dirty = area.scheduled = False

        self._operations.do(erase)
        return StepResult(True, ERASE_NS)

    def write(self, data: bytes) -> StepResult:
        """Append to what is in the area; the modem keeps its offset over resets."""
        area = self._nvm.delta
        if area.dirty or len(area.content) + len(data) > AREA_BYTES:
            return StepResult(False)
        half = len(data) // 2 & ~(_WORD_BYTES - 1)
        self._operations.do(lambda: area.content.extend(data), lambda: area.content.extend(data[:half]))
        return StepResult(True, len(data) * _WRITE_NS_PER_BYTE)

    def schedule(self) -> StepResult:
        """Let the next start of the modem apply the area."""
        area = self._nvm.delta
        if area.dirty or not area.content:
            return StepResult(False)
        self._operations.do(lambda: setattr(area, "scheduled", True))
        return StepResult(True)

    def apply(self, battery_mv: int) -> tuple[DeltaResult, int] | None:
        """What a start of the modem does.

        Returns:
            The result and its duration in ns, or None when nothing was scheduled.
        """
        area = self._nvm.delta
        if not area.scheduled:
            return None
        if battery_mv < MINIMUM_BATTERY_MV:
            return DeltaResult.VOLTAGE_LOW, 0  # it stays scheduled
        delta = decode_modem_delta(bytes(area.content))
        result = self._judge(delta)
        applied = delta if result is DeltaResult.OK else None

        def finish() -> None:
            area.scheduled = False
            area.dirty = True
            if applied is not None:
                self._nvm.patch_firmware(applied.target_version, applied.target_uuid)

        self._operations.do(finish)  # cut short, it is still scheduled: the next start goes on with it
        return result, REJECT_NS if applied is None else APPLY_NS

    def _judge(self, delta: ModemDelta | None) -> DeltaResult:
        if delta is None or hashlib.sha256(delta.payload).hexdigest() != delta.payload_sha256:
            return DeltaResult.AUTH_ERROR
        running = self._nvm.firmware
        if running is None or delta.base_uuid != running.modem_uuid:
            return DeltaResult.UUID_ERROR
        return DeltaResult(delta.result) if delta.result else DeltaResult.OK
