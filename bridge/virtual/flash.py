"""NOR flash of an nRF91 board: pages, words, bits that only go from 1 to 0, time that it takes, power that fails.

Sources: nrfx ``nrfx_nvmc.c`` (87 ms a page erase on nRF9160), nRF5340 product specification (43 µs a word write;
the nRF91 figure is not published), DevZone 104913 (a word may be written twice between erases); for the SPI NOR flash
of Thingy:91 X typical values of its kind: 45 ms a sector erase, 0.5 ms a page of 256 bytes with its transfer at 8 MHz.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
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
SECTOR_ERASE_NS: Final = 45_000_000
SPI_WORD_WRITE_NS: Final = 8_000

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


@dataclass(frozen=True)
class FlashDevice:
    """One flash chip, at its place in the board's address map.

    Attributes:
        name: ``internal`` or ``external``.
        address: Where it begins.
        size_bytes: How much of it is modelled.
        page_erase_ns: Time of a page (or sector) erase.
        word_write_ns: Time that four bytes take.
        write_bytes: Smallest piece that can be written.
        stalls_cpu: The CPU, which executes from it, stands still while it works.
        writes_per_word: How often a word may be written between erases; None for as often as one likes.
    """

    name: str
    address: int
    size_bytes: int
    page_erase_ns: int = PAGE_ERASE_NS
    word_write_ns: int = WORD_WRITE_NS
    write_bytes: int = WORD_BYTES
    stalls_cpu: bool = True
    writes_per_word: int | None = WRITES_PER_WORD

    @property
    def end(self) -> int:
        """First address after it."""
        return self.address + self.size_bytes


def external_flash(address: int, size_bytes: int) -> FlashDevice:
    """A SPI NOR flash; the driver waits for it, interrupts are served meanwhile."""
    return FlashDevice(
        "external",
        address,
        size_bytes,
        page_erase_ns=SECTOR_ERASE_NS,
        word_write_ns=SPI_WORD_WRITE_NS,
        write_bytes=1,
        stalls_cpu=False,
        writes_per_word=None,
    )


class Flash:
    """All flash of a board in one address map.

    Every page erase and every run of words written at once is one *operation*: it is counted and reported to
    ``on_operation`` with its duration before it takes effect. If the observer raises, the power fails at that
    moment and ``tear`` says how much of the operation still happens: nothing, all of it, or part of it. A torn
    write leaves its first words in, one word with some of its bits cleared and the rest as it was. A torn erase
    leaves a page of bits that nobody can foretell, the worst case.

    Args:
        size_bytes: Size of the internal flash; a whole number of pages.
        content: What all flash holds; blank if not given.
        tear_seed: Seed of what a torn operation leaves behind.
        external: A second chip; it begins where the internal flash ends.

    Attributes:
        on_operation: Called with the duration of each operation in ns; may raise to cut the power.
        tear: How much of an operation happens that a power cut interrupts.
        operations: How many operations there have been.
        erased_pages: How many pages have been erased.
        written_words: How many words have been written.
        busy_ns: How long all operations took.
        overwritten_words: How often a word was written more often than the data sheet allows.
        stalls_cpu: Whether the operation that is being reported stops the CPU.
    """

    page_size: Final = PAGE_BYTES
    write_size: Final = WORD_BYTES

    def __init__(
        self,
        size_bytes: int,
        content: bytes | None = None,
        *,
        tear_seed: int = 0,
        external: FlashDevice | None = None,
    ) -> None:
        self._internal = FlashDevice("internal", 0, size_bytes)
        self._external = external
        if external is not None:
            size_bytes = external.end
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
        self.stalls_cpu = True
        self._cut_at: int | None = None
        self._bytes = bytearray(content if content is not None else _ERASED_BYTE * size_bytes)
        self._writes = bytearray(size_bytes // WORD_BYTES)
        self._random = random.Random(tear_seed)  # noqa: S311 - reproducible, not secret

    def device(self, address: int) -> FlashDevice:
        """The chip at an address."""
        if self._external is not None and address >= self._external.address:
            return self._external
        return self._internal

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
            FlashError: Not aligned to what the chip can write, not whole pieces of it, or outside the flash.
        """
        device = self.device(address)
        self._check(address, len(data), device.write_bytes)
        words = -(-len(data) // WORD_BYTES)
        self.written_words += words
        try:
            self._begin(device, words * device.word_write_ns)
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
                self._begin(self.device(page), self.device(page).page_erase_ns)
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

    def seed_tears(self, seed: int) -> None:
        """Choose anew what torn operations leave behind."""
        self._random = random.Random(seed)  # noqa: S311 - reproducible, not secret

    def _check(self, address: int, size_bytes: int, alignment: int) -> None:
        outside = address < 0 or size_bytes < 0 or address + size_bytes > self.size_bytes
        if outside or address % alignment or size_bytes % alignment:
            raise FlashError(f"{size_bytes} bytes at {address:#x} are no whole flash units", offset=address)

    def _begin(self, device: FlashDevice, duration_ns: int) -> None:
        self.operations += 1
        self.busy_ns += duration_ns
        self.stalls_cpu = device.stalls_cpu
        self.on_operation(duration_ns)
        if self.operations == self._cut_at:
            raise PowerCutError

    def _clear_bits(self, address: int, data: bytes) -> None:
        end = address + len(data)
        old = int.from_bytes(self._bytes[address:end], "little")
        self._bytes[address:end] = (old & int.from_bytes(data, "little")).to_bytes(len(data), "little")
        limit = self.device(address).writes_per_word
        if limit is not None:
            words = slice(address // WORD_BYTES, end // WORD_BYTES)
            counts = self._writes[words].translate(_ONE_MORE)
            self._writes[words] = counts
            self.overwritten_words += len(counts) - sum(map(counts.count, range(1, limit + 1)))

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
