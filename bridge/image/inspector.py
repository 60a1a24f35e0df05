"""One pass over a file: what it is as soon as its first bytes show it, and whether it is whole when it ends.

MCUboot images, deltas of both kinds and full modem images stream through in constant memory; Intel HEX files and zip
archives are kept until the end, up to a limit.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from bridge.errors import ImageRefusedError, UsageError
from bridge.image.app_delta_reader import AppDeltaFile
from bridge.image.archive import MAX_ARCHIVE_BYTES, read_archive
from bridge.image.detect import HEAD_BYTES, Container, detect
from bridge.image.intelhex_file import MAX_TEXT_BYTES, parse_intel_hex
from bridge.image.mcuboot import McubootReader, parse_header
from bridge.image.model import FirmwareImage, ImageHead, ImageKind
from bridge.image.modem_delta import ModemDeltaReader
from bridge.image.modem_full import ModemFullReader
from bridge.image.modem_package import parse_modem_package
from bridge.image.names import file_name, parse_delta_name, parse_modem_release
from bridge.image.nsib import FW_INFO_REACH_BYTES, find_fw_info
from bridge.image.package import MANIFEST, is_application, parse_dfu_package

_READ_BYTES: Final = 64 * 1024


class ImageInspector:
    """Feed it a file in pieces of any size.

    Args:
        name: File name, path or URL; only its last part is kept, and only modem firmware is read from it.
    """

    def __init__(self, name: str = "") -> None:
        self._name = file_name(name)
        self._size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._head_bytes = b""
        self._reader: _Reader | None = None
        self._refusal: ImageRefusedError | None = None

    @property
    def head(self) -> ImageHead | None:
        """What the first bytes tell; None while they are too few."""
        return self._reader.head if self._reader else None

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ImageRefusedError: They show that this is no image, or a broken one. It stays refused.
        """
        if self._refusal is not None:
            raise self._refusal
        self._size_bytes += len(data)
        self._sha256.update(data)
        if self._reader is None:
            self._head_bytes += data
            if len(self._head_bytes) < HEAD_BYTES:
                return
            data = self._head_bytes
        self._attempt(lambda: self._read(data))

    def finish(self) -> FirmwareImage:
        """Judge the whole file.

        Raises:
            ImageRefusedError: Empty, truncated, too long, corrupt, or no image at all.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._reader is None:
            self._attempt(lambda: self._read(self._head_bytes))
        assert self._reader is not None
        return self._reader.finish(self._size_bytes, self._sha256.hexdigest())

    def _read(self, data: bytes) -> None:
        if self._reader is None:
            self._reader = _open_reader(data[:HEAD_BYTES], self._name)
            self._head_bytes = b""
        self._reader.feed(data)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except ImageRefusedError as error:
            self._refusal = error
            raise


def inspect_bytes(data: bytes, name: str = "") -> FirmwareImage:
    """Inspect a file that is in memory.

    Raises:
        ImageRefusedError: See :meth:`ImageInspector.finish`.
    """
    inspector = ImageInspector(name)
    inspector.feed(data)
    return inspector.finish()


def inspect_file(path: Path) -> FirmwareImage:
    """Inspect a file on disk.

    Raises:
        ImageRefusedError: See :meth:`ImageInspector.finish`.
        UsageError: It cannot be read (``unreadable``).
    """
    inspector = ImageInspector(path.name)
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                inspector.feed(data)
    except OSError as error:
        raise unreadable(path, error) from error
    return inspector.finish()


def unreadable(path: Path, error: OSError) -> UsageError:
    """The error for a file that cannot be read: nothing was found out about an image, so none is refused."""
    return UsageError(
        f"{path} cannot be read: {error.strerror or error}",
        reason="unreadable",
        hint="Check its name, and who may read it.",
    )


class _Reader(Protocol):
    @property
    def head(self) -> ImageHead | None: ...

    def feed(self, data: bytes) -> None: ...

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage: ...


def _open_reader(head: bytes, name: str) -> _Reader:
    match detect(head):
        case Container.MCUBOOT:
            return _McubootFile(head, name)
        case Container.MODEM_DELTA:
            return _ModemDeltaFile(name)
        case Container.MODEM_FULL:
            return _ModemFullFile(name)
        case Container.APP_DELTA:
            return AppDeltaFile(name)
        case Container.INTEL_HEX:
            return _IntelHexFile(name)
        case Container.ZIP:
            return _ZipFile(name)


class _McubootFile:
    def __init__(self, head: bytes, name: str) -> None:
        header = parse_header(head)
        self.head = ImageHead(ImageKind.APPLICATION, name, header.version, None, header)
        self._reader = McubootReader()
        self._start: bytearray | None = bytearray()
        self._payload_offset = header.header_size_bytes

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._start is not None:
            self._start += data
            if len(self._start) >= self._payload_offset + FW_INFO_REACH_BYTES:
                self._refuse_bootloader()

    def _refuse_bootloader(self) -> None:
        """MCUboot itself looks like any application; its package tells for which slot it is."""
        found = find_fw_info(bytes(self._start or b"")[self._payload_offset :])
        self._start = None
        if found is not None and found.is_mcuboot:
            raise ImageRefusedError(
                f"{self.head.name or 'the file'} is MCUboot itself (counter {found.version}), for its slot at"
                f" {found.address:#x}, and no application",
                reason="wrong-kind",
                hint="Give the dfu_mcuboot.zip of that build; the one that fits the board is taken out of it.",
            )

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        info = self._reader.finish()
        self._refuse_bootloader()
        return FirmwareImage(self.head.kind, self.head.name, size_bytes, sha256, info.version, mcuboot=info)


class _ModemDeltaFile:
    def __init__(self, name: str) -> None:
        versions = parse_delta_name(name)
        target, base = (versions.target_version, versions.base_version) if versions else (None, None)
        self.head = ImageHead(ImageKind.MODEM_DELTA, name, target, base)
        self._reader = ModemDeltaReader(name)

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        head, info = self.head, self._reader.finish()
        return FirmwareImage(
            head.kind, head.name, size_bytes, sha256, head.version, head.base_version, modem_delta=info
        )


class _ModemFullFile:
    def __init__(self, name: str) -> None:
        release = parse_modem_release(name)
        self._name, self._version = name, release[1] if release else None
        self._reader = ModemFullReader()

    @property
    def head(self) -> ImageHead | None:
        """Known when the manifest is: nobody can write the image without its segments."""
        info = self._reader.info
        if info is None:
            return None
        return ImageHead(ImageKind.MODEM_FULL, self._name, self._version, modem_full=info)

    def feed(self, data: bytes) -> None:
        self._reader.feed(data)

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        info = self._reader.finish()
        return FirmwareImage(
            ImageKind.MODEM_FULL, self._name, size_bytes, sha256, self._version, modem_full=info
        )


class _Buffered:
    """Keeps a file until its end, up to a limit."""

    def __init__(self, what: str, limit_bytes: int) -> None:
        self._what = what
        self._limit_bytes = limit_bytes
        self._content = bytearray()

    def feed(self, data: bytes) -> None:
        self._content += data
        if len(self._content) > self._limit_bytes:
            raise ImageRefusedError(
                f"{self._what} has more than {self._limit_bytes} bytes",
                reason="too-large",
                offset=self._limit_bytes,
            )


class _IntelHexFile(_Buffered):
    def __init__(self, name: str) -> None:
        super().__init__("Intel HEX file", MAX_TEXT_BYTES)
        self.head = ImageHead(ImageKind.INTEL_HEX, name)

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        info = parse_intel_hex(bytes(self._content))
        inside = info.images[0].mcuboot if len(info.images) == 1 else None
        return FirmwareImage(
            ImageKind.INTEL_HEX,
            self.head.name,
            size_bytes,
            sha256,
            inside.version if inside else None,
            mcuboot=inside,
            intel_hex=info,
        )


class _ZipFile(_Buffered):
    def __init__(self, name: str) -> None:
        super().__init__("zip archive", MAX_ARCHIVE_BYTES)
        self.head = ImageHead(ImageKind.DFU_PACKAGE, name)

    def finish(self, size_bytes: int, sha256: str) -> FirmwareImage:
        name = self.head.name
        files = read_archive(bytes(self._content))
        if MANIFEST in files:
            dfu = parse_dfu_package(files)
            applications = [member for member in dfu.members if is_application(member)]
            only = applications[0].mcuboot if len(applications) == 1 else None
            version = only.version if only else None
            return FirmwareImage(ImageKind.DFU_PACKAGE, name, size_bytes, sha256, version, dfu_package=dfu)
        modem = parse_modem_package(name, files)
        if modem is not None:
            kind = ImageKind.MODEM_PACKAGE
            return FirmwareImage(kind, name, size_bytes, sha256, modem.version, modem_package=modem)
        raise ImageRefusedError(
            f"no firmware image: this is a zip archive without {MANIFEST} and without modem firmware",
            reason="not-an-image",
        )
