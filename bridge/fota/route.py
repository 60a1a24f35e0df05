"""What the update line asks of a route: who is there, where to write, and how to prove that it took.

A route is an opened board as one of the ways into its flash sees it. The line itself (:mod:`bridge.fota.update`) knows
nothing of AT, SMP or probes.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from bridge.board import BoardIdentity
from bridge.dfu import DfuTarget
from bridge.fota.proof import Proof
from bridge.image import ImageHead, ImageKind


class Route(Protocol):
    """One way into the flash of one board."""

    @property
    def name(self) -> str:
        """Name, as ``--transport`` knows it."""
        ...

    @property
    def why(self) -> str:
        """Why this route, one clause for people."""
        ...

    @property
    def kinds(self) -> frozenset[ImageKind]:
        """What it can write."""
        ...

    def identify(self) -> BoardIdentity:
        """Ask the board who it is and what it runs.

        Raises:
            LinkError: It stopped answering.
        """
        ...

    def fast_line(self, baud: int | None) -> AbstractContextManager[object]:
        """Talk at another rate as long as the block lasts, where board and route can; None stays."""
        ...

    def supply_mv(self) -> int | None:
        """The board's supply voltage in mV; None where nobody can tell.

        Raises:
            LinkError: It stopped answering.
        """
        ...

    def target(self, kind: ImageKind) -> DfuTarget:
        """Where an image of that kind goes.

        Raises:
            BridgeError: The board, as it is, cannot take one.
        """
        ...

    def proof(self, kind: ImageKind, before: BoardIdentity) -> Proof:
        """How an update of that kind is applied and proven, given what the board said before it."""
        ...


RouteOpener = Callable[[ImageHead], AbstractContextManager[Route]]
"""Opens the board by the route that fits what the image's head shows; the context manager closes it again."""
