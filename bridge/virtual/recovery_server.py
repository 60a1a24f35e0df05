"""MCUboot's serial recovery, sans-I/O: an SMP message in, an SMP message out.

Source: MCUboot ``boot/boot_serial/src/boot_serial.c`` (``boot_serial_input``). It knows nothing of the second version of SMP
but its number: errors are always ``rc``.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from bridge.virtual.bootloader_options import BootloaderOptions
from bridge.virtual.flash import Flash
from bridge.virtual.layout import Layout
from bridge.virtual.recovery_cbor import ZcborError, decode_any_map
from bridge.virtual.recovery_images import RecoveryImages
from bridge.virtual.recovery_upload import RecoveryUpload
from bridge.wire.smp_message import (
    HEADER_BYTES,
    ImageCommand,
    MgmtError,
    OsCommand,
    SmpFormatError,
    SmpGroup,
    SmpHeader,
    SmpMessage,
    SmpOp,
)

_STATE_BYTES: Final = 48
_HASH_BYTES: Final = 36
_SLOT_INFO_BYTES: Final = 164
_BASE_BYTES: Final = 128


class RecoveryServer:
    """The commands of serial recovery.

    Args:
        flash: The flash.
        layout: Where the slots are.
        options: Kconfig of MCUboot.
        public_keys_pem: The keys built into it.
        reset: Called for a reset request, whose answer is still to be sent.
        max_image_bytes: Largest image that can be swapped, if MCUboot has worked it out at this boot.
    """

    def __init__(
        self,
        flash: Flash,
        layout: Layout,
        options: BootloaderOptions,
        public_keys_pem: Sequence[bytes] = (),
        *,
        reset: Callable[[], None],
        max_image_bytes: int | None = None,
    ) -> None:
        self._options = options
        self._reset = reset
        self._max_image_bytes = max_image_bytes
        self._images = RecoveryImages(flash, layout, options, public_keys_pem)
        self._upload = RecoveryUpload(flash, layout, options)

    def handle(self, message: bytes) -> bytes | None:
        """Answer a message; None when it is none, or no request."""
        try:
            header = SmpHeader.decode(message)
        except SmpFormatError:
            return None
        body = message[HEADER_BYTES:]
        if header.op not in (SmpOp.READ, SmpOp.WRITE) or header.length_bytes < len(body):
            return None
        request = SmpMessage(header.op, header.group, header.command, {}, header.sequence, header.version)
        return request.response(self._answer(header, body)).encode(indefinite=True)

    def _answer(self, header: SmpHeader, body: bytes) -> dict[str, Any]:
        if header.group == SmpGroup.IMAGE:
            return self._image(header, body)
        if header.group == SmpGroup.OS:
            return self._os(header, body)
        return _rc(MgmtError.NOT_SUPPORTED)

    def _image(self, header: SmpHeader, body: bytes) -> dict[str, Any]:
        if header.command == ImageCommand.STATE:
            return self._images.read() if header.op == SmpOp.READ else self._images.write(body)
        if header.command == ImageCommand.UPLOAD:
            return self._upload.request(body)
        reads = header.op == SmpOp.READ
        if header.command == ImageCommand.SLOT_INFO and self._options.slot_info and reads:
            return self._images.slot_info(self._max_image_bytes)
        return _rc(MgmtError.NOT_SUPPORTED)

    def _os(self, header: SmpHeader, body: bytes) -> dict[str, Any]:
        if header.command == OsCommand.ECHO and self._options.echo:
            return self._echo(body)
        if header.command == OsCommand.ECHO_CONTROL:
            return _rc(MgmtError.OK)
        if header.command == OsCommand.RESET:
            self._reset()
            return _rc(MgmtError.OK)
        if header.command == OsCommand.PARAMETERS and self._options.params:
            return {"buf_size": self._options.receive_bytes, "buf_count": 1}
        return _rc(MgmtError.NOT_SUPPORTED)

    def _echo(self, body: bytes) -> dict[str, Any]:
        """``d`` must come last: what follows it is an error, as is a text that the output buffer cannot hold."""
        try:
            pairs = list(decode_any_map(body).items())
        except ZcborError:
            return _rc(MgmtError.INVALID)
        if not pairs or pairs[-1][0] != "d" or not isinstance(pairs[-1][1], str):
            return _rc(MgmtError.INVALID)
        answer = {"r": pairs[-1][1]}
        size = len(SmpMessage(0, 0, 0, answer).encode(indefinite=True)) - HEADER_BYTES
        return answer if size <= self._output_bytes else _rc(MgmtError.NO_MEMORY)

    @property
    def _output_bytes(self) -> int:
        options = self._options
        size = _BASE_BYTES + _STATE_BYTES * options.image_state + _HASH_BYTES * options.image_hash
        return max(size, _SLOT_INFO_BYTES * options.slot_info)


def _rc(code: MgmtError) -> dict[str, Any]:
    return {"rc": int(code)}
