"""An image source that is inspected while it is read, so that checking costs no second pass and no memory.

An image in a package is another matter: the whole package is read first, and judged before it is unpacked.
"""

from dataclasses import replace
from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image import BytesSource, FirmwareImage, ImageHead, ImageInspector, ImageKind, ImageSource
from bridge.image.package_source import PACKAGE_KINDS, PackedImage, choose, for_slot, unpack
from bridge.image.source import InterruptibleSource

_READ_BYTES: Final = 16 * 1024
_HEAD_READ_BYTES: Final = 1024
"""Little, so that nobody waits for more of a slow download than it takes to know what comes."""


class InspectedSource:
    """Passes an :class:`~bridge.image.ImageSource` on and feeds every byte to an inspector, once and in order.

    Args:
        source: Where the bytes come from. Closing this object closes it.
        member: Name of the image to take when it is a package.
        image_index: Number of the MCUboot image that is replaced; of a package an application for that is taken.
    """

    def __init__(self, source: ImageSource, member: str | None = None, image_index: int = 0) -> None:
        self._origin = source
        self._source = source
        self._member = member
        self._image_index = image_index
        self._inspector = ImageInspector(source.name)
        self._inspected_bytes = 0
        self._packed: PackedImage | None = None

    @property
    def name(self) -> str:
        """Name of the underlying source, or of the image that was taken out of it."""
        return self._source.name

    @property
    def expected_sha256(self) -> str | None:
        """Digest of the whole file, as far as the underlying source knows it beforehand."""
        return self._source.expected_sha256

    def wait_size(self) -> int:
        """Block until the total size is known, in bytes."""
        return self._source.wait_size()

    def wait_complete(self) -> None:
        """Block until all bytes are there and what was declared about them holds."""
        self._source.wait_complete()

    def interrupt(self) -> None:
        """Let nobody wait for bytes that are not there yet, if the underlying source makes anybody wait."""
        if isinstance(self._origin, InterruptibleSource):
            self._origin.interrupt()

    def close(self) -> None:
        """Close the underlying source."""
        self._origin.close()

    def read(self, offset: int, size: int) -> bytes:
        """Read bytes, and inspect those that were not seen before."""
        data = self._source.read(offset, size)
        new = self._inspected_bytes - offset
        if self._packed is None and 0 <= new < len(data):
            self._inspector.feed(data[new:])
            self._inspected_bytes = offset + len(data)
        return data

    def read_head(self) -> ImageHead:
        """Read as far as it takes to know what this is; a package to its end.

        Raises:
            ImageRefusedError: It is no image, it ends too early, or the package is broken.
        """
        while (head := self._inspector.head) is None and self.read(self._inspected_bytes, _HEAD_READ_BYTES):
            pass
        if head is None:
            self._inspector.finish()  # the end decides about very short files, and names what is wrong with one
            head = self._inspector.head
        if head is None:
            raise ImageRefusedError("the file ends before it shows what it is", reason="truncated")
        head = replace(head, image_index=self._image_index)
        if head.kind is not ImageKind.DFU_PACKAGE:
            return head
        # Any zip archive: only its end tells what is in it.
        self._source.wait_complete()
        package = self.finish_inspection()
        return replace(head, kind=package.kind, version=package.version)

    def fit_board(self, kinds: frozenset[ImageKind], bootloader_slot: int | None) -> ImageHead:
        """Settle on what goes to the board: the file, or the image in a package.

        Args:
            kinds: What the route can write; a package among them stays whole, unless a member was asked for.
            bootloader_slot: The slot that MCUboot runs from, for packages that hold an image for each.

        Raises:
            ImageRefusedError: The package does not hold the one image to take.
        """
        if self._packed is not None:
            return self._packed.head
        head = self.read_head()
        if head.kind not in PACKAGE_KINDS or (head.kind in kinds and self._member is None):
            return head
        archive = self._origin.read(0, self._origin.wait_size())
        candidates = choose(unpack(archive, self._origin.name), self._member, self._image_index)
        self._packed = packed = for_slot(candidates, bootloader_slot)
        self._source = BytesSource(packed.data, packed.image.name)
        return replace(packed.head, image_index=self._image_index)

    def finish_inspection(self) -> FirmwareImage:
        """Inspect what is left and judge the whole.

        Raises:
            ImageRefusedError: Truncated, over-long, digest wrong, and so on.
        """
        if self._packed is not None:
            return self._packed.image
        while self.read(self._inspected_bytes, _READ_BYTES):
            pass
        return self._inspector.finish()
