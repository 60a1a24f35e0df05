"""An image source that is inspected while it is read, so that checking costs no second pass and no memory."""

from typing import Final

from bridge.errors import ImageRefusedError
from bridge.image import FirmwareImage, ImageHead, ImageInspector, ImageSource

_READ_BYTES: Final = 16 * 1024


class InspectedSource:
    """Passes an :class:`~bridge.image.ImageSource` on and feeds every byte to an inspector, once and in order.

    Args:
        source: Where the bytes come from. Closing this object closes it.
    """

    def __init__(self, source: ImageSource) -> None:
        self._source = source
        self._inspector = ImageInspector(source.name)
        self._inspected_bytes = 0

    @property
    def name(self) -> str:
        """Name of the underlying source."""
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
        self._source.close()

    def read(self, offset: int, size: int) -> bytes:
        """Read bytes, and inspect those that were not seen before."""
        data = self._source.read(offset, size)
        new = self._inspected_bytes - offset
        if 0 <= new < len(data):
            self._inspector.feed(data[new:])
            self._inspected_bytes = offset + len(data)
        return data

    def read_head(self) -> ImageHead:
        """Read as far as it takes to know what this is.

        Raises:
            ImageRefusedError: It is no image, or it ends too early.
        """
        while (head := self._inspector.head) is None and self.read(self._inspected_bytes, _READ_BYTES):
            pass
        if head is None:
            self._inspector.finish()  # the end decides about very short files, and names what is wrong with one
            head = self._inspector.head
        if head is None:
            raise ImageRefusedError("the file ends before it shows what it is", reason="truncated")
        return head

    def finish_inspection(self) -> FirmwareImage:
        """Inspect what is left and judge the whole.

        Raises:
            ImageRefusedError: Truncated, over-long, digest wrong, and so on.
        """
        while self.read(self._inspected_bytes, _READ_BYTES):
            pass
        return self._inspector.finish()
