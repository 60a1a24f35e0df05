"""SMP over a serial console: base64 lines with a length in front and a CRC behind, between whatever else is printed.

Source: Zephyr ``doc/services/device_mgmt/smp_transport.rst``, ``subsys/mgmt/mcumgr/transport/src/serial_util.c``. A
receiver never says that a frame was bad; it drops it without a word.
"""

import base64
import binascii
from typing import Final

START: Final = b"\x06\x09"
CONTINUATION: Final = b"\x04\x14"
DEFAULT_LINE_BYTES: Final = 127
"""Longest line of the standard, with its two marker bytes and the line feed."""

_LINE_OVERHEAD_BYTES: Final = 3
_LENGTH_BYTES: Final = 2
_CRC_BYTES: Final = 2
_SHORTEST_FRAME_BYTES: Final = 8
_LONGEST_LINE_BYTES: Final = 128 * 1024


def crc16(data: bytes) -> int:
    """CRC-16 of a message: polynomial 0x1021, initial value 0, as XMODEM."""
    return binascii.crc_hqx(data, 0)


def encode_frame(message: bytes, line_bytes: int = DEFAULT_LINE_BYTES) -> bytes:
    """Put a message into lines.

    Args:
        message: SMP header and body.
        line_bytes: Longest line that the receiver takes, with markers and line feed.

    Returns:
        All lines, each with its line feed.
    """
    packet = (len(message) + _CRC_BYTES).to_bytes(_LENGTH_BYTES, "big") + message
    text = base64.b64encode(packet + crc16(message).to_bytes(_CRC_BYTES, "big"))
    step = (line_bytes - _LINE_OVERHEAD_BYTES) // 4 * 4
    pieces = [text[start : start + step] for start in range(0, len(text), step)]
    return START + (b"\n" + CONTINUATION).join(pieces) + b"\n"


def frame_size_bytes(message_bytes: int, line_bytes: int = DEFAULT_LINE_BYTES) -> int:
    """Bytes on the wire of a message of that size."""
    text = -(-(message_bytes + _LENGTH_BYTES + _CRC_BYTES) // 3) * 4
    step = (line_bytes - _LINE_OVERHEAD_BYTES) // 4 * 4
    return text + _LINE_OVERHEAD_BYTES * line_count(message_bytes, line_bytes) if step else 0


def line_count(message_bytes: int, line_bytes: int = DEFAULT_LINE_BYTES) -> int:
    """Lines that a message of that size takes."""
    text = -(-(message_bytes + _LENGTH_BYTES + _CRC_BYTES) // 3) * 4
    step = (line_bytes - _LINE_OVERHEAD_BYTES) // 4 * 4
    return -(-text // step)


def largest_message_bytes(lines: int, line_bytes: int = DEFAULT_LINE_BYTES) -> int:
    """Longest message that takes no more than so many lines."""
    return lines * ((line_bytes - _LINE_OVERHEAD_BYTES) // 4 * 3) - _LENGTH_BYTES - _CRC_BYTES


class SmpFrameDecoder:
    """Finds frames in a stream of bytes.

    Args:
        max_line_bytes: Longest line, with its marker bytes, that is taken; a longer one is dropped. None for any.
        max_message_bytes: Longest message that is taken; a longer one is dropped. None for any.
        behind_text: Frames are also found behind text on their line, such as the prompt of Zephyr's shell when that carries
            SMP. Devices want them at the beginning of a line (``serial_util.c``, ``boot_serial.c``); hosts cannot choose.

    Attributes:
        text_lines: Lines between frames (log output, AT answers), oldest first; whoever reads them clears the list.
        dropped_frames: Frames that were lost: bad base64, bad length, bad CRC, too long, or cut off by the next one.
    """

    def __init__(
        self,
        *,
        max_line_bytes: int | None = None,
        max_message_bytes: int | None = None,
        behind_text: bool = False,
    ) -> None:
        self._behind_text = behind_text
        self._max_line_bytes = max_line_bytes or _LONGEST_LINE_BYTES
        self._max_message_bytes = max_message_bytes
        self._line = bytearray()
        self._too_long = False
        self._packet: bytearray | None = None
        self.text_lines: list[bytes] = []
        self.dropped_frames = 0

    @property
    def in_line(self) -> bool:
        """Whether an unfinished line is waiting for its end."""
        return bool(self._line) or self._too_long

    @property
    def in_frame(self) -> bool:
        """Whether some, but not all, lines of a frame are there."""
        return self._packet is not None

    def reset(self) -> None:
        """Forget everything half received."""
        self._line.clear()
        self._too_long = False
        self._packet = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes.

        Returns:
            The messages that were completed by them, without length and CRC.
        """
        *ended, rest = data.split(b"\n")
        messages = []
        for piece in ended:
            self._append(piece)
            line, too_long = bytes(self._line), self._too_long
            self._line.clear()
            self._too_long = False
            if too_long:
                self._drop()
                continue
            message = self._take(line)
            if message is not None:
                messages.append(message)
        self._append(rest)
        return messages

    def _append(self, piece: bytes) -> None:
        room = self._max_line_bytes - 1 - len(self._line)  # one for the line feed
        self._line += piece[: max(0, room)]
        self._too_long = self._too_long or len(piece) > room

    def _take(self, line: bytes) -> bytes | None:
        line = line.strip(b"\r")
        if self._behind_text:
            line = self._split_text(line)
        if line.startswith(START):
            if self._packet is not None:
                self.dropped_frames += 1
            self._packet = bytearray()
        elif not line.startswith(CONTINUATION):
            if line:
                self.text_lines.append(line)
            return None
        elif self._packet is None:
            return None
        return self._collect(line[len(START) :])

    def _split_text(self, line: bytes) -> bytes:
        """The frame's part of a line that begins with something else."""
        marker = max(line.rfind(START), line.rfind(CONTINUATION))
        if marker <= 0:
            return line
        self.text_lines.append(line[:marker])
        return line[marker:]

    def _collect(self, text: bytes) -> bytes | None:
        assert self._packet is not None
        try:
            self._packet += base64.b64decode(text, validate=True)
        except binascii.Error:
            self._drop()
            return None
        if len(self._packet) < _LENGTH_BYTES:
            self._drop()
            return None
        length = int.from_bytes(self._packet[:_LENGTH_BYTES], "big")
        size = length - _CRC_BYTES
        if size < _SHORTEST_FRAME_BYTES or (
            self._max_message_bytes is not None and size > self._max_message_bytes
        ):
            self._drop()
            return None
        if len(self._packet) < _LENGTH_BYTES + length:
            return None
        frame = bytes(self._packet[_LENGTH_BYTES:])
        self._packet = None
        if len(frame) != length or crc16(frame):
            self.dropped_frames += 1
            return None
        return frame[:-_CRC_BYTES]

    def _drop(self) -> None:
        self._packet = None
        self.dropped_frames += 1
