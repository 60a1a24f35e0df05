"""``dfu_application.zip``: a manifest and the images that it lists.

Source: NCS ``scripts/bootloader/generate_zip.py`` and ``cmake/sysbuild/zip.cmake``. Values of the manifest
are strings or numbers as the build passed them (``image_index`` is a string in practice), so both are read.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from bridge.errors import ImageRefusedError
from bridge.image.mcuboot import IMAGE_MAGIC_BYTES, McubootInfo, parse_image
from bridge.image.model import BootloaderImage, FirmwareImage, ImageKind
from bridge.image.nsib import find_fw_info
from bridge.image.package_info import DfuMember, DfuPackageInfo

MANIFEST: Final = "manifest.json"
_MAX_MANIFEST_BYTES: Final = 256 * 1024
_FORMATS: Final = (0, 1)
_BOOTLOADER_FILES: Final = re.compile(
    r"^(signed_by_mcuboot_and_b0_(mcuboot(_s1_variant)?|s[01]_image(_update)?)|.*_?mcuboot_s[01])\b"
)
"""MCUboot's own slots in the names of NCS builds, for manifests that call everything an application."""
_SLOT_1_FILES: Final = re.compile(r"_s1(?![0-9a-z])")


def parse_dfu_package(files: Mapping[str, bytes]) -> DfuPackageInfo:
    """Read a DFU package.

    Args:
        files: Members of the archive, with ``manifest.json`` among them.

    Raises:
        ImageRefusedError: The manifest cannot be read, or lists a file that is missing, broken or of
            another size.
    """
    manifest = _load_manifest(files[MANIFEST])
    members = tuple(_parse_member(entry, files) for entry in manifest["files"])
    names = [member.file for member in members]
    if len(set(names)) < len(names):
        raise _bad_manifest("it lists a file twice")
    return DfuPackageInfo(
        format_version=manifest["format-version"],
        name=_text(manifest, "name"),
        time_s=_number(manifest, "time"),
        members=members,
        unlisted=tuple(name for name in files if name != MANIFEST and name not in names),
    )


def is_application(member: DfuMember) -> bool:
    """Whether a member is an application for MCUboot image 0."""
    is_typed = member.type in (None, "application")
    return member.mcuboot is not None and is_typed and not member.bootloader and member.image_index == 0


def member_image(member: DfuMember) -> FirmwareImage:
    """A package's member as an image of its own; the manifest decides whether it is MCUboot itself.

    Raises:
        ImageRefusedError: It is no MCUboot image.
    """
    if member.mcuboot is None:
        raise ImageRefusedError(
            f"{member.file!r} in the DFU package is no MCUboot image", reason="wrong-kind"
        )
    image = FirmwareImage(
        kind=ImageKind.APPLICATION,
        name=member.file,
        size_bytes=member.size_bytes,
        sha256=member.sha256,
        version=member.mcuboot.version,
        mcuboot=member.mcuboot,
    )
    if not member.bootloader:
        return image
    counter = member.fw_info.version if member.fw_info else None
    return replace(
        image,
        kind=ImageKind.MCUBOOT_BOOTLOADER,
        version=None if counter is None else str(counter),
        bootloader=BootloaderImage(member.bootloader_slot, counter),
    )


def _load_manifest(text: bytes) -> dict[str, Any]:
    if len(text) > _MAX_MANIFEST_BYTES:
        raise _bad_manifest(f"it has {len(text)} bytes")
    try:
        manifest = json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise _bad_manifest("it is no JSON") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise _bad_manifest("it has no list of files")
    if manifest.get("format-version") not in _FORMATS or isinstance(manifest["format-version"], bool):
        raise _bad_manifest(f"its format-version {manifest.get('format-version')!r} is unknown")
    return manifest


def _parse_member(entry: object, files: Mapping[str, bytes]) -> DfuMember:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
        raise _bad_manifest("an entry has no file name")
    name = entry["file"]
    if name not in files or name == MANIFEST:
        raise ImageRefusedError(
            f"DFU package lacks {name!r}, which its manifest lists", reason="missing-member"
        )
    content = files[name]
    size = _number(entry, "size")
    if size is not None and size != len(content):
        raise ImageRefusedError(
            f"{name!r} in the DFU package has {len(content)} bytes, its manifest says {size}",
            reason="wrong-size",
        )
    kind = _text(entry, "type")
    mcuboot = _parse_image(name, content)
    is_bootloader = kind == "mcuboot" or _BOOTLOADER_FILES.match(name) is not None
    return DfuMember(
        file=name,
        type=kind,
        board=_text(entry, "board"),
        soc=_text(entry, "soc"),
        image_index=_number(entry, "image_index") or 0,
        slot_index_primary=_number(entry, "slot_index_primary"),
        slot_index_secondary=_number(entry, "slot_index_secondary"),
        load_address=_number(entry, "load_address"),
        version=_text(entry, "version_MCUBOOT", "version_MCUBOOT+XIP", "version"),
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        bootloader=is_bootloader,
        mcuboot=mcuboot,
        bootloader_slot=_bootloader_slot(entry, name) if is_bootloader else None,
        fw_info=find_fw_info(content[mcuboot.header.header_size_bytes :])
        if mcuboot and is_bootloader
        else None,
    )


def _bootloader_slot(entry: Mapping[str, Any], name: str) -> int | None:
    """The manifest tells since NCS 3.1, before only the name did."""
    listed = _number(entry, "slot")
    if listed is not None:
        return listed
    if _BOOTLOADER_FILES.match(name) is None:
        return None
    return 1 if _SLOT_1_FILES.search(name) else 0


def _parse_image(name: str, content: bytes) -> McubootInfo | None:
    if not content.startswith(IMAGE_MAGIC_BYTES):
        return None
    try:
        return parse_image(content)
    except ImageRefusedError as error:
        raise ImageRefusedError(
            f"{name!r} in the DFU package: {error.message}",
            reason=error.reason,
            offset=error.offset,
            hint=error.hint,
        ) from error


def _text(entry: Mapping[str, Any], *keys: str) -> str | None:
    return next((str(entry[key]) for key in keys if isinstance(entry.get(key), str | int)), None)


def _number(entry: Mapping[str, Any], key: str) -> int | None:
    value: object = entry.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError:
            raise _bad_manifest(f"its {key} is no number") from None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64:
        return value
    raise _bad_manifest(f"its {key} is no number")


def _bad_manifest(why: str) -> ImageRefusedError:
    return ImageRefusedError(f"DFU package's manifest cannot be used: {why}", reason="bad-manifest")
