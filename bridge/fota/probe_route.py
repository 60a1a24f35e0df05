"""The route through a debug probe: flash is written directly and read back; what runs afterwards is not asked."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from bridge.board import BoardIdentity, BootReport
from bridge.dfu import DfuTarget
from bridge.dfu.probe import ProbeProgrammer
from bridge.dfu.probe.target import ProbeTarget
from bridge.fota.proof import Proof, WantedImage
from bridge.fota.route import Route
from bridge.image import ImageHead, ImageKind

PROBE_KINDS: Final = frozenset(
    (ImageKind.APPLICATION, ImageKind.INTEL_HEX, ImageKind.DFU_PACKAGE, ImageKind.MODEM_PACKAGE)
)


class ProbeRoute:
    """See :class:`~bridge.fota.route.Route`.

    Args:
        programmer: The chip on its probe; whoever opened it closes it.
        head: Head of the image that is written.
        why: Why this route was taken.
        address: Start of the primary slot, for application images.
        board: Board whose standard primary slot it goes to instead.
    """

    name: Final = "probe"
    kinds: Final = PROBE_KINDS

    def __init__(
        self,
        programmer: ProbeProgrammer,
        head: ImageHead,
        why: str = "",
        *,
        address: int | None = None,
        board: str | None = None,
    ) -> None:
        self.why = why
        self._programmer = programmer
        self._head = head
        self._address = address
        self._board = board

    def identify(self) -> BoardIdentity:
        """The chip, as the probe tells it; a probe knows nothing of what runs."""
        device = self._programmer.device
        return BoardIdentity(
            port=f"probe {self._programmer.serial_number}", model=None if device == "UNKNOWN" else device
        )

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """SWD has no bit rate of the kind."""
        return nullcontext()

    def supply_mv(self) -> int | None:
        """A probe cannot see it."""
        return None

    def target(self, kind: ImageKind) -> DfuTarget:
        """The flash itself."""
        has_addresses = kind is ImageKind.INTEL_HEX
        return ProbeTarget(
            self._programmer,
            self._head.name,
            address=None if has_addresses else self._address,
            board=None if has_addresses else self._board,
        )

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """Reading back."""
        return _ReadBackProof(self._programmer)


class _ReadBackProof:
    """The flash was read back when it was written; all that is left is to let the chip run."""

    success = (
        "the flash holds the image (it was read back), and the chip was restarted; nobody asked what runs"
    )

    def __init__(self, programmer: ProbeProgrammer) -> None:
        self._programmer = programmer

    def version_of(self, identity: BoardIdentity) -> str | None:
        return None

    def apply(self) -> BootReport:
        self._programmer.reset()
        return BootReport((), 0.0)

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """Nothing that a probe could see beyond the read-back."""

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        return False

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        return False

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        return iter(())


@contextmanager
def over_probe(
    head: ImageHead,
    serial_number: str | None,
    why: str = "",
    *,
    address: int | None = None,
    board: str | None = None,
) -> Iterator[Route]:
    """Open a probe as a route; see :meth:`bridge.dfu.probe.ProbeProgrammer.open` for what can go wrong."""
    with ProbeProgrammer.open(serial_number) as programmer:
        yield ProbeRoute(programmer, head, why, address=address, board=board)
