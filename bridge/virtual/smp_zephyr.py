"""Zephyr's SMP server, sans-I/O: a message in, a message out.

Sources: Zephyr ``subsys/mgmt/mcumgr/smp/src/smp.c``, ``grp/os_mgmt/src/os_mgmt.c`` and ``grp/img_mgmt``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.retention import RetainedState
from bridge.virtual.smp_errors import ImageError, SmpRefusal
from bridge.virtual.smp_image_state import ImageStates
from bridge.virtual.smp_options import SmpOptions
from bridge.virtual.smp_os_info import os_info
from bridge.virtual.smp_upload import ImageUpload
from bridge.wire.smp_message import (
    ImageCommand,
    MgmtError,
    OsCommand,
    SmpFormatError,
    SmpGroup,
    SmpHeader,
    SmpMessage,
    SmpOp,
)

_Body = Mapping[str, Any]
_NEWEST_VERSION: Final = 1
_SWAP_WITHOUT_SCRATCH: Final = 3


class ZephyrSmpServer:
    """The OS and image groups of an application's SMP server.

    Args:
        flash: The flash.
        layout: Where the slots are.
        options: Kconfig of the build.
        reset: Called for a reset request, whose answer is still to be sent.
        retained: Where a boot mode is left for MCUboot.
    """

    def __init__(
        self,
        flash: Flash,
        layout: Layout,
        options: SmpOptions,
        reset: Callable[[], None],
        retained: RetainedState | None = None,
    ) -> None:
        self._layout = layout
        self._options = options
        self._reset = reset
        self._retained = retained or RetainedState()
        self._states = ImageStates(flash, layout, frugal=options.frugal_list)
        self._upload = ImageUpload(flash, layout, self._states, options)
        read, write = SmpOp.READ, SmpOp.WRITE
        self._handlers: dict[tuple[int, int, int], Callable[[_Body], dict[str, Any]]] = {
            (write, SmpGroup.OS, OsCommand.ECHO): self._echo,
            (read, SmpGroup.OS, OsCommand.ECHO): self._echo,
            (write, SmpGroup.OS, OsCommand.RESET): self._do_reset,
            (read, SmpGroup.OS, OsCommand.PARAMETERS): self._parameters,
            (read, SmpGroup.OS, OsCommand.INFO): self._info,
            (read, SmpGroup.OS, OsCommand.BOOTLOADER_INFO): self._bootloader_info,
            (read, SmpGroup.IMAGE, ImageCommand.STATE): lambda _: self._states.read(),
            (write, SmpGroup.IMAGE, ImageCommand.STATE): self._states.write,
            (write, SmpGroup.IMAGE, ImageCommand.UPLOAD): self._upload.request,
            (write, SmpGroup.IMAGE, ImageCommand.ERASE): self._erase,
            (read, SmpGroup.IMAGE, ImageCommand.SLOT_INFO): self._slot_info,
        }

    def handle(self, message: bytes) -> bytes | None:
        """Answer a message; None when it is none, or no request."""
        try:
            header = SmpHeader.decode(message)
        except SmpFormatError:
            return None
        if header.op not in (SmpOp.READ, SmpOp.WRITE):
            return None
        request = SmpMessage(header.op, header.group, header.command, {}, header.sequence, header.version)
        if header.version > _NEWEST_VERSION:
            return request.response({"rc": int(MgmtError.TOO_NEW)}, version=_NEWEST_VERSION).encode(
                indefinite=True
            )
        try:
            request = SmpMessage.decode(message)
        except SmpFormatError:
            return request.response({"rc": int(MgmtError.INVALID)}).encode(indefinite=True)
        return request.response(self._answer(request)).encode(indefinite=True)

    def _answer(self, request: SmpMessage) -> dict[str, Any]:
        handler = self._handlers.get((request.op, request.group, request.command))
        if handler is None:
            return {"rc": int(MgmtError.NOT_SUPPORTED)}
        try:
            answer = handler(request.body)
        except SmpRefusal as refusal:
            return refusal.body(request.version, request.group)
        return {"rc": 0, **answer} if self._options.legacy_rc else answer

    @staticmethod
    def _echo(body: _Body) -> dict[str, Any]:
        text = body.get("d")
        if not isinstance(text, str):
            raise SmpRefusal(MgmtError.INVALID)
        return {"r": text}

    def _do_reset(self, body: _Body) -> dict[str, Any]:
        """What cannot be understood is as if it were not there; ``force`` is a boolean."""
        if self._options.reset_busy and body.get("force") is not True:
            raise SmpRefusal(MgmtError.BUSY)
        mode = body.get("boot_mode")
        if self._options.boot_mode and isinstance(mode, int):
            if not 0 <= mode <= 0xFF:
                raise SmpRefusal(MgmtError.INVALID)
            self._retained.boot_mode = mode
        self._reset()
        return {}

    def _info(self, body: _Body) -> dict[str, Any]:
        if not self._options.os_info:
            raise SmpRefusal(MgmtError.NOT_SUPPORTED)
        wanted = body.get("format", "")
        if not isinstance(wanted, str):
            raise SmpRefusal(MgmtError.INVALID)
        return {"output": os_info(self._layout.model, wanted)}

    def _parameters(self, body: _Body) -> dict[str, Any]:
        return {"buf_size": self._options.buffer_bytes, "buf_count": self._options.buffer_count}

    def _bootloader_info(self, body: _Body) -> dict[str, Any]:
        query = body.get("query")
        if query is None:
            return {"bootloader": "MCUboot"}
        if query == "mode":
            mode: dict[str, Any] = {"mode": _SWAP_WITHOUT_SCRATCH}
            return {**mode, "no-downgrade": True} if self._options.no_downgrade else mode
        # The group's own code ("query yields no answer"), which Zephyr lets out as if it were one of SMP.
        raise SmpRefusal(MgmtError.INVALID)

    def _erase(self, body: _Body) -> dict[str, Any]:
        slot = body.get("slot", 1)
        if slot == 0:
            raise SmpRefusal(ImageError.NO_FREE_SLOT)  # it runs
        if slot != 1:
            raise SmpRefusal(ImageError.INVALID_SLOT)
        self._upload.erase_slot()
        return {}

    def _slot_info(self, body: _Body) -> dict[str, Any]:
        primary = {"slot": 0, "size": self._layout.primary.size}
        secondary = {"slot": 1, "size": self._layout.secondary.size, "upload_image_id": 0}
        return {"images": [{"image": 0, "slots": [primary, secondary]}]}
