"""A debug probe as a target of the update line: the file is collected, then written and read back at once."""

from typing import Final

from bridge.dfu.probe.plan import FlashPlan, make_plan
from bridge.dfu.probe.programmer import ProbeProgrammer
from bridge.dfu.target import TransferImage
from bridge.errors import LinkError

CHUNK_BYTES: Final = 64 * 1024


class ProbeTarget:
    """See :class:`~bridge.dfu.target.DfuTarget`. The chip stands still from the first look at it until its reset.

    Args:
        programmer: The chip on its probe.
        name: File name, by which pynrfjprog and people know it.
        address: Start of the primary slot, for application images.
        board: Board whose standard primary slot it goes to instead.
    """

    route: Final = "probe"
    chunk_size_bytes: Final = CHUNK_BYTES
    in_place: Final = True

    def __init__(
        self, programmer: ProbeProgrammer, name: str, *, address: int | None = None, board: str | None = None
    ) -> None:
        self._programmer = programmer
        self._name = name
        self._address = address
        self._board = board
        self._content = bytearray()
        self._size_bytes = 0

    def begin(self, image: TransferImage) -> int:
        """Begin to collect."""
        self._content.clear()
        self._size_bytes = image.size_bytes
        return 0

    def write(self, chunk: bytes) -> None:
        """Collect; pynrfjprog wants whole files."""
        self._content += chunk

    def finish(self) -> None:
        """Check the count."""
        if len(self._content) != self._size_bytes:
            raise LinkError(
                f"{len(self._content)} of {self._size_bytes} bytes were collected", reason="incomplete"
            )

    def schedule(self, digest: str | None = None) -> None:
        """Write the flash and read it back.

        Raises:
            BridgeError: See :meth:`~bridge.dfu.probe.ProbeProgrammer.program`.
        """
        self._programmer.program(self._plan())

    def abort(self) -> None:
        """Let a chip run again that stands still; what was written in place is there."""
        self._programmer.reset()

    def discard(self, image: TransferImage) -> None:
        """Nothing: what was written in place is there."""

    def _plan(self) -> FlashPlan:
        return make_plan(bytes(self._content), self._name, address=self._address, board=self._board)
