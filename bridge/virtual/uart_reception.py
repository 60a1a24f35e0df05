"""Where received bytes wait until the firmware takes them: DMA buffers that run out, or a FIFO and interrupts.

Sources: ncs-serial-modem ``app/src/sm_uart_handler.c``; Zephyr ``drivers/serial/uart_nrfx_uarte.c`` and
``drivers/console/uart_mcumgr.c``.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Final, Protocol

from bridge.virtual.uart_options import Reception, UartOptions

_INTERRUPT_BYTES: Final = 32
"""How many bytes are passed on at once; only a step of the simulation, time is counted byte by byte."""


class RxMemory(Protocol):
    """What holds received bytes."""

    @property
    def disabled(self) -> bool:
        """Nothing is received: RTS is off."""
        ...

    @property
    def room_bytes(self) -> int:
        """How many bytes may arrive before the driver must be told."""
        ...

    def store(self, data: bytes) -> bool:
        """Take at most ``room_bytes`` bytes; True when the driver is to be told at once."""
        ...

    def report(self) -> None:
        """Tell the driver about everything that has arrived."""
        ...

    def read(self) -> bytes:
        """Take everything that was reported; its memory is free again at once."""
        ...

    def take(self) -> bytes:
        """Take what was reported of one buffer, which stays in use until the next call."""
        ...


def make_memory(options: UartOptions) -> RxMemory:
    """Empty memory of a UART that has just been switched on."""
    return FifoMemory() if options.reception is Reception.FIFO else DmaMemory(options)


@dataclass
class _Buffer:
    fill: int = 0
    unreported: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    """Reported pieces that nobody has finished with."""
    in_use_by_driver: bool = True


class DmaMemory:
    """Buffers that the DMA fills one after the other.

    The driver asks for the next buffer when it begins to fill one. If none is free then, reception ends when that one is
    full, and begins again when everything that was reported has been taken. A buffer is free when it is full and its
    bytes are done with; Serial Modem still holds the buffer that it works on, for example while a page is erased.
    """

    def __init__(self, options: UartOptions) -> None:
        self._size = options.buffer_bytes
        self._count = options.buffer_count
        self._used = 0
        self._pieces: deque[tuple[_Buffer, bytes]] = deque()
        self._held: _Buffer | None = None
        self._current: _Buffer | None = None
        self._next: _Buffer | None = None
        self._enable()

    @property
    def disabled(self) -> bool:
        """No buffer is left."""
        return self._current is None

    @property
    def room_bytes(self) -> int:
        """Up to the end of the buffer that is being filled."""
        return 0 if self._current is None else self._size - self._current.fill

    def store(self, data: bytes) -> bool:
        """Take bytes; the driver is told when the buffer is full."""
        buffer = self._current
        assert buffer is not None
        buffer.unreported += data
        buffer.fill += len(data)
        if buffer.fill < self._size:
            return False
        self._report(buffer)
        buffer.in_use_by_driver = False
        self._current, self._next = self._next, None
        if self._current is not None:
            self._next = self._allocate()
        return True

    def report(self) -> None:
        """Tell the driver about the bytes in the buffer that is not full yet."""
        if self._current is not None and self._current.unreported:
            self._report(self._current)

    def read(self) -> bytes:
        """Take everything that was reported."""
        self._finish_held()
        data = b"".join(piece for _, piece in self._pieces)
        for buffer, _ in self._pieces:
            self._finish(buffer)
        self._pieces.clear()
        self._enable()
        return data

    def take(self) -> bytes:
        """Take the next piece, and be done with the one before."""
        self._finish_held()
        if not self._pieces:
            self._enable()
            return b""
        self._held, data = self._pieces.popleft()
        return data

    def _report(self, buffer: _Buffer) -> None:
        self._pieces.append((buffer, bytes(buffer.unreported)))
        buffer.unreported.clear()
        buffer.pieces += 1

    def _finish_held(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._finish(held)

    def _finish(self, buffer: _Buffer) -> None:
        buffer.pieces -= 1
        if not buffer.pieces and not buffer.in_use_by_driver:
            self._used -= 1

    def _enable(self) -> None:
        if self._current is None:
            self._current = self._allocate()
            if self._current is not None:
                self._next = self._allocate()

    def _allocate(self) -> _Buffer | None:
        if self._used >= self._count:
            return None
        self._used += 1
        return _Buffer()


class FifoMemory:
    """What the interrupt handler puts aside; how much gets as far as that is the UART's business."""

    disabled: Final = False
    room_bytes: Final = _INTERRUPT_BYTES

    def __init__(self) -> None:
        self._data = bytearray()

    def store(self, data: bytes) -> bool:
        """Take bytes; the firmware is told at once."""
        self._data += data
        return True

    def report(self) -> None:
        """All has been reported."""

    def read(self) -> bytes:
        """Take everything."""
        data = bytes(self._data)
        self._data.clear()
        return data

    take = read
