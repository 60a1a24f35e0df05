"""What every route into the board's flash offers."""

from typing import Protocol

from bridge.errors import LinkError
from bridge.image import ImageKind


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

    def begin(self, kind: ImageKind, size_bytes: int) -> int:
        """Prepare the flash; blocks while it is erased.

        Args:
            kind: What will be written.
            size_bytes: Size of the whole image.

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

    def schedule(self) -> None:
        """Have the board install the image at the next reset.

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
