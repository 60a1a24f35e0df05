"""An application image as a file that a person names: the signed image itself, or the one in a DFU package."""

from dataclasses import dataclass
from pathlib import Path

from bridge.errors import ImageRefusedError
from bridge.image.archive import MAX_ARCHIVE_BYTES
from bridge.image.inspector import inspect_bytes, unreadable
from bridge.image.mcuboot import McubootInfo
from bridge.image.model import ImageKind
from bridge.image.package_source import application_image


@dataclass(frozen=True)
class ApplicationFile:
    """A whole application image in memory.

    Attributes:
        name: Name of the file, or of the package's member.
        data: Its bytes.
        info: What it says about itself.
    """

    name: str
    data: bytes
    info: McubootInfo


def read_application(path: Path) -> ApplicationFile:
    """Read a signed application, or take the one application out of a ``dfu_application.zip``.

    Raises:
        ImageRefusedError: It is broken, or is no MCUboot application image (``wrong-kind``).
        UsageError: It cannot be read (``unreadable``).
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)  # what is larger is refused as what it then is
    except OSError as error:
        raise unreadable(path, error) from error
    image = inspect_bytes(data, path.name)
    if image.kind is ImageKind.DFU_PACKAGE:
        image, data = application_image(data)
    if image.kind is not ImageKind.APPLICATION or image.mcuboot is None:
        raise ImageRefusedError(
            f"{path.name} is of kind {image.kind}, not an MCUboot application image",
            reason="wrong-kind",
            hint="Take the signed application (.bin) or the dfu_application.zip of the build.",
        )
    return ApplicationFile(image.name, data, image.mcuboot)
