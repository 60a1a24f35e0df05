"""An image source that is inspected while it is read, so that checking costs no second pass and no memory.

An image in a package is another matter: the whole package is read first, and judged before it is unpacked.
"""

from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image import BytesSource, FirmwareImage, ImageHead, ImageInspector, ImageKind, ImageSource
from bridge.image.archive import MAX_ARCHIVE_BYTES
from bridge.image.package_source import PackedImage, choose, for_slot, unpack

_READ_BYTES: Final = 16 * 1024


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
        self._candidates: tuple[PackedImage, ...] = ()
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
            ImageRefusedError: It is no image, it ends too early, or the package does not hold the one image to take.
        """
        while self._inspector.head is None:
            if not self.read(self._inspected_bytes, _READ_BYTES):
                self._inspector.finish()  # names what is wrong with it
                raise ImageRefusedError("the file ends before it shows what it is", reason="truncated")
        if self._inspector.head.kind is ImageKind.DFU_PACKAGE:
            return self._unpack()
        return self._inspector.head

    def fit_board(self, bootloader_slot: int | None) -> ImageHead:
        """Settle on the image for this board, where a package holds one for each slot of MCUboot.

        Args:
            bootloader_slot: The one that MCUboot runs from.
        """
        if len(self._candidates) > 1:
            return self._take(for_slot(self._candidates, bootloader_slot))
        return self.read_head() if self._packed is None else self._packed.head

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

    def _unpack(self) -> ImageHead:
        self._origin.wait_complete()
        size_bytes = self._origin.wait_size()
        if size_bytes > MAX_ARCHIVE_BYTES:
            raise ImageRefusedError(
                f"zip archive has {size_bytes} bytes, more than {MAX_ARCHIVE_BYTES}", reason="too-large"
            )
        archive = self._origin.read(0, size_bytes)
        self._candidates = choose(unpack(archive, self._origin.name), self._member, self._image_index)
        return self._take(self._candidates[0])

    def _take(self, packed: PackedImage) -> ImageHead:
        self._packed = packed
        self._source = BytesSource(packed.data, packed.image.name)
        return packed.head
