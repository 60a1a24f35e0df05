"""Taking an image out of a package: the application, MCUboot's own image for either slot, or the modem's firmware.

A zip archive can only be read from its end, so a package that is being downloaded must be whole first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image.archive import read_archive
from bridge.image.inspector import inspect_bytes
from bridge.image.model import FirmwareImage, ImageHead, ImageKind
from bridge.image.modem_package import parse_modem_package
from bridge.image.names import parse_modem_release
from bridge.image.package import MANIFEST, member_image, parse_dfu_package
from bridge.image.package_info import ModemPackageInfo, ModemRole

PACKAGE_KINDS: Final = frozenset({ImageKind.DFU_PACKAGE, ImageKind.MODEM_PACKAGE})
_PREFERENCE: Final = (
    ImageKind.APPLICATION,
    ImageKind.MCUBOOT_BOOTLOADER,
    ImageKind.MODEM_FULL,
    ImageKind.MODEM_DELTA,
)


@dataclass(frozen=True)
class PackedImage:
    """An image in a package.

    Attributes:
        file: Name of the member.
        image: What it is; it was judged as a whole.
        data: Its bytes.
        image_index: Number of the MCUboot image that an application replaces; 0 for all else.
        board: Board target that it was built for, if the manifest tells.
        soc: Chip that it was built for, if the manifest tells.
    """

    file: str
    image: FirmwareImage
    data: bytes
    image_index: int = 0
    board: str | None = None
    soc: str | None = None

    @property
    def head(self) -> ImageHead:
        """What the image's first bytes and the package tell."""
        image = self.image
        return ImageHead(
            image.kind,
            image.name,
            image.version,
            image.base_version,
            image.mcuboot.header if image.mcuboot else None,
            image.modem_full,
            bootloader=image.bootloader,
            board=self.board,
            soc=self.soc,
        )


def unpack(data: bytes, name: str) -> tuple[PackedImage, ...]:
    """Find the images in a package.

    Args:
        data: The whole archive.
        name: Its file name; that of a modem release tells the version.

    Raises:
        ImageRefusedError: It is no package, or what is in it is broken.
    """
    files = read_archive(data)
    if MANIFEST in files:
        return _unpack_dfu(files)
    modem = parse_modem_package(name, files)
    if modem is None:
        raise ImageRefusedError(
            f"no firmware image: this is a zip archive without {MANIFEST} and without modem firmware",
            reason="not-an-image",
        )
    return _unpack_modem(files, modem, name)


def choose(
    packed: Sequence[PackedImage], member: str | None = None, image_index: int = 0
) -> tuple[PackedImage, ...]:
    """Decide which image of a package is meant.

    The application of a build is taken, or MCUboot's own images if there is none; of a modem release the full firmware,
    or its only delta.

    Args:
        packed: What is in the package.
        member: Name of the wanted member, instead.
        image_index: Number of the MCUboot image to replace; images for others are left alone.

    Returns:
        One image, or MCUboot's images for its two slots, of which the board decides.

    Raises:
        ImageRefusedError: There is no such image (``no-image``), or several (``ambiguous-package``).
    """
    fitting = [each for each in packed if each.image_index == image_index]
    if member is not None:
        return (
            _only([each for each in fitting if each.file == member], packed, f"image(s) named {member!r}"),
        )
    for kind in _PREFERENCE:
        found = [each for each in fitting if each.image.kind is kind]
        slots = {each.image.bootloader.slot for each in found if each.image.bootloader}
        if len(slots) > 1 and len(slots) == len(found) and None not in slots:
            return tuple(found)
        if found:
            return (_only(found, packed, f"images of kind {kind}"),)
    return (_only([], packed, f"images for MCUboot's image {image_index}"),)


def application_image(package: bytes, name: str = "") -> tuple[FirmwareImage, bytes]:
    """Take the one application image out of a DFU package.

    Args:
        package: The whole zip archive.
        name: Its file name.

    Returns:
        The image and its bytes.

    Raises:
        ImageRefusedError: No DFU package, or none or several application images for MCUboot image 0 in it.
    """
    packed = unpack(package, name)
    found = [each for each in packed if each.image.kind is ImageKind.APPLICATION and each.image_index == 0]
    only = _only(found, packed, "application images for MCUboot's image 0")
    return only.image, only.data


def for_slot(candidates: Sequence[PackedImage], active_slot: int | None) -> PackedImage:
    """Of MCUboot's own images, the one for the slot that it does not run from; the first where none fits."""

    def fits(each: PackedImage) -> bool:
        slot = each.image.bootloader.slot if each.image.bootloader else None
        return active_slot is not None and slot is not None and slot != active_slot

    return next(filter(fits, candidates), candidates[0])


def _only(found: Sequence[PackedImage], packed: Sequence[PackedImage], what: str) -> PackedImage:
    if len(found) == 1:
        return found[0]
    listed = ", ".join(each.file for each in packed) or "nothing"
    raise ImageRefusedError(
        f"the package holds {len(found)} {what} where one is needed; the images in it: {listed}",
        reason="ambiguous-package" if found else "no-image",
        hint="Name the one to write with --member."
        if packed
        else "Take the release or build's other package.",
    )


def _unpack_dfu(files: dict[str, bytes]) -> tuple[PackedImage, ...]:
    return tuple(
        PackedImage(
            member.file,
            member_image(member),
            files[member.file],
            0 if member.bootloader else member.image_index,
            member.board,
            member.soc,
        )
        for member in parse_dfu_package(files).members
        if member.mcuboot is not None
    )


def _unpack_modem(files: dict[str, bytes], package: ModemPackageInfo, name: str) -> tuple[PackedImage, ...]:
    readers: dict[ModemRole, Callable[[bytes, str], FirmwareImage]] = {
        ModemRole.FULL: lambda content, file: _full_image(content, file, package, name),
        ModemRole.DELTA: inspect_bytes,
    }
    return tuple(
        PackedImage(
            member.file,
            readers[member.role](files[member.file], member.file),
            files[member.file],
        )
        for member in package.members
        if member.role in readers
    )


def _full_image(content: bytes, file: str, package: ModemPackageInfo, name: str) -> FirmwareImage:
    """The release tells what the member's own name may not: its version, and what the modem must hold in the end."""
    image = inspect_bytes(content, file if parse_modem_release(file) else name)
    assert image.modem_full is not None
    return replace(
        image,
        version=image.version or package.version,
        modem_full=replace(image.modem_full, ranges=package.ranges),
    )
