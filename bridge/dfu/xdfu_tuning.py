"""How large chunks are and how long the board may take: choices, and the reasons for them.

Sources: ncs-serial-modem ``app/src/sm_uart_handler.c`` (RX buffers), ``app/src/sm_at_host.c`` (data mode); nrfx
``nrfx_nvmc.c`` (page erase 87 ms).
"""

from dataclasses import dataclass
from typing import Final

CHUNK_WITH_FLOW_CONTROL_BYTES: Final = 32 * 1024
"""In lock-step. Each chunk costs about 70 bytes on the wire and two round trips through host and debug probe, while the
flash idles; every 32 KiB more let a failure go unnoticed for another second."""

PROOF_BYTES: Final = 8 * 1024
"""First chunk of a transfer, in lock-step. Its second half arrives while the first is written, with a page erase; without
working flow control it would overflow the board's buffers at any rate. Then chunks are streamed."""

STREAM_BYTES: Final = 64 * 1024
"""Longest stream: 64 writes whose statuses, 14 bytes each, must fit into the board's ring of 4096 bytes."""

CHUNK_WITHOUT_FLOW_CONTROL_BYTES: Final = 4096
"""What the board's data mode collects before it writes any of it to flash (``SM_DATAMODE_BUF_SIZE``), so that nothing but
the three bytes of the nudge arrives while the CPU stands still. Where it is smaller, or where the host pauses within a
chunk and the board writes early, bytes are lost, and the next attempt uses shorter chunks."""

SMALLEST_CHUNK_BYTES: Final = 508
"""While flash is erased (87 ms) the CPU takes nothing from the UART, and without RTS what its buffers cannot hold is
lost. They are 3 x 256 bytes, of which one may be in use; so chunk and nudge fit into two."""

SHRINK_FACTOR: Final = 4

BUFFERED_BYTES: Final = 16 * 1024
"""What may still be on its way (host driver, debug probe, board) when the host's last write has returned."""


@dataclass(frozen=True)
class XdfuTiming:
    """How long the board may take.

    Attributes:
        command_s: For a command that only looks at parameters.
        erase_s: For ``#XDFUINIT`` of a modem delta, which may erase the modem's area for minutes.
        flash_bytes_per_s: Slowest flash to wait for; the nRF91's takes 31 kB/s.
        margin_s: On top of what a chunk needs on the wire and in flash.
        schedule_s: For ``#XDFUAPPLY``.
        slow_flash_s: What flash must add to the line's time of the first chunk to be worth hiding; two page erases take
            174 ms.
        settle_s: Silence that shows that the board has worked off what was streamed, on top of the line's time.
        recovery_s: For leading a board out of data mode.
    """

    command_s: float = 10.0
    erase_s: float = 600.0
    flash_bytes_per_s: int = 8_000
    margin_s: float = 3.0
    schedule_s: float = 30.0
    slow_flash_s: float = 0.1
    settle_s: float = 0.5
    recovery_s: float = 60.0
