"""What tests say about the board that they need, as markers; and what a bench can say to that.

Markers choose: on a virtual board they decide how it is built for the test; on a real one they decide whether the test can run
there at all. A test that cannot is deselected, and the summary says why.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

ROUTES: Final = ("xdfu", "smp", "modem-smp", "recovery")
"""Routes into flash that a marker can name; ``recovery`` is SMP to MCUboot's serial recovery."""
MARKERS: Final = (
    "nrf91_route(name): needs a board that is updated by xdfu, smp, recovery or modem-smp",
    "nrf91_kind(name): needs firmware of that kind: application, modem-delta, modem-full or mcuboot-bootloader",
    "nrf91_power: needs a bench that can switch the board's supply",
    "nrf91_slow: takes minutes on a real board",
    "nrf91_network: needs a board whose modem finds a network; groups in the bench file say so",
    "nrf91_lab_cloud: needs the local cloud, whose faults and requests it looks into",
    "nrf91_virtual(reason): needs a virtual board, and why",
    "nrf91_build(**options): how a virtual board is built for it, see VirtualBoard; real boards are as they are",
)
KINDS: Final = ("application", "modem-delta", "modem-full", "mcuboot-bootloader")
"""Kinds of firmware that a marker can name."""
_FIRMWARE: Final = {"xdfu": "serial-modem", "smp": "smp", "modem-smp": "fmfu", "recovery": "mcuboot"}
_NEEDS_A_BOARD: Final = frozenset(
    {"nrf91_board", "nrf91_modem", "nrf91_update", "nrf91_deploy", "nrf91_log", "nrf91_faults", "nrf91_job"}
)


@dataclass(frozen=True)
class Needs:
    """What one test needs.

    Attributes:
        board: It uses a board at all.
        route: Route into flash, if it says so.
        kinds: Kinds of firmware.
        images: It uses firmware at all.
        power: It switches the supply.
        network: Its modem must find a network.
        lab_cloud: It looks into the local cloud.
        virtual: Why only a virtual board will do; None if any will.
        options: How a virtual board is built for it.
    """

    board: bool = False
    route: str | None = None
    kinds: frozenset[str] = frozenset()
    images: bool = False
    power: bool = False
    network: bool = False
    lab_cloud: bool = False
    virtual: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def firmware(self) -> str:
        """Personality of a virtual board that has the route."""
        return _FIRMWARE[self.route or "xdfu"]


@dataclass(frozen=True)
class Abilities:
    """What a bench can do, as far as that is known before a board was asked.

    Attributes:
        virtual: Boards are built here, one for each test.
        routes: Routes into flash, as the bench file declares them; without one it is taken for a Serial Modem.
        kinds: Kinds of firmware that there are images of.
        power: The supply can be switched.
        network: The modem finds a network.
        lab_cloud: Jobs come from the local cloud.
    """

    virtual: bool
    routes: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    power: bool = False
    network: bool = False
    lab_cloud: bool = True

    def missing(self, needs: Needs) -> str | None:
        """Why a test cannot run on this bench; None if it can."""
        if needs.lab_cloud and not self.lab_cloud:
            return "needs the local cloud, not AWS"
        if not needs.board or self.virtual:
            return None
        without = sorted(needs.kinds - self.kinds)
        routes = self.routes or frozenset({"xdfu"})
        declared = ", ".join(sorted(routes))
        reasons = {
            f"needs a virtual board: {needs.virtual}": needs.virtual is not None,
            f"needs the route {needs.route}, the bench has {declared}": needs.route not in (None, *routes),
            "needs firmware, see --nrf91-images": needs.images and not self.kinds,
            f"needs firmware of the kind {''.join(without[:1])}, see --nrf91-images": bool(without),
            "needs power control, see the bench file": needs.power and not self.power,
            'needs a network: boards in the group "network" of the bench file have one': needs.network
            and not self.network,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


def needs_of(item: pytest.Item) -> Needs:
    """Read a test's markers and fixtures.

    Raises:
        pytest.UsageError: A marker makes no sense.
    """
    names = frozenset(getattr(item, "fixturenames", ()))
    route = item.get_closest_marker("nrf91_route")
    virtual = item.get_closest_marker("nrf91_virtual")
    options: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("nrf91_build"))):
        options.update(marker.kwargs)
    reason = None
    if virtual is not None:
        reason = str(
            virtual.kwargs.get("reason") or (virtual.args[0] if virtual.args else "it is built for the test")
        )
    elif "nrf91_faults" in names:
        reason = "it injects faults into the board and its cable"
    return Needs(
        board=bool(names & _NEEDS_A_BOARD),
        route=None if route is None else _names(item, route, "route", ROUTES)[0],
        kinds=frozenset(
            kind
            for marker in item.iter_markers("nrf91_kind")
            for kind in _names(item, marker, "kind of firmware", KINDS)
        ),
        images="nrf91_images" in names,
        power=item.get_closest_marker("nrf91_power") is not None,
        network=item.get_closest_marker("nrf91_network") is not None,
        lab_cloud=item.get_closest_marker("nrf91_lab_cloud") is not None,
        virtual=reason,
        options=options,
    )


def _names(item: pytest.Item, marker: pytest.Mark, what: str, known: tuple[str, ...]) -> list[str]:
    """What a marker names; a word with a slip in it would leave a test out everywhere, and nobody would notice."""
    names = [str(name) for name in marker.args]
    wrong = next((name for name in names if name not in known), None)
    if wrong is None and names:
        return names
    said = "names none" if wrong is None else f"names {wrong!r}"
    raise pytest.UsageError(
        f"{item.nodeid}: {marker.name} is to name a {what}, and {said}; choose one of {', '.join(known)}"
    )
