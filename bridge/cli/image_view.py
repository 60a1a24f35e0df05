"""How a firmware image reads for a person: a few labelled lines, and a table when it has parts."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.table import Table

from bridge.image import AppDeltaInfo, FirmwareImage, McubootInfo
from bridge.image.mcuboot import TlvType
from bridge.image.modem_delta import ModemDeltaInfo
from bridge.image.package_info import DfuPackageInfo, ModemPackageInfo

_KINDS = {
    "application": "signed application (MCUboot image)",
    "app-delta": "application delta",
    "modem-delta": "modem delta update",
    "modem-full": "full modem firmware (CBOR)",
    "intel-hex": "Intel HEX",
    "dfu-package": "DFU package (dfu_application.zip)",
    "modem-package": "modem release (zip)",
}


def summary_rows(image: FirmwareImage) -> Iterator[tuple[str, str]]:
    """Label and text of each line, in the order in which a person asks."""
    yield "file", image.name
    yield "kind", _KINDS.get(image.kind, image.kind)
    if image.base_version or image.version:
        yield (
            "version",
            f"{image.base_version} -> {image.version}" if image.base_version else f"{image.version}",
        )
    yield "size", f"{image.size_bytes:,} bytes"
    yield "file SHA-256", image.sha256
    if image.mcuboot is not None:
        yield from _mcuboot_rows(image.mcuboot)
    if image.app_delta is not None:
        yield from _app_delta_rows(image.app_delta)
    if image.modem_delta is not None:
        yield from _delta_rows(image.modem_delta)
    if image.modem_full is not None:
        yield "blob SHA-256", f"{image.modem_full.blob_sha256} (agrees)"
        yield "format", f"version {image.modem_full.format_version}, compat {image.modem_full.compat}"
    if image.dfu_package is not None:
        yield from _dfu_package_rows(image.dfu_package)
    if image.modem_package is not None and image.modem_package.family:
        yield "modem", image.modem_package.family


def _mcuboot_rows(info: McubootInfo) -> Iterator[tuple[str, str]]:
    verdict = "agrees" if info.digest_verified else "of the plain image; this one is encrypted"
    yield "image digest", f"{info.digest} ({info.digest_algorithm}, {verdict})"
    header = info.header
    protected = (
        f", protected TLVs {header.protected_tlv_size_bytes:,}" if header.protected_tlv_size_bytes else ""
    )
    yield (
        "layout",
        f"header {header.header_size_bytes:#x}, payload {header.payload_size_bytes:,} bytes{protected}",
    )
    if header.flag_names:
        yield "flags", ", ".join(header.flag_names)
    if header.load_address:
        yield "load address", f"{header.load_address:#010x}"
    yield "signed with", ", ".join(info.signature_names) or "nothing"
    if info.key_hash:
        yield "key hash", info.key_hash
    if info.security_counter is not None:
        yield "security counter", str(info.security_counter)
    others = [tlv.name for tlv in info.protected_tlvs if tlv.type != TlvType.SECURITY_COUNTER]
    if others:
        yield "protected TLVs", ", ".join(others)
    if info.trailer is not None:
        state = "confirmed" if info.trailer.confirmed else "not confirmed"
        yield "trailer", f"padded to a whole slot ({info.trailer.padding_size_bytes:,} bytes), {state}"


def _app_delta_rows(info: AppDeltaInfo) -> Iterator[tuple[str, str]]:
    yield "base digest", f"{info.base.digest} ({info.base.digest_algorithm})"
    yield "target digest", f"{info.target.digest} ({info.target.digest_algorithm})"
    yield "target", f"{info.target.size_bytes:,} bytes, SHA-256 {info.target_sha256}"
    yield (
        "patch",
        f"{info.patch_size_bytes:,} bytes, {info.compression}, SHA-256 {info.patch_sha256} (agrees)",
    )
    yield "note", "rebuilt on the host from the base, which must be in the image store"


def _delta_rows(info: ModemDeltaInfo) -> Iterator[tuple[str, str]]:
    if info.family:
        yield "modem", info.family
    if info.base_version is None:
        yield "note", "the name does not say from and to which version, and the content is encrypted"
    if info.look_alike:
        yield "note", "a sample for the virtual board; no real modem takes it"


def _dfu_package_rows(info: DfuPackageInfo) -> Iterator[tuple[str, str]]:
    if info.name:
        yield "name", info.name
    if info.time_s is not None and info.time_s < 1 << 33:
        yield "built", f"{datetime.fromtimestamp(info.time_s, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if info.unlisted:
        yield "not listed", ", ".join(info.unlisted)


def detail_table(image: FirmwareImage) -> Table | None:
    """The parts of an image that has parts."""
    if image.dfu_package is not None:
        return _dfu_members(image.dfu_package)
    if image.modem_package is not None:
        return _modem_members(image.modem_package)
    if image.modem_full is not None:
        table = _table("segment", "address", "size")
        for number, part in enumerate(image.modem_full.segments):
            name = "bootloader" if number == 0 else f"firmware {number}"
            table.add_row(name, f"{part.address:#010x}", f"{part.size_bytes:,}")
        return table
    if image.intel_hex is not None:
        table = _table("from", "to", "size", "image")
        for segment in image.intel_hex.segments:
            end = segment.address + segment.size_bytes
            inside = [
                f"{found.mcuboot.version} at {found.address:#x}"
                for found in image.intel_hex.images
                if segment.address <= found.address < end
            ]
            table.add_row(
                f"{segment.address:#010x}", f"{end - 1:#010x}", f"{segment.size_bytes:,}", ", ".join(inside)
            )
        return table
    return None


def _dfu_members(info: DfuPackageInfo) -> Table:
    table = _table("member", "type", "image", "version", "board", "size")
    for member in info.members:
        version = member.mcuboot.version if member.mcuboot else member.version
        note = "" if member.mcuboot else " (no MCUboot image)"
        kind = "MCUboot itself" if member.bootloader else member.type or "?"
        table.add_row(
            member.file + note,
            kind,
            str(member.image_index),
            version or "?",
            member.board or "?",
            f"{member.size_bytes:,}",
        )
    return table


def _modem_members(info: ModemPackageInfo) -> Table:
    table = _table("member", "role", "versions", "size")
    for member in info.members:
        versions = f"{member.base_version} -> {member.target_version}" if member.base_version else ""
        table.add_row(member.file, member.role, versions, f"{member.size_bytes:,}")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
