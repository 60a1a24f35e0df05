"""What a kill sweep does: which update, where its agent is killed, what must come of it; all from one seed."""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from bridge.lab.sample_images import SampleImages

IMAGE_BYTES: Final = 96 * 1024

KILL_EVENTS: Final = {
    "start": 1.6,
    "ready": 0.15,
    "fetch": 0.06,
    "check": 0.6,
    "transfer": 1.1,
    "schedule": 0.05,
    "reboot": 0.6,
    "verify": 0.15,
    "confirm": 0.4,
    "done": 0.01,
    "finished": 0.02,
}
"""After which event of the agent it is killed, and within how many seconds: about as long as that takes."""


class Kind(StrEnum):
    """What is updated, and how it must end."""

    GOOD = "good"
    WRONG_KEY = "wrong-key"
    UNCONFIRMED = "unconfirmed"
    SAME_VERSION = "same-version"
    MODEM_DELTA = "modem-delta"


EXPECTED: Final = {
    Kind.GOOD: ("SUCCEEDED", None),
    Kind.WRONG_KEY: ("FAILED", "rejected-by-bootloader"),
    Kind.UNCONFIRMED: ("FAILED", "reverted"),
    Kind.SAME_VERSION: ("REJECTED", "same-version"),
    Kind.MODEM_DELTA: ("SUCCEEDED", None),
}
_WEIGHTS: Final = {
    Kind.GOOD: 6,
    Kind.WRONG_KEY: 1,
    Kind.UNCONFIRMED: 1,
    Kind.SAME_VERSION: 1,
    Kind.MODEM_DELTA: 1,
}


@dataclass(frozen=True)
class Kill:
    """One SIGKILL.

    Attributes:
        event: Which event it follows.
        delay_s: How long after it.
    """

    event: str
    delay_s: float


@dataclass(frozen=True)
class Point:
    """One job of a sweep.

    Attributes:
        number: Which one; an application's version is made of it, so that each is newer than those before.
        kind: What is updated.
        kills: When the agent is killed; it is started again after each.
        cancels: Whether the job is cancelled while the agent is dead.
    """

    number: int
    kind: Kind
    kills: tuple[Kill, ...]
    cancels: bool


def make_plan(seed: int, count: int, kinds: Collection[Kind] = tuple(Kind)) -> list[Point]:
    """The points of a sweep, every stage with its share; the same for the same arguments.

    Args:
        seed: For everything that is random.
        count: How many kills at least.
        kinds: What may be updated. A modem delta takes two minutes, as long as a modem needs to erase and to apply.
    """
    chance = random.Random(seed)
    events: list[str] = []

    def kill() -> Kill:
        if not events:
            events.extend(KILL_EVENTS)
            chance.shuffle(events)
        event = events.pop()
        return Kill(event, chance.uniform(0, KILL_EVENTS[event]))

    points: list[Point] = []
    while sum(len(point.kills) for point in points) < count:
        kills = [kill()]
        while chance.random() < 0.2:
            kills.append(kill())
        kind = chance.choices(list(kinds), [_WEIGHTS[kind] for kind in kinds])[0]
        points.append(Point(len(points) + 1, kind, tuple(kills), cancels=chance.random() < 0.1))
    return [*points, Point(len(points) + 1, Kind.GOOD, (), cancels=False)]


@dataclass
class Running:
    """What the board runs, as far as the sweep has seen.

    Attributes:
        application: Version of the application.
        modem: Release of the modem firmware.
    """

    application: str = "1.0.0"
    modem: str = "2.0.2"


class Images:
    """The images of a plan, all made beforehand.

    Args:
        points: The plan.
        directory: Where they are made.
    """

    def __init__(self, points: list[Point], directory: Path) -> None:
        self.directory = directory
        self._samples = SampleImages(directory)
        self.factory_image = self._application(Running.application)
        deltas = sum(point.kind is Kind.MODEM_DELTA for point in points)
        for step in range(deltas):
            self._delta(f"2.0.{2 + step}")
        for point in points:
            if point.kind not in {Kind.MODEM_DELTA, Kind.SAME_VERSION}:
                self.of(point, Running())

    def of(self, point: Point, running: Running) -> tuple[Path, Running]:
        """The image for a point on a board, and what the board runs once it took it."""
        version = f"1.0.{point.number}"
        match point.kind:
            case Kind.MODEM_DELTA:
                image = self._delta(running.modem)
                return image, replace(running, modem=_next(running.modem))
            case Kind.SAME_VERSION:
                return self._application(running.application), running
            case Kind.WRONG_KEY:
                image = self._samples.wrong_key(version, size_bytes=IMAGE_BYTES)
            case Kind.UNCONFIRMED:
                image = self._application(version, {"confirm": False})
            case Kind.GOOD:
                image = self._application(version)
        return image, replace(running, application=version)

    def _delta(self, old: str) -> Path:
        return self._samples.modem_delta(old, _next(old), size_bytes=IMAGE_BYTES)

    def _application(self, version: str, behaviour: Mapping[str, bool | int] | None = None) -> Path:
        return self._samples.application(version, size_bytes=IMAGE_BYTES, behaviour=behaviour)


def _next(version: str) -> str:
    head, _, last = version.rpartition(".")
    return f"{head}.{int(last) + 1}"
