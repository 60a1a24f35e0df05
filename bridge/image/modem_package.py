"""Modem release zips: the loader, firmware segments, their digests, the one-file CBOR form and deltas.

Sources: contents of released ``mfw_nrf9160`` and ``mfw_nrf91x1`` packages, as pynrfjprog and probe-based
programmers read them: the loader is named ``<key digest>.ipc_dfu.signed_<version>.ihex`` or
``ipc-dfu_<family>_<version>.ihex``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.modem_delta import is_modem_delta
from bridge.image.modem_full import MAGIC, ModemFullReader
from bridge.image.names import file_name, parse_delta_name, parse_modem_release
from bridge.image.package_info import DigestRange, ModemMember, ModemPackageInfo, ModemRole

_MAX_DIGEST_BYTES: Final = 64 * 1024
_RANGE: Final = re.compile(
    rb"Range:\s*0x([0-9A-Fa-f]{1,8})--0x([0-9A-Fa-f]{1,8})\s+SHA256:\s*([0-9A-Fa-f]{64})\b"
)
_ROLES: Final = (
    (re.compile(r"([0-9A-Fa-f]{7}\.ipc_dfu\.signed_|ipc-dfu_)[\w.]+\.ihex"), ModemRole.LOADER),
    (re.compile(r".*\.segments\.\d+\.hex"), ModemRole.SEGMENTS),
    (re.compile(r".*\.digest\.txt"), ModemRole.DIGESTS),
)


def parse_modem_package(name: str, files: Mapping[str, bytes]) -> ModemPackageInfo | None:
    """Read a modem release.

    Args:
        name: Name of the archive; it usually gives the version.
        files: Its members.

    Returns:
        What is in it, or None when none of its members belongs to modem firmware.

    Raises:
        ImageRefusedError: Its CBOR image is broken.
    """
    members = tuple(_describe(file, content) for file, content in files.items())
    if all(member.role is ModemRole.OTHER for member in members):
        return None
    ranges = [
        found
        for member in members
        if member.role is ModemRole.DIGESTS
        for found in _parse_ranges(files[member.file])
    ]
    family, version = _release(name, members)
    return ModemPackageInfo(family, version, members, tuple(ranges))


def _describe(file: str, content: bytes) -> ModemMember:
    own_name = file_name(file)
    for pattern, role in _ROLES:
        if pattern.fullmatch(own_name):
            return ModemMember(file, role, len(content))
    if content.startswith(MAGIC):
        _check_full(file, content)
        return ModemMember(file, ModemRole.FULL, len(content))
    if is_modem_delta(content):
        delta = parse_delta_name(own_name)
        versions = (delta.base_version, delta.target_version) if delta else (None, None)
        return ModemMember(file, ModemRole.DELTA, len(content), *versions)
    return ModemMember(file, ModemRole.OTHER, len(content))


def _check_full(file: str, content: bytes) -> None:
    reader = ModemFullReader()
    try:
        reader.feed(content)
        reader.finish()
    except ImageRefusedError as error:
        raise ImageRefusedError(
            f"{file!r} in the modem package: {error.message}",
            reason=error.reason,
            offset=error.offset,
            hint=error.hint,
        ) from error


def _parse_ranges(text: bytes) -> list[DigestRange]:
    return [
        DigestRange(int(first, 16), int(last, 16), digest.decode().lower())
        for first, last, digest in _RANGE.findall(text[:_MAX_DIGEST_BYTES])
    ]


def _release(name: str, members: Iterable[ModemMember]) -> tuple[str | None, str | None]:
    for candidate in (name, *(member.file for member in members if member.role is not ModemRole.DELTA)):
        release = parse_modem_release(candidate)
        if release is not None:
            return release
    return None, None
