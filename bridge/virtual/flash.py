"""NOR flash of an nRF91: pages, words, bits that only go from 1 to 0, time that it takes, power that fails.

Sources: nrfx ``nrfx_nvmc.c`` (87 ms a page erase on nRF9160), nRF5340 product specification (43 µs a word write; the nRF91
figure is not published), DevZone 104913 (a word may be written twice between erases).
"""

import random
from collections.abc import Callable
from typing import Final

from bridge.errors import BridgeError

PAGE_BYTES: Final = 4096
WORD_BYTES: Final = 4
ERASED: Final = 0xFF
PAGE_ERASE_NS: Final = 87_000_000
WORD_WRITE_NS: Final = 43_000
WRITES_PER_WORD: Final = 2


class FlashError(BridgeError):
    """The driver refuses an operation: unaligned, or outside the flash (Zephyr answers -EINVAL)."""

    default_reason = "flash-misuse"


class Flash:
    """The internal flash.

    Every page erase and every run of words written at once is one *operation*: it is reported to ``on_operation``
    with its duration before it takes effect. If the observer raises, the power fails at that moment.

    Args:
        size_bytes: Size; a whole number of pages.
        content: What it holds; blank if not given.
        tear_seed: Seed of what a torn operation leaves behind.

    Attributes:
        on_operation: Called with the duration of each operation in ns; may raise to cut the power.
        tear: What an operation does that the observer interrupts: nothing (``before``), part of it at random
            (``half``), or all of it (``after``).
        operations: How many operations there have been.
        overwritten_words: How often a word was written more often than the data sheet allows.
    """

    page_size: Final = PAGE_BYTES
    write_size: Final = WORD_BYTES

    def __init__(self, size_bytes: int, content: bytes | None = None, *, tear_seed: int = 0) -> None:
        if size_bytes % PAGE_BYTES or (content is not None and len(content) != size_bytes):
            raise FlashError(f"a flash of {size_bytes} bytes cannot hold that", hint="Give whole pages.")
        self.size_bytes = size_bytes
        self.on_operation: Callable[[int], None] = lambda _duration_ns: None
        self.tear = "half"
        self.operations = 0
        self.overwritten_words = 0
        self._bytes = bytearray(content if content is not None else bytes([ERASED]) * size_bytes)
        self._writes = bytearray(size_bytes // WORD_BYTES)
        self._random = random.Random(tear_seed)  # noqa: S311 - reproducible, not secret

    def read(self, address: int, size_bytes: int) -> bytes:
        """Read bytes; takes no time worth modelling.

        Raises:
            FlashError: Outside the flash.
        """
        self._check(address, size_bytes, 1)
        return bytes(self._bytes[address : address + size_bytes])

    def write(self, address: int, data: bytes) -> None:
        """Write words; bits can only be cleared.

        Raises:
            FlashError: Not word-aligned, not whole words, or outside the flash.
        """
        self._check(address, len(data), WORD_BYTES)
        try:
            self._begin(len(data) // WORD_BYTES * WORD_WRITE_NS)
        except BaseException:
            self._write_torn(address, data)
            raise
        self._clear_bits(address, data)

    def erase(self, address: int, size_bytes: int = PAGE_BYTES) -> None:
        """Erase whole pages, one operation each.

        Raises:
            FlashError: Not page-aligned, not whole pages, or outside the flash.
        """
        self._check(address, size_bytes, PAGE_BYTES)
        for page in range(address, address + size_bytes, PAGE_BYTES):
            try:
                self._begin(PAGE_ERASE_NS)
            except BaseException:
                self._erase_torn(page)
                raise
            self._blank(page)

    def program(self, address: int, data: bytes) -> None:
        """Put bytes in from outside, as a debug probe or a factory does: no time, no operation, any alignment."""
        self._check(address, len(data), 1)
        self._bytes[address : address + len(data)] = data

    def is_erased(self, address: int, size_bytes: int) -> bool:
        """Whether all bytes are erased."""
        return self.read(address, size_bytes) == bytes([ERASED]) * size_bytes

    def dump(self) -> bytes:
        """The whole content."""
        return bytes(self._bytes)

    def _check(self, address: int, size_bytes: int, alignment: int) -> None:
        outside = address < 0 or size_bytes < 0 or address + size_bytes > self.size_bytes
        if outside or address % alignment or size_bytes % alignment:
            raise FlashError(f"{size_bytes} bytes at {address:#x} are no whole flash units", offset=address)

    def _begin(self, duration_ns: int) -> None:
        self.operations += 1
        self.on_operation(duration_ns)

    def _clear_bits(self, address: int, data: bytes) -> None:
        end = address + len(data)
        old = int.from_bytes(self._bytes[address:end], "little")
        self._bytes[address:end] = (old & int.from_bytes(data, "little")).to_bytes(len(data), "little")
        words = range(address // WORD_BYTES, end // WORD_BYTES)
        for word in words:
            self._writes[word] = min(self._writes[word] + 1, 255)
            self.overwritten_words += self._writes[word] > WRITES_PER_WORD

    def _blank(self, page: int) -> None:
        self._bytes[page : page + PAGE_BYTES] = bytes([ERASED]) * PAGE_BYTES
        first = page // WORD_BYTES
        self._writes[first : first + PAGE_BYTES // WORD_BYTES] = bytes(PAGE_BYTES // WORD_BYTES)

    def _write_torn(self, address: int, data: bytes) -> None:
        """A write that loses its power: some words are in, one may be in between, the rest is as it was."""
        if self.tear == "before":
            return
        whole = len(data)
        if self.tear == "half":
            whole = self._random.randrange(0, len(data) + 1, WORD_BYTES)
            torn = data[whole : whole + WORD_BYTES]
            weak = bytes(byte | self._random.getrandbits(8) for byte in torn)
            self._clear_bits(address + whole, weak)
        self._clear_bits(address, data[:whole])

    def _erase_torn(self, page: int) -> None:
        """An erase that loses its power leaves bits that nobody can foretell, as MCUboot's simulator assumes too."""
        if self.tear == "after":
            self._blank(page)
        elif self.tear == "half":
            self._bytes[page : page + PAGE_BYTES] = self._random.randbytes(PAGE_BYTES)
