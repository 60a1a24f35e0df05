"""The modem's own flash: pages of 8 kB, in the ranges that a full update may write.

Source: the modem DFU protocol as probe-based programmers speak it (nAN-41): page size and valid ranges. Kept sparsely:
a page that was never written takes no memory, and a modem whose flash holds no page at all runs the firmware that it
was delivered with, which is not kept byte for byte.
"""

import base64
import hashlib
import zlib
from typing import Final

PAGE_BYTES: Final = 0x2000
VALID_RANGES: Final = ((0x6000, 0x10000), (0x50000, 0x280000))
"""First and behind the last byte of each range."""

_ERASED_PAGE: Final = b"\xff" * PAGE_BYTES


class ModemFlash:
    """Sparse flash.

    Args:
        pages: Address -> content of the pages that are written.
    """

    def __init__(self, pages: dict[int, bytes] | None = None) -> None:
        self._pages = {address: bytearray(page) for address, page in (pages or {}).items()}

    @property
    def is_as_delivered(self) -> bool:
        """Whether a full update has never touched it."""
        return not self._pages

    @staticmethod
    def is_valid(address: int, size_bytes: int) -> bool:
        """Whether all these bytes are where firmware may be."""
        return any(first <= address and address + size_bytes <= end for first, end in VALID_RANGES)

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read bytes; what was never written is erased."""
        found = bytearray()
        while size_bytes > 0:
            start = address % PAGE_BYTES
            piece = self._pages.get(address - start, _ERASED_PAGE)[start : start + size_bytes]
            found += piece
            address += len(piece)
            size_bytes -= len(piece)
        return bytes(found)

    def erase(self, page: int) -> None:
        """Erase the page that begins at ``page``; from now on the delivered firmware is gone."""
        self._pages[page] = bytearray(_ERASED_PAGE)

    def program(self, address: int, data: bytes) -> int:
        """Write bytes; a page is erased when its first byte is written, otherwise bits only go from 1 to 0.

        Returns:
            Number of pages that were erased.
        """
        erased = 0
        while data:
            start = address % PAGE_BYTES
            page = address - start
            if start == 0 or page not in self._pages:
                self.erase(page)
                erased += 1
            piece, data = data[: PAGE_BYTES - start], data[PAGE_BYTES - start :]
            content = self._pages[page]
            old = int.from_bytes(content[start : start + len(piece)], "little")
            new = old & int.from_bytes(piece, "little")
            content[start : start + len(piece)] = new.to_bytes(len(piece), "little")
            address += len(piece)
        return erased

    def overwrite(self, address: int, data: bytes) -> None:
        """Replace bytes within a page, as the modem itself does when it patches its firmware."""
        start = address % PAGE_BYTES
        self._pages[address - start][start : start + len(data)] = data

    def digest(self, first: int, last: int) -> bytes:
        """SHA-256 from ``first`` to ``last``, both included."""
        return hashlib.sha256(self.read(first, last - first + 1)).digest()

    def to_dict(self) -> dict[str, str]:
        """For JSON."""
        return {
            f"{address:#x}": base64.b64encode(zlib.compress(bytes(page), 1)).decode("ascii")
            for address, page in sorted(self._pages.items())
        }

    @classmethod
    def from_dict(cls, data: dict[str, str]) -> "ModemFlash":
        """The reverse of :meth:`to_dict`; raises ValueError for anything else."""
        pages = {}
        for address, text in data.items():
            try:
                page = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), PAGE_BYTES + 1)
            except zlib.error as error:
                raise ValueError(f"page {address} is damaged") from error
            if len(page) != PAGE_BYTES or int(address, 16) % PAGE_BYTES:
                raise ValueError(f"{address} is no page of the modem's flash")
            pages[int(address, 16)] = page
        return cls(pages)
