"""Maintenance windows: days and hours, in a time zone, in which jobs may be taken.

A window is written as ``Mon-Fri 22:00-05:00 Europe/Berlin``: days (``Mon-Fri``, ``Sat,Sun``, or none for every day), from and
to, and a name of the IANA time zone database (none for the time of this computer). One that ends before it begins goes
through midnight and belongs to the day on which it begins. Wall clock time counts, so a window shifts with daylight saving
time, and is an hour shorter or longer in the two nights of the change.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bridge.errors import UsageError

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_A_DAY: Final = 24 * 60
_SEARCH: Final = timedelta(days=8)
_MINUTE: Final = timedelta(minutes=1)
_FORM: Final = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:[-,][a-z]{3})*) +)?(?P<start>\d{1,2}:\d{2}) *- *(?P<end>\d{1,2}:\d{2})(?: +(?P<zone>\S+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MaintenanceWindow:
    """One window.

    Attributes:
        days: Days on which it begins, 0 for Monday.
        start_minute: Minute of the day at which it begins.
        end_minute: Minute at which it ends; not after ``start_minute`` when it goes through midnight.
        zone: Whose wall clock; None for this computer's.
    """

    days: frozenset[int]
    start_minute: int
    end_minute: int
    zone: tzinfo | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether a moment (with a time zone) is inside."""
        local = now.astimezone(self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        began_today = today in self.days and self.start_minute <= minute
        if self.start_minute < self.end_minute:
            return began_today and minute < self.end_minute
        return began_today or ((today - 1) % 7 in self.days and minute < self.end_minute)


class Admission:
    """Decides when jobs may be taken.

    Args:
        windows: When; at any time if there are none.
        now: The time, with a time zone.
    """

    def __init__(
        self,
        windows: Sequence[MaintenanceWindow] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._windows = tuple(windows)
        self._now = now
        self._next: datetime | None = None

    def opens_at(self) -> datetime | None:
        """When the next window opens; None if one is open."""
        now = self._now()
        if not self._windows or self._any_open(now):
            self._next = None
            return None
        if self._next is None or not now < self._next <= now + _SEARCH:
            self._next = self._search(now)
        return self._next

    def left_s(self) -> float:
        """Seconds until the next window opens; 0 if one is open."""
        opens_at = self.opens_at()
        return 0.0 if opens_at is None else (opens_at - self._now()).total_seconds()

    def _any_open(self, moment: datetime) -> bool:
        return any(window.is_open(moment) for window in self._windows)

    def _search(self, now: datetime) -> datetime:
        """Minute by minute, which is right whatever the wall clock does; it takes some milliseconds."""
        moment = now.astimezone(UTC).replace(second=0, microsecond=0)
        end = moment + _SEARCH
        while moment < end:
            moment += _MINUTE
            if self._any_open(moment):
                break
        return moment


def parse_window(text: str) -> MaintenanceWindow:
    """Read a window, such as ``Mon-Fri 22:00-05:00 Europe/Berlin``.

    Raises:
        UsageError: It makes no sense (reason ``bad-window``).
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise _bad(text, "it is not in the form DAYS HH:MM-HH:MM ZONE")
    start, end = _minute(match["start"], text), _minute(match["end"], text)
    if start in (end, _MINUTES_A_DAY):
        raise _bad(text, "it has no length; every hour is 00:00-24:00")
    end = end or _MINUTES_A_DAY
    return MaintenanceWindow(_days(match["days"], text), start, end, _zone(match["zone"], text))


def _minute(clock: str, text: str) -> int:
    hours, minutes = (int(part) for part in clock.split(":"))
    total = hours * 60 + minutes
    if minutes > 59 or total > _MINUTES_A_DAY:
        raise _bad(text, f"{clock} is no time of day")
    return total


def _days(names: str | None, text: str) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in names.lower().split(","):
        ends = part.split("-")
        if len(ends) > 2 or not set(ends) <= set(DAYS):
            raise _bad(text, f"{part} are no days; write Mon-Fri or Sat,Sun")
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return frozenset(found)


def _zone(name: str | None, text: str) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise _bad(text, f"there is no time zone {name}") from error


def _bad(text: str, why: str) -> UsageError:
    return UsageError(
        f"the maintenance window {text!r} makes no sense: {why}",
        reason="bad-window",
        hint='Write it like "Mon-Fri 22:00-05:00 Europe/Berlin".',
    )
