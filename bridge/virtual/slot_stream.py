"""A buffered writer over the secondary slot that erases as it goes.

Sources: NCS ``dfu_target_mcuboot.c``, ``dfu_target_stream.c`` and Zephyr ``stream_flash.c``: bytes are appended in the order of
arrival through a 1024-byte buffer, a page is erased when the first bytes for it are written, and nothing of the image is
checked.
"""

from typing import Final

from bridge.virtual.flash import Flash

STREAM_BUFFER_BYTES: Final = 1024


class SlotStream:
    """The writer.

    Args:
        flash: Where it writes.
        start: First byte of the slot.
        size_bytes: Size of the slot.
    """

    def __init__(self, flash: Flash, start: int, size_bytes: int) -> None:
        self._flash = flash
        self._start = start
        self._size_bytes = size_bytes
        self._buffer = bytearray()
        self._written_bytes = 0
        self._erased_page: int | None = None

    def write(self, data: bytes) -> bool:
        """Append; False when it does not fit."""
        if self._written_bytes + len(self._buffer) + len(data) > self._size_bytes:
            return False
        for start in range(0, len(data), STREAM_BUFFER_BYTES):
            self._buffer += data[start : start + STREAM_BUFFER_BYTES]
            while len(self._buffer) >= STREAM_BUFFER_BYTES:
                self._write_out(STREAM_BUFFER_BYTES)
        return True

    def flush(self) -> None:
        """Write what is buffered, padded to a whole word."""
        if self._buffer:
            self._write_out(len(self._buffer))

    def erase_last_page(self) -> None:
        """Erase the page that holds the slot's trailer."""
        self._erase_page_of(self._start + self._size_bytes - 1)

    def _write_out(self, size: int) -> None:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        address = self._start + self._written_bytes
        self._erase_page_of(address + len(data) - 1)
        self._flash.write(address, data + b"\xff" * (-len(data) % self._flash.write_size))
        self._written_bytes += len(data)

    def _erase_page_of(self, address: int) -> None:
        page = address - address % self._flash.page_size
        if page != self._erased_page:
            self._flash.erase(page, self._flash.page_size)
            self._erased_page = page
