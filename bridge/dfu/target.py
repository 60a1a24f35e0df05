"""What every route into the board's flash offers."""

from dataclasses import dataclass
from typing import Protocol

from bridge.errors import LinkError
from bridge.image import ImageKind
from bridge.image.modem_full import ModemFullInfo


@dataclass(frozen=True)
class TransferImage:
    """What a target must know of an image before its first byte is written.

    Attributes:
        kind: What it is.
        size_bytes: Size of the whole file.
        sha256: SHA-256 of the whole file in hex, if it is known beforehand; routes that can go on where an earlier
            process was cut off recognise the image by it.
        image_index: Number of the MCUboot image that it replaces.
        modem_full: Where the segments of a full modem image are.
    """

    kind: ImageKind
    size_bytes: int
    sha256: str | None = None
    image_index: int = 0
    modem_full: ModemFullInfo | None = None


class TransferRestartError(LinkError):
    """What was sent is worthless, the board is usable, and the transfer must start again from ``begin``.

    Reasons: ``bytes-lost`` (the board did not get what was sent), ``write-failed`` (it reported a failed
        write).
    """

    default_reason = "bytes-lost"


class DfuTarget(Protocol):
    """One transfer into one board, from ``begin`` to ``schedule`` or ``abort``."""

    @property
    def route(self) -> str:
        """Name of the route, such as ``xdfu``."""
        ...

    @property
    def chunk_size_bytes(self) -> int:
        """How many bytes :meth:`write` should get at once; may change when the transfer starts again."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether writing already destroys what runs now, so that there is no way back after the first byte."""
        ...

    def begin(self, image: TransferImage) -> int:
        """Prepare the flash; blocks while it is erased.

        Args:
            image: What will be written.

        Returns:
            The offset from which to send.

        Raises:
            BoardRefusedError: The board cannot take such an image (``too-large``, ``not-supported`` ...).
            LinkError: No answer in time, or the link is lost.
        """
        ...

    def write(self, chunk: bytes) -> None:
        """Write the next bytes, and return when the board has them in flash.

        Raises:
            TransferRestartError: The transfer must start again from :meth:`begin`.
            LinkError: The link is lost.
        """
        ...

    def finish(self) -> None:
        """Make sure that all bytes are written.

        Raises:
            LinkError: Fewer bytes were written than announced (reason ``incomplete``).
        """
        ...

    def schedule(self, digest: str | None = None) -> None:
        """Have the board install the image at the next reset; where writing was in place, finish it.

        Args:
            digest: Image digest (hex) of an MCUboot image that was read to its end, for routes that choose by it.

        Raises:
            BoardRefusedError: It does not (reason ``schedule-refused``).
        """
        ...

    def abort(self) -> None:
        """Make sure that nothing of what was written will be installed, and that the board answers again.

        Raises:
            BridgeError: That could not be made sure.
        """
        ...

    def discard(self, image: TransferImage) -> None:
        """As :meth:`abort`, for what another process wrote, and perhaps scheduled, before it died.

        Where writing was in place there is nothing to take back, and nothing is done.

        Args:
            image: What it wrote.

        Raises:
            BridgeError: That could not be made sure.
        """
        ...
