"""Proof that an update took: what a board must show before anybody says SUCCEEDED."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from bridge.board import BoardIdentity, BootReport

STILL_SCHEDULED: Final = "voltage-low"
"""Reason of the one refusal after which the modem would try again at every start."""


@dataclass(frozen=True)
class WantedImage:
    """What must run in the end.

    Attributes:
        version: Version in the image's header or, for modem firmware, in its name; None if it tells none.
        digest: Image digest in hex, once the whole image was read; None before, and for modem firmware.
    """

    version: str | None
    digest: str | None = None


class Proof(Protocol):
    """How one kind of update is applied and proven on one opened board.

    Attributes:
        success: What can be said when everything was proven.
    """

    success: str

    def version_of(self, identity: BoardIdentity) -> str | None:
        """The version that this kind of update changes."""
        ...

    def apply(self) -> BootReport:
        """Reset what has to be reset, and wait until it is back."""
        ...

    def check_running(self, report: BootReport, after: BoardIdentity, wanted: WantedImage) -> None:
        """Raise ``VerificationError`` unless the board runs the new image."""
        ...

    def changed_since(self, earlier: str, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Whether the board went from the ``earlier`` version to the wanted one."""
        ...

    def is_waiting(self, now: BoardIdentity, wanted: WantedImage) -> bool:
        """Whether the wanted image is written and scheduled and :meth:`apply` is all that is missing, if the board tells."""
        ...

    def confirm(self, report: BootReport, wanted: WantedImage, timeout_s: float) -> Iterator[str]:
        """Yield remarks; raise ``VerificationError`` unless the new image is there to stay."""
        ...
