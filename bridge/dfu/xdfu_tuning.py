"""How large chunks are and how long the board may take: choices, and the reasons for them.

Sources: ncs-serial-modem ``app/src/sm_uart_handler.c`` (RX buffers), ``app/src/sm_at_host.c`` (data mode); nrfx
``nrfx_nvmc.c`` (page erase 87 ms).
"""

from dataclasses import dataclass
from typing import Final

STREAMED_CHUNK_BYTES: Final = 4 * 1024
"""What a transfer hands over at once while pieces are streamed: little, so that a download's newest bytes are soon on the
line."""

STREAM_WINDOW_BYTES: Final = 12 * 1024
"""How many bytes may be under way without an answer: what an adapter with 16 ms each way needs at 1 Mbaud to keep the
board's buffers full while flash is busy, three times over; all of it arrives where commands are expected if the board
restarts."""

_BLOCK_BYTES: Final = 1024
"""What Serial Modem writes to flash at once (``dfu_target``'s buffer). Data stay in the data mode's ring until a piece is
complete, so pieces that end where this buffer is full have flash at work the soonest and most evenly."""

_PAGE_BYTES: Final = 4096
_BLOCK_WRITE_S: Final = _BLOCK_BYTES / 4 * 43e-6
_RECEIVED_MEANWHILE_BYTES: Final = 2 * 256
"""Of the UART's three buffers one stays in use while its bytes are worked on."""

CHUNK_WITH_FLOW_CONTROL_BYTES: Final = 32 * 1024
"""Each chunk costs about 70 bytes on the wire and two round trips through host and debug probe, while the flash
idles. At 1 Mbaud, with flash as slow as the nRF91's, 4 KiB chunks give 22.0 kB/s, 32 KiB give 24.5 and larger ones no
more (virtual board, real timing); but every 32 KiB more let a failure go unnoticed for another second."""

CHUNK_WITHOUT_FLOW_CONTROL_BYTES: Final = 4096
"""What the board's data mode collects before it writes any of it to flash (``SM_DATAMODE_BUF_SIZE``), so that nothing but
the three bytes of the nudge arrives while the CPU stands still. Where it is smaller, or where the host pauses within a
chunk and the board writes early, bytes are lost, and the next attempt uses the shortest chunks."""

SHORTEST_CHUNK_BYTES: Final = 508
"""While flash is erased (87 ms) the CPU takes nothing from the UART, and without RTS what its buffers cannot
hold is lost. They are 3 x 256 bytes, of which one may be in use; so chunk and nudge fit into two."""

SHORTER_CHUNK_BYTES: Final = 8 * 1024
"""After the first loss. After the second, chunks are as short as can be: perhaps the board has no flow control."""

BUFFERED_BYTES: Final = 16 * 1024
"""What may still be on its way (host driver, debug probe, board) when the host's last write has returned."""


def piece_end(offset: int, baud: int, *, line_bound: bool) -> int:
    """Where a piece of a stream that starts at an offset should end.

    The first block of a page, whose write begins with an erase, is a piece of its own. After it come as many blocks as are
    written in the time in which the UART's free buffers fill up: more would stall the line, fewer only cost commands.

    Args:
        offset: Offset in the image.
        baud: Bit rate.
        line_bound: Whether the board takes bytes as fast as the line brings them.
    """
    page, in_page = offset - offset % _PAGE_BYTES, offset % _PAGE_BYTES
    if line_bound:
        return page + _PAGE_BYTES
    hidden_s = _RECEIVED_MEANWHILE_BYTES * 10 / baud
    blocks = 1 if in_page < _BLOCK_BYTES else max(1, int(hidden_s / _BLOCK_WRITE_S))
    return min(page + (in_page // _BLOCK_BYTES + blocks) * _BLOCK_BYTES, page + _PAGE_BYTES)


@dataclass(frozen=True)
class XdfuTiming:
    """How long the board may take.

    Attributes:
        command_s: For a command that only looks at parameters.
        erase_s: For ``#XDFUINIT`` of a modem delta, which may erase the modem's area for minutes.
        flash_bytes_per_s: Slowest flash to wait for; the nRF91's takes 31 kB/s.
        margin_s: On top of what a chunk needs on the wire and in flash.
        schedule_s: For ``#XDFUAPPLY``.
        settle_s: Silence that shows that the board has worked off what was streamed.
        recovery_s: For leading a board out of data mode.
    """

    command_s: float = 10.0
    erase_s: float = 600.0
    flash_bytes_per_s: int = 8_000
    margin_s: float = 3.0
    schedule_s: float = 30.0
    settle_s: float = 0.5
    recovery_s: float = 60.0
