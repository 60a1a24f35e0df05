"""How the board's UART receives while its processor stands still: the models, and how they are named in options.

Sources: ncs-serial-modem ``app/src/sm_uart_handler.c`` and ``app/Kconfig`` (buffers of the DMA, 3 x 256 bytes, 3 x 2048
on Thingy:91 X, which has no RTS/CTS); Zephyr ``drivers/serial/uart_nrfx_uarte.c`` and ``drivers/console/uart_mcumgr.c``
(interrupt driven: a byte is fetched by the interrupt handler, which runs from the flash that is busy). Six bytes of FIFO
are a reading of the nRF52 UARTE and were not measured on hardware.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from bridge.errors import UsageError


class Reception(StrEnum):
    """Who moves received bytes to memory."""

    DMA = "dma"
    """Hardware does, into the buffers that it was given, also while the CPU stands still."""
    FIFO = "fifo"
    """The interrupt handler does; while the CPU stands still nothing is received beyond the hardware's FIFO."""


@dataclass(frozen=True)
class UartOptions:
    """The receiving half of a UART.

    Attributes:
        reception: Who moves the bytes.
        buffer_bytes: Size of a DMA buffer.
        buffer_count: How many there are.
        fifo_bytes: What the hardware holds without help, for ``fifo``.
        idle_us: How long the line is idle before the bytes in an unfinished buffer are reported.
        flow_control: The UART uses RTS/CTS. A host that does too is held back; bytes for one that does not are lost.
    """

    reception: Reception = Reception.DMA
    buffer_bytes: int = 256
    buffer_count: int = 3
    fifo_bytes: int = 6
    idle_us: int = 2_000
    flow_control: bool = True

    def __post_init__(self) -> None:
        if min(self.buffer_bytes, self.buffer_count - 1, self.fifo_bytes) < 1:
            raise UsageError(
                "a UART needs at least two DMA buffers of a byte, and a FIFO of one", reason="bad-uart"
            )

    @property
    def held_bytes(self) -> int:
        """Most bytes that can arrive unread while the CPU stands still."""
        return self.fifo_bytes if self.reception is Reception.FIFO else self.buffer_bytes * self.buffer_count

    @property
    def label(self) -> str:
        """Short name for tables, such as ``dma 3x256`` or ``fifo 6 no rts``."""
        size = (
            str(self.fifo_bytes)
            if self.reception is Reception.FIFO
            else f"{self.buffer_count}x{self.buffer_bytes}"
        )
        return f"{self.reception} {size}" + ("" if self.flow_control else " no rts")


def parse_uart(
    reception: str = Reception.DMA, buffers: str | None = None, *, flow_control: bool = True
) -> UartOptions:
    """Read the options as they are given on a command line or in a URL.

    Args:
        reception: ``dma`` or ``fifo``.
        buffers: ``<count>x<bytes>``, such as ``3x256``; None for Serial Modem's.
        idle_us: How long the line is idle before the bytes in an unfinished buffer are reported.
        flow_control: The UART uses RTS/CTS.

    Raises:
        UsageError: They make no sense.
    """
    try:
        kind = Reception(reception)
    except ValueError:
        raise UsageError(f"{reception} is no way to receive; known: dma, fifo", reason="bad-uart") from None
    if buffers is None:
        return UartOptions(kind, flow_control=flow_control)
    match = re.fullmatch(r"(\d{1,4})x(\d{1,6})", buffers)
    if match is None:
        raise UsageError(f"{buffers} are no buffers; write them like 3x256", reason="bad-uart")
    return UartOptions(kind, int(match[2]), int(match[1]), flow_control=flow_control)
