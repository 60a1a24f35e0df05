"""Full modem updates over SMP: NCS's command group 65, and the statistics that tell how long a line may be.

Sources: sdk-nrf 2.9 ``subsys/mgmt/fmfu/src/fmfu_mgmt.c``, ``fmfu_mgmt_stat.c`` and ``fmfu_mgmt_internal.h``. The first
file that is complete after a boot is taken to be the loader, every later one to be firmware. Offsets are only added to:
what comes twice is written twice. A request that cannot be decoded is answered as if all were well, with offset 3, which is the
number of the error. (The real server then also works with what happens to be on its stack; this one does not.)
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.virtual.modem import Modem
from bridge.virtual.modem_delta import StepResult
from bridge.wire.smp_message import (
    MgmtError,
    ModemFullCommand,
    SmpFormatError,
    SmpGroup,
    SmpHeader,
    SmpMessage,
    SmpOp,
)

STATISTICS_NAME: Final = "smp_com"
BUFFER_BYTES: Final = 512
MAX_DATA_BYTES: Final = BUFFER_BYTES - (BUFFER_BYTES // BUFFER_BYTES + 1) * 4
"""``SMP_PACKET_MTU``, which hosts see as ``pack_max``."""

_Body = Mapping[str, Any]
_NEWEST_VERSION: Final = 1
_SHOW: Final = 0
_LIST: Final = 1


class FmfuServer:
    """The two groups, in front of another server for the rest.

    Args:
        modem: The modem, in bootloader mode.
        other: Answers messages of all other groups.
    """

    def __init__(self, modem: Modem, other: Callable[[bytes], bytes | None]) -> None:
        self._modem = modem
        self._other = other
        self._loader_is_next = True
        self._file_bytes = 0
        read, write = SmpOp.READ, SmpOp.WRITE
        self._handlers: dict[tuple[int, int, int], Callable[[_Body], dict[str, Any]]] = {
            (read, SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH): self._get_hash,
            (write, SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH): self._get_hash,
            (write, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD): self._upload,
            (read, SmpGroup.STATISTICS, _SHOW): self._show,
            (read, SmpGroup.STATISTICS, _LIST): lambda _: {"rc": 0, "stat_list": [STATISTICS_NAME]},
        }

    def handle(self, message: bytes) -> bytes | None:
        """Answer a message; None when it is none, or no request."""
        try:
            header = SmpHeader.decode(message)
        except SmpFormatError:
            return None
        handler = self._handlers.get((header.op, header.group, header.command))
        if handler is None or header.version > _NEWEST_VERSION:
            return self._other(message)
        try:
            request = SmpMessage.decode(message)
        except SmpFormatError:
            unreadable = {"data": None, "name": None}
            request = SmpMessage(
                header.op, header.group, header.command, unreadable, header.sequence, header.version
            )
        return request.response(handler(request.body)).encode(indefinite=True)

    def _show(self, body: _Body) -> dict[str, Any]:
        if body.get("name") != STATISTICS_NAME:
            return {"rc": int(MgmtError.NO_ENTRY)}
        fields = {"frame_max": BUFFER_BYTES, "pack_max": MAX_DATA_BYTES}
        return {"rc": 0, "name": STATISTICS_NAME, "fields": fields}

    def _upload(self, body: _Body) -> dict[str, Any]:
        offset, data = body.get("off", 0), body.get("data", b"")
        length, address = body.get("len", 0), body.get("addr", 0)
        numbers = all(type(number) is int and number >= 0 for number in (offset, length, address))
        if not numbers or not isinstance(data, bytes) or len(data) > MAX_DATA_BYTES:
            return {"rc": 0, "off": int(MgmtError.INVALID)}
        if offset == 0:
            self._file_bytes = length
        if data and not self._write(address, data):
            return {"rc": int(MgmtError.BAD_STATE)}
        if offset + len(data) == self._file_bytes:
            if not self._modem.step(self._modem.bootloader.update()):
                return {"rc": int(MgmtError.BAD_STATE)}
            self._loader_is_next = False
        return {"rc": 0, "off": offset + len(data)}

    def _write(self, address: int, data: bytes) -> bool:
        bootloader = self._modem.bootloader
        if self._loader_is_next:
            return self._modem.step(bootloader.write_loader(data))
        return self._modem.step(bootloader.write_firmware(address, data))

    def _get_hash(self, body: _Body) -> dict[str, Any]:
        start, end = body.get("start", 0), body.get("end", 0)
        if type(start) is not int or type(end) is not int or start <= 0 or end <= 0:
            return {"rc": int(MgmtError.INVALID)}
        digest, duration_ns = self._modem.bootloader.digest(start, end)
        if digest is None:
            return {"rc": int(MgmtError.BAD_STATE)}
        self._modem.step(StepResult(True, duration_ns))
        return {"digest": digest, "rc": 0}
