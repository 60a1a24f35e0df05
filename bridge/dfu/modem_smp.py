"""Full modem firmware over SMP, to NCS's fmfu server: the loader as the first file, then each run of firmware as another.

One request at a time, and never one twice. The server looks at no offset: what comes again is written again, the loader
behind itself, firmware over itself. When an answer is missing nobody knows which it was, the request or its answer, and
after any failure Nordic asks for a new start from the initialisation; so the board is reset, and everything comes again.
Only behind the last packet of a run of firmware the digest of that run can tell that it was taken.

Sources: sdk-nrf ``subsys/mgmt/fmfu/src/fmfu_mgmt.c`` (the first file after a start is the loader; a finished file is
completed at once); nrfxlib ``nrf_modem/doc/bootloader.rst``.
"""

import hashlib
import logging
from typing import Final

from bridge.board.smp_board import SmpBoard
from bridge.dfu.modem_read_back import ReadBack, read_back
from bridge.dfu.modem_smp_client import ModemPacket, ModemSmpClient, ModemSmpLimits
from bridge.dfu.target import TransferImage, TransferRestartError
from bridge.errors import BoardRefusedError, BridgeError, LinkError, UsageError
from bridge.image import ImageKind
from bridge.image.modem_full import ModemFullInfo, ModemSegment
from bridge.image.package_info import DigestRange

_log = logging.getLogger(__name__)

CHUNK_BYTES: Final = 4096


class ModemSmpTarget:
    """One full modem update over SMP; see :class:`~bridge.dfu.target.DfuTarget` for the contract.

    Args:
        board: The board, in an SMP conversation with a server that updates the modem.

    Attributes:
        read_back: What was found in the modem's flash in the end; None before.
    """

    route: Final = "modem-smp"
    in_place: Final = True

    def __init__(self, board: SmpBoard) -> None:
        self.read_back: ReadBack | None = None
        self._board = board
        self._modem = ModemSmpClient(board.client)
        self._limits = ModemSmpLimits()
        self._info: ModemFullInfo | None = None
        self._size_bytes = 0
        self._offset = 0
        self._digests: dict[int, DigestRange] = {}
        self._running = hashlib.sha256()
        self._used = False
        self._modem_is_broken = False
        self._was_unreadable = False

    @property
    def chunk_size_bytes(self) -> int:
        """A few packets, but never past the end of a segment."""
        if self._info is None or self._offset >= self._size_bytes:
            return CHUNK_BYTES
        segment = self._segment
        return min(CHUNK_BYTES, segment.offset + segment.size_bytes - self._offset)

    def begin(self, image: TransferImage) -> int:
        """Restart the board, since the server takes a loader once only; the first byte to send is the loader's."""
        info = image.modem_full
        if image.kind is not ImageKind.MODEM_FULL or info is None or len(info.segments) < 2:
            raise UsageError(
                f"this target writes full modem images with a manifest, not {image.kind}",
                reason="unsupported-kind",
            )
        self._info, self._size_bytes = info, image.size_bytes
        self._board.reset()
        self._limits = self._modem.limits()
        self._board.client.line_bytes = self._limits.line_bytes
        self._offset = info.wrapper_size_bytes
        self._digests.clear()
        return self._offset

    def write(self, chunk: bytes) -> None:
        """The next bytes, packet by packet."""
        while chunk:
            segment = self._segment
            start = self._offset - segment.offset
            rest = ModemPacket(segment.size_bytes, start, segment.address + start, b"")
            size_bytes = min(
                self._modem.room_bytes(rest, self._limits), segment.size_bytes - start, len(chunk)
            )
            self._send(segment, ModemPacket(rest.file_size_bytes, start, rest.address, chunk[:size_bytes]))
            chunk = chunk[size_bytes:]

    def finish(self) -> None:
        """Count the bytes, and read back what the modem's flash holds.

        Raises:
            LinkError: Bytes are missing (reason ``incomplete``).
            TransferRestartError: No digest can be read.
            VerificationError: The flash holds something else (``digest-mismatch``).
        """
        if self._offset != self._size_bytes or not self._size_bytes:
            raise LinkError(
                f"{self._offset} of {self._size_bytes} bytes were written",
                reason="incomplete",
                offset=self._offset,
            )
        assert self._info is not None
        found = read_back(self._modem.digest, self._info.ranges, tuple(self._digests.values()))
        if found.unreadable and not (found.matched or found.unknown or self._was_unreadable):
            # Only a running loader gives digests: the board has restarted since. A modem that never gives any is asked twice.
            self._was_unreadable = True
            raise TransferRestartError(
                "the board gives no digest of its modem's flash, as if it had restarted",
                reason="bytes-lost",
                offset=self._offset,
            )
        self.read_back = found

    def schedule(self, digest: str | None = None) -> None:
        """Nothing is left to do: the modem has completed each file when its last packet came."""
        self._modem_is_broken = False

    def abort(self) -> None:
        """Have the board restart if the modem's firmware was not touched yet; once it was, only a whole update helps.

        Raises:
            BoardRefusedError: The modem has no working firmware now (reason ``modem-incomplete``).
        """
        if self._modem_is_broken:
            raise BoardRefusedError(
                "the modem has no working firmware now; the board still takes it over SMP",
                reason="modem-incomplete",
                hint="Run the update again.",
            )
        if self._used:
            self._board.send_reset()  # nobody need wait for it: what is in its memory so far does no harm
            self._used = False

    def discard(self, image: TransferImage) -> None:
        """Nothing: the old firmware is gone, or was never touched."""

    # --- segments -------------------------------------------------------------------------------------------

    @property
    def _segment(self) -> ModemSegment:
        """The one that the next byte belongs to."""
        assert self._info is not None
        return next(
            segment
            for segment in self._info.segments
            if segment.offset <= self._offset < segment.offset + segment.size_bytes
        )

    def _send(self, segment: ModemSegment, packet: ModemPacket) -> None:
        assert self._info is not None
        is_firmware = segment is not self._info.segments[0]
        if packet.offset == 0:
            self._running = hashlib.sha256()
        self._running.update(packet.data)
        self._used = True
        self._modem_is_broken = self._modem_is_broken or is_firmware
        try:
            self._modem.write(packet)
        except BoardRefusedError as error:
            raise self._start_again(error, "write-failed") from error
        except LinkError as error:
            if error.reason != "no-answer":
                raise
            if not (is_firmware and packet.is_last and self._holds(segment)):
                raise self._start_again(error, "bytes-lost") from error
            _log.info("the answer to the last packet of %#x was lost, not the packet", segment.address)
        if is_firmware and packet.is_last:
            self._digests[segment.address] = self._range_of(segment)
        self._offset += len(packet.data)

    def _range_of(self, segment: ModemSegment) -> DigestRange:
        last = segment.address + segment.size_bytes - 1
        return DigestRange(segment.address, last, self._running.hexdigest())

    def _holds(self, segment: ModemSegment) -> bool:
        """Whether the modem's flash certainly holds all of a segment."""
        assert self._info is not None
        wanted = self._range_of(segment)
        released = [each for each in self._info.ranges if _place(each) == _place(wanted)]
        try:
            return read_back(self._modem.digest, released, [wanted]).proven
        except BridgeError:
            return False

    def _start_again(self, error: BoardRefusedError | LinkError, reason: str) -> TransferRestartError:
        return TransferRestartError(
            f"the modem did not take the bytes from {self._offset} on: {error.message}",
            reason=reason,
            offset=self._offset,
        )


def _place(found: DigestRange) -> tuple[int, int]:
    return found.first_address, found.last_address
