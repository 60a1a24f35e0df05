"""Zephyr's settings in the storage partition: what an application remembers over resets, by name.

A log of records in flash, the last one of a name counts; when a page is full, what counts moves to the next one.
The records are this project's own, simpler than Zephyr's NVS, but they cost page erases and word writes like
those, and a record that the power cut is ignored.

Record: length of the name, length of the value, CRC-16 of both (two bytes), name, value, padded to a word.
"""

import binascii
from typing import Final

from bridge.virtual.flash import PAGE_BYTES, WORD_BYTES, Flash
from bridge.virtual.layout import Slot

_HEAD_BYTES: Final = 4
_ERASED: Final = 0xFF
_GENERATION_BYTES: Final = 4


class Settings:
    """The settings as they are in flash.

    Args:
        flash: The flash.
        partition: Where they are; at least two pages.
    """

    def __init__(self, flash: Flash, partition: Slot) -> None:
        self._flash = flash
        self._pages = range(partition.address, partition.end, PAGE_BYTES)

    def load(self) -> dict[str, bytes]:
        """Everything that is set."""
        page = self._newest()
        return {} if page is None else self._read(page)[0]

    def save(self, name: str, value: bytes) -> None:
        """Set one; a value that is already there costs nothing."""
        page = self._newest()
        if page is None:
            self._begin_page(self._pages[0], 1)
            page = self._pages[0]
        values, end = self._read(page)
        if values.get(name) == value:
            return
        record = _encode(name, value)
        if end + len(record) <= page + PAGE_BYTES and self._flash.is_erased(end, len(record)):
            self._flash.write(end, record)
        else:
            self._move(page, {**values, name: value})

    def _move(self, old: int, values: dict[str, bytes]) -> None:
        new = self._pages[(self._pages.index(old) + 1) % len(self._pages)]
        generation = self._generation(old)
        assert generation is not None
        self._flash.erase(new)
        place = new + _GENERATION_BYTES
        for name, value in values.items():
            record = _encode(name, value)
            self._flash.write(place, record)
            place += len(record)
        # Last, so that a page whose records are not complete never counts.
        self._write_generation(new, generation + 1)

    def _begin_page(self, page: int, generation: int) -> None:
        if not self._flash.is_erased(page, PAGE_BYTES):
            self._flash.erase(page)
        self._write_generation(page, generation)

    def _write_generation(self, page: int, generation: int) -> None:
        number = generation & 0x7FFF
        word = number | (number ^ 0xFFFF) << 16
        self._flash.write(page, word.to_bytes(_GENERATION_BYTES, "little"))

    def _generation(self, page: int) -> int | None:
        word = int.from_bytes(self._flash.read(page, _GENERATION_BYTES), "little")
        number = word & 0xFFFF
        return number if number ^ 0xFFFF == word >> 16 and number <= 0x7FFF else None

    def _newest(self) -> int | None:
        found = [(generation, page) for page in self._pages if (generation := self._generation(page))]
        return max(found)[1] if found else None

    def _read(self, page: int) -> tuple[dict[str, bytes], int]:
        values: dict[str, bytes] = {}
        place = page + _GENERATION_BYTES
        while place + _HEAD_BYTES <= page + PAGE_BYTES:
            name_bytes, value_bytes, *crc = self._flash.read(place, _HEAD_BYTES)
            if name_bytes == value_bytes == _ERASED:
                break
            size = _HEAD_BYTES + name_bytes + value_bytes
            if place + size > page + PAGE_BYTES:
                break
            body = self._flash.read(place + _HEAD_BYTES, name_bytes + value_bytes)
            if binascii.crc_hqx(body, 0) == int.from_bytes(bytes(crc), "big"):
                values[body[:name_bytes].decode("ascii", "replace")] = body[name_bytes:]
            place += size + -size % WORD_BYTES
        return values, place


def _encode(name: str, value: bytes) -> bytes:
    body = name.encode("ascii") + value
    record = bytes([len(name), len(value)]) + binascii.crc_hqx(body, 0).to_bytes(2, "big") + body
    return record + bytes([_ERASED]) * (-len(record) % WORD_BYTES)
