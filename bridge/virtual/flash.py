"""NOR flash of an nRF91: pages, words, bits that only go from 1 to 0, time that it takes, power that fails.

Sources: nrfx ``nrfx_nvmc.c`` (87 ms a page erase on nRF9160), nRF5340 product specification (43 µs a word write;
the nRF91 figure is not published), DevZone 104913 (a word may be written twice between erases).
"""

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from bridge.errors import BridgeError
from bridge.virtual.faults import PowerCutError

PAGE_BYTES: Final = 4096
WORD_BYTES: Final = 4
ERASED: Final = 0xFF
PAGE_ERASE_NS: Final = 87_000_000
WORD_WRITE_NS: Final = 43_000
WRITES_PER_WORD: Final = 2

_ERASED_BYTE: Final = bytes([ERASED])
_ONE_MORE: Final = bytes([*range(1, 256), 255])


class FlashError(BridgeError):
    """The driver refuses an operation: unaligned, or outside the flash (Zephyr answers -EINVAL)."""

    default_reason = "flash-misuse"


class Tear(StrEnum):
    """What an operation has done by the time that the power fails in it."""

    BEFORE = "before"
    HALF = "half"
    AFTER = "after"


class Flash:
    """The internal flash.

    Every page erase and every run of words written at once is one *operation*: it is counted and reported to
    ``on_operation`` with its duration before it takes effect. If the observer raises, the power fails at that
    moment and ``tear`` says how much of the operation still happens: nothing, all of it, or part of it. A torn
    write leaves its first words in, one word with some of its bits cleared and the rest as it was. A torn erase
    leaves a page of bits that nobody can foretell, the worst case.

    Args:
        size_bytes: Size; a whole number of pages.
        content: What it holds; blank if not given.
        tear_seed: Seed of what a torn operation leaves behind.

    Attributes:
        on_operation: Called with the duration of each operation in ns; may raise to cut the power.
        tear: How much of an operation happens that a power cut interrupts.
        operations: How many operations there have been.
        erased_pages: How many pages have been erased.
        written_words: How many words have been written.
        busy_ns: How long all operations took.
        overwritten_words: How often a word was written more often than the data sheet allows.
    """

    page_size: Final = PAGE_BYTES
    write_size: Final = WORD_BYTES

    def __init__(self, size_bytes: int, content: bytes | None = None, *, tear_seed: int = 0) -> None:
        if size_bytes % PAGE_BYTES or (content is not None and len(content) != size_bytes):
            raise FlashError(f"a flash of {size_bytes} bytes cannot hold that", hint="Give whole pages.")
        self.size_bytes = size_bytes
        self.on_operation: Callable[[int], None] = lambda _duration_ns: None
        self.tear: Tear | str = Tear.HALF
        self.operations = 0
        self.erased_pages = 0
        self.written_words = 0
        self.busy_ns = 0
        self.overwritten_words = 0
        self._cut_at: int | None = None
        self._bytes = bytearray(content if content is not None else _ERASED_BYTE * size_bytes)
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
        words = len(data) // WORD_BYTES
        self.written_words += words
        try:
            self._begin(words * WORD_WRITE_NS)
        except BaseException:
            self._write_torn(address, data)
            raise
        self._clear_bits(address, data)

    def erase(self, address: int, size_bytes: int = PAGE_BYTES) -> None:
        """Erase whole pages, one operation each, upwards.

        Raises:
            FlashError: Not page-aligned, not whole pages, or outside the flash.
        """
        self._check(address, size_bytes, PAGE_BYTES)
        for page in range(address, address + size_bytes, PAGE_BYTES):
            self.erased_pages += 1
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
        return self.read(address, size_bytes) == _ERASED_BYTE * size_bytes

    def dump(self) -> bytes:
        """The whole content."""
        return bytes(self._bytes)

    def cut_power_at(self, operation: int | None, tear: Tear | str = Tear.HALF) -> None:
        """Let the power fail in the operation with that number, as ``operations`` counts from 1; None for never.

        The operation then raises :class:`~bridge.virtual.faults.PowerCutError`.
        """
        self._cut_at = operation
        self.tear = tear

    def _check(self, address: int, size_bytes: int, alignment: int) -> None:
        outside = address < 0 or size_bytes < 0 or address + size_bytes > self.size_bytes
        if outside or address % alignment or size_bytes % alignment:
            raise FlashError(f"{size_bytes} bytes at {address:#x} are no whole flash units", offset=address)

    def _begin(self, duration_ns: int) -> None:
        self.operations += 1
        self.busy_ns += duration_ns
        self.on_operation(duration_ns)
        if self.operations == self._cut_at:
            raise PowerCutError

    def _clear_bits(self, address: int, data: bytes) -> None:
        end = address + len(data)
        old = int.from_bytes(self._bytes[address:end], "little")
        self._bytes[address:end] = (old & int.from_bytes(data, "little")).to_bytes(len(data), "little")
        words = slice(address // WORD_BYTES, end // WORD_BYTES)
        counts = self._writes[words].translate(_ONE_MORE)
        self._writes[words] = counts
        allowed = sum(counts.count(number) for number in range(1, WRITES_PER_WORD + 1))
        self.overwritten_words += len(counts) - allowed

    def _blank(self, page: int) -> None:
        self._bytes[page : page + PAGE_BYTES] = _ERASED_BYTE * PAGE_BYTES
        self._forget_writes(page)

    def _forget_writes(self, page: int) -> None:
        first = page // WORD_BYTES
        self._writes[first : first + PAGE_BYTES // WORD_BYTES] = bytes(PAGE_BYTES // WORD_BYTES)

    def _write_torn(self, address: int, data: bytes) -> None:
        if self.tear == Tear.BEFORE:
            return
        whole = len(data)
        if self.tear == Tear.HALF:
            whole = self._random.randrange(0, len(data) + 1, WORD_BYTES)
            torn = data[whole : whole + WORD_BYTES]
            self._clear_bits(address + whole, bytes(byte | self._random.getrandbits(8) for byte in torn))
        self._clear_bits(address, data[:whole])

    def _erase_torn(self, page: int) -> None:
        if self.tear == Tear.AFTER:
            self._blank(page)
        elif self.tear == Tear.HALF:
            self._bytes[page : page + PAGE_BYTES] = self._random.randbytes(PAGE_BYTES)
            self._forget_writes(page)
