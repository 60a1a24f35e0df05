"""The routes that are measured, and who can take part in each. A further route is one more line."""

from dataclasses import dataclass
from typing import Final

from bridge.errors import UsageError

OURS: Final = "bridge"


@dataclass(frozen=True)
class Route:
    """One way into flash.

    Attributes:
        firmware: Personality of the virtual board.
        ready_event: What the board reports when it can be talked to.
        contestants: Who knows the way, ours first; names as in :mod:`bridge.lab.benchmark.contestant`.
    """

    firmware: str
    ready_event: str
    contestants: tuple[str, ...]


_SMP_PEERS: Final = ("mcumgr-toolkit", "smpclient", "smpmgr", "pynrfjprog")

ROUTES: Final = {
    "xdfu": Route("serial-modem", "ready", (OURS, "vendor")),
    "smp": Route("smp", "ready", (OURS, *_SMP_PEERS)),
    "recovery": Route("mcuboot", "recovery", (OURS, *_SMP_PEERS)),
}


def route_of(name: str) -> Route:
    """The route of that name.

    Raises:
        UsageError: There is none.
    """
    if name not in ROUTES:
        raise UsageError(f"unknown route {name}; known: {', '.join(ROUTES)}", reason="unknown-route")
    return ROUTES[name]
