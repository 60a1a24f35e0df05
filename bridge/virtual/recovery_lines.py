"""How MCUboot's serial recovery receives: a handful of line buffers, and packets that grow line by line.

Nothing here ever complains: lines beyond their buffer are cut off, lines without a buffer are gone, packets that do not
fit or do not decode are forgotten. Sources: MCUboot ``boot/zephyr/serial_adapter.c`` (line buffers) and
``boot/boot_serial/src/boot_serial.c`` (``boot_serial_in_dec``); Zephyr ``lib/utils/base64.c``.
"""

import binascii
import re
from collections import deque
from typing import Final

from bridge.wire.smp_frame import CONTINUATION, START, crc16

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]*={0,2} *")
_LENGTH_BYTES: Final = 2
_CRC_BYTES: Final = 2


class LineBuffers:
    """The lines between the UART's interrupt and whoever works on them.

    Args:
        line_bytes: Size of a buffer.
        count: Number of buffers. One stays with the reader until it asks for the next line.

    Attributes:
        lost_bytes: How much came while no buffer was free.
    """

    def __init__(self, line_bytes: int, count: int) -> None:
        self._line_bytes = line_bytes
        self._free = count
        self._line: bytearray | None = None
        self._lines: deque[bytes] = deque()
        self._held = False
        self.lost_bytes = 0

    def feed(self, data: bytes) -> None:
        """Bytes come from the UART."""
        while data:
            if self._line is None:
                if not self._free:
                    self.lost_bytes += len(data)
                    return
                self._free -= 1
                self._line = bytearray()
            piece, end, data = data.partition(b"\n")
            room = self._line_bytes - len(self._line)
            self._line += (piece + end)[:room]
            if end:
                self._lines.append(bytes(self._line))
                self._line = None

    def take(self) -> bytes | None:
        """The oldest whole line; the one that was taken before gives its buffer back."""
        if self._held:
            self._free += 1
        self._held = bool(self._lines)
        return self._lines.popleft() if self._lines else None


class PacketDecoder:
    """Puts a packet together.

    Args:
        receive_bytes: Longest packet that fits, with its length and CRC; one more byte happens to fit, too.
    """

    def __init__(self, receive_bytes: int) -> None:
        self._receive_bytes = receive_bytes
        self._packet = bytearray()

    def take(self, line: bytes) -> bytes | None:
        """Take a line.

        Returns:
            The SMP message that it completed.
        """
        line = line[: self._receive_bytes]
        if line.startswith(START):
            self._packet.clear()
        elif not line.startswith(CONTINUATION):
            return None
        # The last character counts as the line's end, also where the line was cut off.
        piece = _decode(line[len(START) : -1], self._receive_bytes + 1 - len(self._packet))
        if piece is None:
            return None
        packet = self._packet
        packet += piece
        length = int.from_bytes(packet[:_LENGTH_BYTES], "big")
        if len(packet) <= _LENGTH_BYTES or length != len(packet) - _LENGTH_BYTES:
            return None
        if length <= _CRC_BYTES or crc16(bytes(packet[_LENGTH_BYTES:])):
            return None
        del packet[-_CRC_BYTES:]
        return bytes(packet[_LENGTH_BYTES:])


def _decode(text: bytes, room: int) -> bytes | None:
    """Base64 as Zephyr decodes it: a rest of less than four characters is left out, anything strange is an error."""
    if not _BASE64.fullmatch(text):
        return None
    text = text.rstrip(b" ")
    count, padding = len(text), text.count(b"=")
    if 6 * (count >> 3) + ((6 * (count & 7) + 7) >> 3) - padding > room:
        return None
    return binascii.a2b_base64(text[: count // 4 * 4])
