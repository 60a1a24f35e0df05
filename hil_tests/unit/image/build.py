"""Firmware files made by hand, from the format descriptions alone and without the code under test."""

import hashlib
import io
import json
import struct
import zipfile
from typing import Any

import cbor2

DELTA = b"\0\0\0\0meDu" + bytes(range(256)) * 4


def tlv(kind: int, data: bytes) -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def area(magic: int, *entries: bytes) -> bytes:
    body = b"".join(entries)
    return struct.pack("<HH", magic, 4 + len(body)) + body


def mcuboot(
    payload: bytes = b"firmware" * 40,
    *,
    version: tuple[int, int, int, int] = (1, 2, 3, 0),
    protected: tuple[bytes, ...] = (),
    extra: tuple[bytes, ...] = (),
    digest: str = "sha256",
    flags: int = 0,
    header_size: int = 0x200,
) -> bytes:
    """An MCUboot image; unsigned unless ``extra`` TLVs say otherwise."""
    protected_area = area(0x6908, *protected) if protected else b""
    header = struct.pack(
        "<IIHHIIBBHII",
        0x96F3B83D,
        0,
        header_size,
        len(protected_area),
        len(payload),
        flags,
        *version,
        0,
    )
    hashed = header.ljust(header_size, b"\0") + payload + protected_area
    kind = {"sha256": 0x10, "sha384": 0x11, "sha512": 0x12}[digest]
    return hashed + area(0x6907, tlv(kind, hashlib.new(digest, hashed).digest()), *extra)


def hashed_size(image: bytes) -> int:
    """How many bytes of an image its digest covers."""
    header_size, protected_size, payload_size = struct.unpack_from("<HHI", image, 8)
    return int(header_size + protected_size + payload_size)


def modem_full(*sizes: int, algorithm: int = -37, **wrong: Any) -> bytes:
    """A full modem image with segments of these sizes; ``wrong`` replaces parts of manifest or wrapper."""
    blob = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    numbers = [value for number, size in enumerate(sizes) for value in (0x50000 + number * 0x10000, size)]
    manifest = wrong.get("manifest") or [
        1,
        0,
        wrong.get("blob_hash", hashlib.sha256(blob).digest()),
        cbor2.dumps(wrong.get("segments", numbers)),
    ]
    protected = cbor2.dumps({1: algorithm})
    parts = wrong.get("parts") or [protected, {}, cbor2.dumps(manifest), bytes(256)]
    return cbor2.dumps(cbor2.CBORTag(wrong.get("tag", 18), parts)) + blob


def hex_record(address: int, kind: int, data: bytes) -> str:
    body = struct.pack(">BHB", len(data), address, kind) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}\n"


def intel_hex(*segments: tuple[int, bytes], end: bool = True) -> bytes:
    """An Intel HEX file with these segments."""
    lines = []
    for address, data in segments:
        for offset in range(0, len(data), 16):
            at = address + offset
            lines.append(hex_record(0, 4, struct.pack(">H", at >> 16)))
            lines.append(hex_record(at & 0xFFFF, 0, data[offset : offset + 16]))
    return ("".join(lines) + (":00000001FF\n" if end else "")).encode()


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip archive."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def manifest(*entries: dict[str, Any], **top: Any) -> bytes:
    """Text of a ``manifest.json``."""
    return json.dumps({"format-version": 1, "time": 1_700_000_000, "files": list(entries), **top}).encode()


def dfu_package(image: bytes | None = None, **entry: Any) -> bytes:
    """A package with one application, as a sysbuild build writes it."""
    content = mcuboot() if image is None else image
    listed = {
        "type": "application",
        "board": "nrf9151dk/nrf9151/ns",
        "soc": "nrf9151",
        "load_address": 0x20200,
        "image_index": "0",
        "slot_index_primary": "1",
        "slot_index_secondary": "2",
        "version_MCUBOOT": "1.2.3",
        "size": len(content),
        "file": "app.signed.bin",
        "modtime": 1_700_000_000,
        **entry,
    }
    return zipped({"app.signed.bin": content, "manifest.json": manifest(listed)})
