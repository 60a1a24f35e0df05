"""What a firmware file is: identify, read, refuse."""

from bridge.image.app_delta import AppDeltaInfo, DeltaEnd
from bridge.image.inspector import ImageInspector, inspect_bytes, inspect_file
from bridge.image.mcuboot import McubootInfo
from bridge.image.model import FirmwareImage, ImageHead, ImageKind
from bridge.image.signature import verify_signature
from bridge.image.source import BytesSource, FileSource, ImageSource

__all__ = [
    "AppDeltaInfo",
    "BytesSource",
    "DeltaEnd",
    "FileSource",
    "FirmwareImage",
    "ImageHead",
    "ImageInspector",
    "ImageKind",
    "ImageSource",
    "McubootInfo",
    "inspect_bytes",
    "inspect_file",
    "verify_signature",
]
