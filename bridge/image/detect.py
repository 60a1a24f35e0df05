"""What a file is, from its first bytes: one of our kinds, or a name for the thing that it is instead.

Sources: NCS ``dfu_target.c`` for the order and offsets of the first three; published magic numbers for the
rest.
"""

import string
from enum import StrEnum
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.app_delta import MAGIC as APP_DELTA_MAGIC
from bridge.image.mcuboot import IMAGE_MAGIC_BYTES
from bridge.image.modem_delta import is_modem_delta
from bridge.image.modem_full import MAGIC as MODEM_FULL_MAGIC

HEAD_BYTES: Final = 64
"""Enough to decide; shorter files are decided at their end."""


class Container(StrEnum):
    """How a file must be read."""

    MCUBOOT = "MCUboot image"
    MODEM_DELTA = "modem delta"
    MODEM_FULL = "full modem image"
    APP_DELTA = "application delta"
    INTEL_HEX = "Intel HEX file"
    ZIP = "zip archive"


_FOREIGN_MAGIC: Final = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "an ELF program (the linker's output; take the signed .bin)"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"UF2\n", "a UF2 image"),
    (b"\x96\xf3\xb8\x3d", "a big-endian MCUboot image"),
    (b"\xd8\x6b", "a SUIT envelope"),
)
_FOREIGN_TEXT: Final = (
    ("<!doctype html", "an HTML page (an error page of a web server?)"),
    ("<html", "an HTML page (an error page of a web server?)"),
    ("<head", "an HTML page (an error page of a web server?)"),
    ("<?xml", "an XML document (an error answer of a storage service?)"),
    ("<error", "an XML document (an error answer of a storage service?)"),
    ("-----begin", "a PEM file (a key or certificate)"),
    ("{", "a JSON document"),
    ("[", "a JSON document"),
    ("s0", "a Motorola S-record file"),
    ("<", "an XML or HTML document"),
)
_TEXT_BYTES: Final = frozenset(string.printable.encode())
_RAM_START, _RAM_END = 0x2000_0000, 0x2004_0000
_FLASH_END: Final = 0x10_0000


def detect(head: bytes) -> Container:
    """Decide how to read a file.

    Args:
        head: Its first ``HEAD_BYTES`` bytes, or all of it if it is shorter.

    Raises:
        ImageRefusedError: It is none of our kinds; the message says what it is.
    """
    if not head:
        raise ImageRefusedError("the file is empty", reason="empty", offset=0)
    if head.startswith(IMAGE_MAGIC_BYTES):
        return Container.MCUBOOT
    if is_modem_delta(head):
        return Container.MODEM_DELTA
    if head.startswith(MODEM_FULL_MAGIC):
        return Container.MODEM_FULL
    if head.startswith(APP_DELTA_MAGIC):
        return Container.APP_DELTA
    if head.startswith(b"PK\x03\x04"):
        return Container.ZIP
    if head.startswith(b":") and _is_text(head):
        return Container.INTEL_HEX
    raise ImageRefusedError(
        f"no firmware image: this is {_name_foreign(head)}",
        reason="not-an-image",
        offset=0,
        hint="Take a signed application (.bin), a dfu_application.zip, a delta, or Intel HEX.",
    )


def _name_foreign(head: bytes) -> str:
    for magic, name in _FOREIGN_MAGIC:
        if head.startswith(magic):
            return name
    if _is_text(head.removeprefix(b"\xef\xbb\xbf")):
        text = head.removeprefix(b"\xef\xbb\xbf").decode("ascii").lstrip().lower()
        return next((name for start, name in _FOREIGN_TEXT if text.startswith(start)), "a text file")
    if len(set(head)) == 1:
        return f"a file that starts with {head[0]:#04x} only" + (
            " (erased flash?)" if head[0] == 0xFF else ""
        )
    if _is_vector_table(head):
        return "an unsigned program for an Arm core (sign it with imgtool)"
    return f"an unknown file that starts with {head[:8].hex(' ')}"


def _is_text(data: bytes) -> bool:
    return _TEXT_BYTES.issuperset(data)


def _is_vector_table(head: bytes) -> bool:
    stack, entry = int.from_bytes(head[0:4], "little"), int.from_bytes(head[4:8], "little")
    return len(head) >= 8 and _RAM_START < stack <= _RAM_END and 0 < entry < _FLASH_END and bool(entry & 1)
