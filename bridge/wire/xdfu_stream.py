"""What may follow an ``AT#XDFUWRITE`` before anybody knows whether it was accepted, and in pieces of what size.

While Serial Modem writes flash its processor takes nothing from the UART, whose buffers go on filling. Data that is sent
without waiting for each ``OK`` uses that time; but if a command is refused, or damaged on the line, the board reads its data
as AT commands. So a piece is sent blindly only if no part of it, read as AT commands from any byte on, is a command.

Sources: ncs-serial-modem ``app/src/sm_at_host.c`` (``cmd_rx_handler``, ``cmd_grammar_check``, ``raw_send``),
``app/src/sm_uart_handler.c`` (3 buffers of 256 bytes, one of which stays in use while its bytes are worked on), Zephyr
``subsys/storage/stream/stream_flash.c`` (blocks; a page is erased before its first block), nrfx ``nrfx_nvmc.c`` (times).
"""

import re
from collections.abc import Iterator
from typing import Final

from bridge.wire.at_command import AtCommandReader, parse_command

BLOCK_BYTES: Final = 1024
PAGE_BYTES: Final = 4096
_BLOCK_WRITE_S: Final = BLOCK_BYTES / 4 * 43e-6
_RECEIVED_MEANWHILE_BYTES: Final = 2 * 256
_BITS_PER_BYTE: Final = 10

_COMMAND_START: Final = re.compile(rb"[Aa](?=[Tt])")
_REST_OF_NUMBER: Final = re.compile(rb"[0-9 ,\x08\x7f]*\r|[0-9 ,\x08\x7f]+\0")
"""What could complete a command whose own CR was damaged: digits are appended to its length."""
_OPEN_END: Final = re.compile(rb"[Aa](?:[Tt](?:[+%#]\w*)?)?\Z")
"""The beginning of a command at the very end, which later data could complete if all between them were lost."""


def piece_sizes(offset: int, size_bytes: int, baud: int, *, slow_flash: bool = True) -> Iterator[int]:
    """Cut what follows ``offset`` so that the board writes flash in the stalls that its UART can bridge.

    The first block of a page, whose write begins with an erase, is a piece of its own. After it come as many blocks as
    are written in the time in which the UART's free buffers fill up: more would stall the line, fewer only cost commands.

    Args:
        offset: Where the data goes, from the beginning of the image on.
        size_bytes: How much there is.
        baud: Bit rate.
        slow_flash: Flash takes time worth hiding; otherwise a piece is a page.
    """
    hidden_s = _RECEIVED_MEANWHILE_BYTES * _BITS_PER_BYTE / baud
    blocks = max(1, int(hidden_s / _BLOCK_WRITE_S))
    end = offset + size_bytes
    while offset < end:
        in_page = offset % PAGE_BYTES
        wanted = PAGE_BYTES
        if slow_flash:
            wanted = (1 if in_page < BLOCK_BYTES else blocks) * BLOCK_BYTES - in_page % BLOCK_BYTES
        size = min(wanted, PAGE_BYTES - in_page, end - offset)
        yield size
        offset += size


def may_follow_blindly(data: bytes, next_command: str) -> bool:
    """Whether a board that takes ``data`` for AT commands would execute none.

    Args:
        data: What is announced by a command that may have been refused or damaged.
        next_command: The command behind it, whose text would complete an unfinished line.
    """
    if _REST_OF_NUMBER.match(data) or _OPEN_END.search(data):
        return False
    behind = next_command.encode() + b"\r"
    return not any(_is_command(data[start.start() :], behind) for start in _COMMAND_START.finditer(data))


def _is_command(data: bytes, behind: bytes) -> bool:
    reader = AtCommandReader()
    reader.feed(data + behind)
    line = reader.next_line()
    if line is None:
        return True  # a quote is open: nobody knows what will end it
    return not line.too_long and parse_command(line.text) is not None
