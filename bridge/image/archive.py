"""Zip archives, read with bounds: nothing goes to disk, and nothing is trusted that they say of themselves.

Refused are names that lead out of a folder, links, encrypted and duplicate members, more members or bytes
than any package has, ratios of zip bombs, damaged members, and bytes after the archive's end.
"""

import io
import stat
import zipfile
import zlib
from pathlib import PurePosixPath, PureWindowsPath
from typing import Final

from bridge.errors import ImageRefusedError

MAX_ARCHIVE_BYTES: Final = 64 * 1024 * 1024
MAX_MEMBERS: Final = 256
MAX_TOTAL_BYTES: Final = 64 * 1024 * 1024
"""Bytes of all members together after decompression; a modem release has about 10 MB."""

MAX_RATIO: Final = 200
_RATIO_FREE_BYTES: Final = 64 * 1024
_END_RECORD: Final = b"PK\x05\x06"
_END_RECORD_BYTES: Final = 22
_DIRECTORY_RECORD: Final = b"PK\x01\x02"
_ZIP64_LOCATOR: Final = b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES: Final = 20
_ENCRYPTED: Final = 0x1
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_archive(data: bytes) -> dict[str, bytes]:
    """Read every member of a zip archive.

    Returns:
        Content by name, in the archive's order; folders are left out.

    Raises:
        ImageRefusedError: See above.
    """
    _check_directory(data, _check_end(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [info for info in archive.infolist() if not info.filename.endswith("/")]
            _check_members(members)
            return {info.filename: _read_member(archive, info) for info in members}
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        # All of these are what zipfile raises for damaged archives.
        raise ImageRefusedError(f"zip archive is damaged: {error}", reason="bad-archive") from error


def _check_end(data: bytes) -> int:
    """Where the end record is."""
    end = data.rfind(_END_RECORD, max(0, len(data) - _END_RECORD_BYTES - 0xFFFF))
    if end < 0 or end + _END_RECORD_BYTES > len(data):
        raise ImageRefusedError(
            "zip archive is truncated: its end record is missing", reason="truncated", offset=len(data)
        )
    stop = end + _END_RECORD_BYTES + int.from_bytes(data[end + 20 : end + 22], "little")
    if stop != len(data):
        short = stop > len(data)
        raise ImageRefusedError(
            f"zip archive is {'truncated' if short else 'too long'}: it has {len(data)} bytes of {stop}",
            reason="truncated" if short else "trailing-bytes",
            offset=min(stop, len(data)),
        )
    return end


def _check_directory(data: bytes, end: int) -> None:
    """Count members before zipfile makes an object of each, which takes seconds and memory if there are a million."""
    locator = max(0, end - _ZIP64_LOCATOR_BYTES)
    if data.startswith(_ZIP64_LOCATOR, locator):
        raise _unsafe("it is made for more than 4 GB (ZIP64)")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    members = data.count(_DIRECTORY_RECORD, max(0, end - size), end)
    if members > MAX_MEMBERS:
        raise _unsafe(f"it has {members} members, more than {MAX_MEMBERS}")


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    for info in members:
        _check_member(info)
        if info.filename.casefold() in seen:
            raise _unsafe(f"it holds {info.filename!r} twice")
        seen.add(info.filename.casefold())
    total = sum(info.file_size for info in members)
    if total > MAX_TOTAL_BYTES:
        raise _unsafe(f"its members unpack to {total} bytes, more than {MAX_TOTAL_BYTES}")


def _check_member(info: zipfile.ZipInfo) -> None:
    name = info.filename
    if not _is_plain_name(name) or name != info.orig_filename:
        raise _unsafe(f"the name {info.orig_filename!r} leads out of it")
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise _unsafe(f"{name!r} is a link or a device")
    if info.flag_bits & _ENCRYPTED:
        raise _unsafe(f"{name!r} is encrypted")
    if info.compress_type not in _METHODS:
        raise _unsafe(f"{name!r} is packed with an unknown method")
    if info.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * info.compress_size):
        raise _unsafe(f"{name!r} unpacks to {info.file_size} bytes from {info.compress_size}")


def _is_plain_name(name: str) -> bool:
    if not name or "\\" in name or any(ord(char) < 32 for char in name):
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and not PureWindowsPath(name).drive and ".." not in path.parts


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as member:
        content = member.read(
            info.file_size + 1
        )  # never more than it declared; zipfile checks the CRC at the end
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{info.filename!r} has another size than declared")
    return content


def _unsafe(why: str) -> ImageRefusedError:
    return ImageRefusedError(f"zip archive is not safe to use: {why}", reason="unsafe-archive")
