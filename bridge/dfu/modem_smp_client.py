"""The SMP commands by which NCS's fmfu server updates the modem: one for bytes, one for digests, one for limits.

Sources: sdk-nrf ``subsys/mgmt/fmfu/src/fmfu_mgmt.c`` and ``fmfu_mgmt_stat.c``. A digest comes as the modem's eight 32-bit
words lie in memory, which is SHA-256 with the bytes of each word reversed; some versions before NCS 2.9 send only the
first eight bytes of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.board.smp_client import SmpClient
from bridge.errors import BoardRefusedError, LinkError
from bridge.wire.smp_frame import DEFAULT_LINE_BYTES
from bridge.wire.smp_message import ModemFullCommand, SmpGroup, SmpMessage, SmpOp

STATISTICS_NAME: Final = "smp_com"
_SHOW_STATISTICS: Final = 0
_WRITE_TIMEOUT_S: Final = 10.0
_LAST_WRITE_TIMEOUT_S: Final = 60.0
_DIGEST_TIMEOUT_S: Final = 30.0
_LINE_MARGIN_BYTES: Final = 8
"""The server's line buffer also takes what ends the line."""
_SMALLEST_DIGEST_BYTES: Final = 8
_WORD_BYTES: Final = 4
_BYTE_STRING_HEAD_BYTES: Final = 2


@dataclass(frozen=True)
class ModemSmpLimits:
    """What the server can hold.

    Attributes:
        line_bytes: Longest line.
        message_bytes: Longest message, header included.
    """

    line_bytes: int = DEFAULT_LINE_BYTES
    message_bytes: int = 252


@dataclass(frozen=True)
class ModemPacket:
    """A piece of one of the files that make up an update: the loader, or a run of firmware.

    Attributes:
        file_size_bytes: Size of the file.
        offset: Where in the file the piece begins.
        address: Where in the modem's memory it begins.
        data: The piece.
    """

    file_size_bytes: int
    offset: int
    address: int
    data: bytes

    @property
    def is_last(self) -> bool:
        """Whether the file ends with it."""
        return self.offset + len(self.data) == self.file_size_bytes

    def body(self) -> dict[str, Any]:
        """The request's map; the size goes with the first piece."""
        size = {"len": self.file_size_bytes} if self.offset == 0 else {}
        return {"data": self.data, **size, "off": self.offset, "addr": self.address}


class ModemSmpClient:
    """Speaks to the server, one request at a time: it would write a request again that it gets twice.

    Args:
        client: The conversation.
    """

    def __init__(self, client: SmpClient) -> None:
        self._client = client

    def is_offered(self) -> bool:
        """Whether the server has this command group.

        Raises:
            LinkError: No answer.
        """
        try:
            self._client.request(
                SmpOp.READ, SmpGroup.MODEM_FULL, ModemFullCommand.GET_HASH, {"start": 0, "end": 0}
            )
        except BoardRefusedError as error:
            return error.reason != "not-supported"
        return True

    def limits(self) -> ModemSmpLimits:
        """What the server can hold; small values when it does not say."""
        try:
            body = self._client.request(
                SmpOp.READ, SmpGroup.STATISTICS, _SHOW_STATISTICS, {"name": STATISTICS_NAME}
            )
        except BoardRefusedError:
            return ModemSmpLimits()
        fields = body.get("fields")
        if not isinstance(fields, Mapping) or "frame_max" not in fields or "pack_max" not in fields:
            return ModemSmpLimits()
        frame_bytes, message_bytes = fields["frame_max"], fields["pack_max"]
        if not isinstance(frame_bytes, int) or not isinstance(message_bytes, int):
            return ModemSmpLimits()
        return ModemSmpLimits(max(DEFAULT_LINE_BYTES, frame_bytes - _LINE_MARGIN_BYTES), message_bytes)

    def room_bytes(self, packet: ModemPacket, limits: ModemSmpLimits) -> int:
        """How many bytes of data fit into a packet that begins like this one, in whole words.

        Raises:
            BoardRefusedError: None (reason ``buffers-too-small``).
        """
        empty = ModemPacket(packet.file_size_bytes, packet.offset, packet.address, b"")
        request = SmpMessage(SmpOp.WRITE, SmpGroup.MODEM_FULL, ModemFullCommand.UPLOAD, empty.body())
        room = limits.message_bytes - len(request.encode()) - _BYTE_STRING_HEAD_BYTES
        if room < _WORD_BYTES:
            raise BoardRefusedError(
                f"the board takes messages of {limits.message_bytes} bytes, into which no firmware fits",
                reason="buffers-too-small",
            )
        return room - room % _WORD_BYTES

    def write(self, packet: ModemPacket) -> None:
        """Send a packet and wait until the modem has taken it; never twice.

        Raises:
            BoardRefusedError: The modem refused it.
            LinkError: No answer: nobody knows whether the modem has it.
        """
        answer = self._client.request(
            SmpOp.WRITE,
            SmpGroup.MODEM_FULL,
            ModemFullCommand.UPLOAD,
            packet.body(),
            timeout_s=_LAST_WRITE_TIMEOUT_S if packet.is_last else _WRITE_TIMEOUT_S,
            tries=1,
        )
        end = packet.offset + len(packet.data)
        # A request that it cannot decode it answers with 3, as if that were the offset.
        if answer.get("off") != end:
            raise BoardRefusedError(
                f"the server answered offset {answer.get('off')} where {end} was due", reason="bad-answer"
            )

    def digest(self, first_address: int, last_address: int) -> bytes:
        """SHA-256 of a range of the modem's flash, both ends included, or the beginning of it.

        Raises:
            BoardRefusedError: There is no such range, or no loader runs (reason ``bad-state``).
            LinkError: No answer, or a senseless one.
        """
        answer = self._client.request(
            SmpOp.READ,
            SmpGroup.MODEM_FULL,
            ModemFullCommand.GET_HASH,
            {"start": first_address, "end": last_address},
            timeout_s=_DIGEST_TIMEOUT_S,
        )
        words = answer.get("digest")
        if not isinstance(words, bytes) or len(words) < _SMALLEST_DIGEST_BYTES:
            raise LinkError(f"the server sent {words!r} as a digest", reason="bad-answer")
        return b"".join(
            words[start : start + _WORD_BYTES][::-1] for start in range(0, len(words), _WORD_BYTES)
        )
